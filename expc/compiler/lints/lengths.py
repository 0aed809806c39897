"""The lengths that a schedule's settings say (`T_max`, `milestones`, `step_size`), and how long its parts last."""

from collections.abc import Iterator
from typing import Final

from expc.compiler.library.schedules import EPOCHS, MILESTONES, STEPS
from expc.compiler.lints.given import chains, places
from expc.compiler.plans.run_length import RunLength, run_length
from expc.compiler.program import Program, SchedulePart
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.spec.values import Quantity

NEARLY: Final = 0.05
"""Lengths that differ by no more than this share count as the same: `T_max = epochs` after a short warm-up."""

FAR: Final = 20
"""A run that became shorter explains milestones of several times its length, and hardly more."""


@dataclass(frozen=True, eq=False)
class Length:
    """One length that is written in the settings of one part of a schedule."""

    part: SchedulePart
    setting: str
    said: Quantity
    is_bare: bool
    """Whether it is written without its unit."""
    whole: float | None
    """How long the part lasts, in the unit of `said`; none where that is not known."""
    other: float | None
    """The same in the other unit."""
    span: Span

    @property
    def has_other_unit(self) -> bool:
        """Whether it was surely meant in steps: as epochs it outlasts the part by far, and as steps it fits."""
        if not self.is_bare or self.said.unit != "epoch" or self.whole is None or self.other is None:
            return False
        number = self.said.number
        is_whole = self.other * (1 - NEARLY) <= number and self.too_long
        return number <= self.other * (1 + NEARLY) and (is_whole or number > self.whole * FAR)

    @property
    def too_long(self) -> bool:
        """Whether it outlasts its part by more than a little."""
        return self.whole is not None and self.whole < self.said.number * (1 - NEARLY)

    @property
    def too_short(self) -> bool:
        """Whether it ends more than a little before its part."""
        return self.whole is not None and self.said.number < self.whole * (1 - NEARLY)

    @property
    def shown(self) -> str:
        """How long the part lasts, for people."""
        return amount(self.whole or 0, self.said.unit)


def amount(number: float, unit: str) -> str:
    """`12.79 epochs`."""
    rounded = round(number, 2)
    return str(Quantity(int(rounded) if rounded == int(rounded) else rounded, unit))


def lengths(program: Program) -> Iterator[Length]:
    """Every length that is written in the settings of the schedule's parts."""
    run = run_length(program)
    for parts in chains(program):
        for index in range(len(parts)):
            yield from _lengths(run, parts, index)


def _lengths(run: RunLength, parts: tuple[SchedulePart, ...], index: int) -> Iterator[Length]:
    part = parts[index]
    if part.use.declaration.python is not None:
        return
    written = places(part.use)
    for param in part.use.declaration.settings:
        if param.name not in written or all(param.kind is not kind for kind in (EPOCHS, STEPS, MILESTONES)):
            continue
        value = part.use.settings[param.name]
        for item in value if isinstance(value, list | tuple) else (value,):
            said = item if isinstance(item, Quantity) else Quantity(item, "step" if param.kind is STEPS else "epoch")
            whole = part_length(run, parts, index, said.unit)
            other = part_length(run, parts, index, "step" if said.unit == "epoch" else "epoch")
            is_bare = not isinstance(item, Quantity)
            yield Length(part, param.name, said, is_bare, whole, other, written[param.name])


def part_length(run: RunLength, parts: tuple[SchedulePart, ...], index: int, unit: str) -> float | None:
    """How long a part of a schedule lasts; none where that is not known."""
    own = parts[index].duration
    if own is not None:
        return run.count(own, unit)
    return run.rest((part.duration for part in parts[:index] if part.duration is not None), unit)
