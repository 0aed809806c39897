"""Where the settings of an optimizer or a schedule are written: what lint rules point at, and what fixes change."""

from collections.abc import Mapping
from typing import Final

from expc.compiler.model.arguments import assign, value_place
from expc.compiler.ops.declare import positional_settings
from expc.compiler.program import Program, SchedulePart, Use
from expc.diagnostics import Edit, Fix, Span
from expc.spec.values import Given

OWN_RATES: Final = ("OneCycleLR", "CyclicLR")
"""The schedules that say learning rates themselves, and not multiples of the optimizer's."""


def arguments(use: Use) -> Mapping[str, Given]:
    """The arguments that are written, by the names of their settings; the rest has its default."""
    settings = use.declaration.settings
    positional = settings if use.declaration.python is not None else positional_settings(settings)
    return assign(use.name, settings, positional, use.given, use.span)


def places(use: Use) -> dict[str, Span]:
    """Where the value of each setting that is written stands."""
    return {name: value_place(given) for name, given in arguments(use).items()}


def optimizers(program: Program) -> tuple[Use, ...]:
    """Every optimizer of the run: that of `train` first, then those of groups."""
    if program.train is None:
        return ()
    found = (program.train.optimizer, *(group.optimizer for group in program.train.groups))
    return tuple(use for use in found if use is not None)


def chains(program: Program) -> tuple[tuple[SchedulePart, ...], ...]:
    """The schedule of `train`, empty where it has none, and those that groups have of their own."""
    if program.train is None:
        return ()
    own = (group.learning["schedule"] for group in program.train.groups if "schedule" in group.learning)
    return (program.train.schedule, *own)


def without(use: Use, name: str) -> tuple[Fix, ...]:
    """The fix that takes a setting out of its call; none where that is not plain to see."""
    span = arguments(use)[name].span
    text = span.source.text
    start, end = span.start, span.end
    before, after = text[:start].rstrip(), text[end:].lstrip()
    if before.endswith(","):
        start = len(before) - 1
    elif after.startswith(","):
        end = len(text) - len(after[1:].lstrip())
    elif before.endswith("(") and after.startswith(")"):
        start, end = len(before) - 1, len(text) - len(after) + 1
    else:
        return ()
    return (Fix(f"leave out `{name}`", (Edit(Span(span.source, start, end), ""),)),)
