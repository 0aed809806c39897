"""Units of quantities, and the nearest of some names."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from expc.diagnostics import Edit, Fix, Problem, Span
from expc.spec.errors.syntax import UnknownUnit

UNITS = {
    "step": ("step", "steps"),
    "epoch": ("epoch", "epochs"),
    "second": ("s", "sec", "second", "seconds"),
    "minute": ("min", "minute", "minutes"),
    "hour": ("h", "hour", "hours"),
    "B": ("B",),
    "KiB": ("KiB",),
    "MiB": ("MiB",),
    "GiB": ("GiB",),
}
"""Each unit, and how it may be written."""

_NAMES = {spelling: name for name, spellings in UNITS.items() for spelling in spellings}


def unit(word: str, span: Span, complain: Callable[[Problem], None]) -> str | None:
    """The unit that `word` names, in the singular; none after a complaint."""
    if word in _NAMES:
        return _NAMES[word]
    near = nearest(word, _NAMES)
    advice = f"did you mean `{near}`?" if near else "units are steps, epochs, s, min, h, B, KiB, MiB and GiB"
    fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near else ()
    complain(UnknownUnit(span=span, unit=word, advice=advice, fixes=fixes))
    return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that looks most like `word`, if any looks like it at all."""
    folded = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None
