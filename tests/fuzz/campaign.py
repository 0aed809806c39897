"""Many programs: each one made, perhaps broken, compared, and cut down where checker and torch disagree."""

import copy
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fuzz.break_it import broken, operators_in
from fuzz.calls import table
from fuzz.compare import Verdict, compare
from fuzz.draw import Draw, RandomDraw
from fuzz.generate import program
from fuzz.losses import Experiment, experiment, is_loss
from fuzz.terms import Program


@dataclass
class Tally:
    """What came of a number of programs."""

    programs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    """Operators in programs that checker and torch accept."""
    failures: list[tuple[int, Verdict]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another tally too."""
        self.programs += other.programs
        self.outcomes += other.outcomes
        self.operators += other.operators
        self.accepted += other.accepted
        self.failures += other.failures


def made(d: Draw, number: int) -> Program | Experiment:
    """The program of that number: operators take turns, every other program is broken in one place."""
    names = sorted(table())
    name = names[number % len(names)]
    if is_loss(name) and d.chance(0.4):
        return experiment(d, name)
    whole = program(d, name)
    if number // len(names) % 2:
        return broken(d, whole) or whole
    return whole


def run(first: int, count: int, seed: int) -> Tally:
    """Make and compare the programs from `first` on."""
    tally = Tally()
    for number in range(first, first + count):
        whole = made(RandomDraw(f"{seed}:{number}"), number)
        try:
            verdict = compare(whole, number)
        except Exception:  # noqa: BLE001 - a traceback is what is looked for
            verdict = Verdict("traceback", whole.text(), agrees=False, why=traceback.format_exc(limit=-3))
        if verdict.outcome == "traceback":
            tally.failures.append((number, verdict))
        elif not verdict.agrees:
            tally.failures.append((number, smallest(whole, number, verdict)))
        tally.programs += 1
        tally.outcomes[verdict.outcome] += 1
        names = {stage.name for statement in whole.bodies() for stage in operators_in(statement)}
        tally.operators.update(names)
        if verdict.outcome in ("accepted", "conditional"):
            tally.accepted.update(names)
    return tally


def smallest(whole: Program | Experiment, number: int, verdict: Verdict) -> Verdict:
    """The disagreement with as little around it as possible."""
    shrunk = isinstance(whole, Program)
    while shrunk:
        shrunk = False
        for candidate in _smaller(whole):
            try:
                found = compare(candidate, number)
            except Exception:  # noqa: BLE001 - what is cut too far is no program
                continue
            if (found.outcome, found.code) == (verdict.outcome, verdict.code):
                whole, verdict, shrunk = candidate, found, True
                break
    return verdict


def _smaller(whole: Program) -> Iterator[Program]:
    """Programs with something less."""
    for at in reversed(range(len(whole.statements))):
        if len(whole.statements) > 1:
            candidate = copy.deepcopy(whole)
            del candidate.statements[at]
            yield _used(candidate)
    for body, statement in enumerate(whole.statements):
        for at in range(len(getattr(statement, "stages", ()))):
            candidate = copy.deepcopy(whole)
            del candidate.statements[body].stages[at]
            yield _used(candidate)
    for at, entry in enumerate(whole.inputs):
        for axis, size in enumerate(entry.dims):
            if not isinstance(size, int):
                candidate = copy.deepcopy(whole)
                dims = candidate.inputs[at].dims
                candidate.inputs[at].dims = (*dims[:axis], 4, *dims[axis + 1 :])
                yield _used(candidate)


def _used(candidate: Program) -> Program:
    """Without inputs, blocks and sizes that nothing mentions."""
    import re

    body = "\n".join(statement.text() for statement in candidate.statements)
    words = set(re.findall(r"\w+", body))
    inputs = [entry for entry in candidate.inputs if entry.name in words] or candidate.inputs[:1]
    blocks = [block for block in candidate.blocks if block.name in words]
    shown = {str(size.name) for entry in inputs for size in entry.dims if not isinstance(size, int)}
    sizes = {name: size for name, size in candidate.sizes.items() if name in shown}
    return Program(inputs, blocks, candidate.statements, sizes, candidate.where)
