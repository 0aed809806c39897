"""Units of quantities."""

from collections.abc import Callable

from expc.diagnostics import Edit, Fix, Problem, Span
from expc.spec.errors.characters import UnknownUnit
from expc.spec.suggest import nearest

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

UNITS_ADVICE = "units are steps, epochs, s, min, h, B, KiB, MiB and GiB"

SPELLINGS = {spelling: name for name, spellings in UNITS.items() for spelling in spellings}


def looks_like_unit(word: str) -> bool:
    """Whether a word after a number is meant as its unit."""
    return word in SPELLINGS or nearest(word, SPELLINGS) is not None


def unit(word: str, span: Span, complain: Callable[[Problem], None]) -> str | None:
    """The unit that `word` names, in the singular; none after a complaint."""
    if word in SPELLINGS:
        return SPELLINGS[word]
    near = nearest(word, SPELLINGS)
    advice = f"did you mean `{near}`?" if near else UNITS_ADVICE
    fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near else ()
    complain(UnknownUnit(span=span, unit=word, advice=advice, fixes=fixes))
    return None
