"""What the checker says of a program against what torch does: the verdict, and every type on the way."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expc.compiler.dimensions import substitute
from expc.compiler.graph import Container, Invoke, Read, Value
from expc.compiler.session import Checked, check_text
from expc.compiler.types import TensorType
from expc.diagnostics import Problem
from fuzz.calls import ERRORS
from fuzz.losses import Experiment
from fuzz.terms import Outcome, Program

ASSIGNMENTS = 3
"""At how many sizes a program is looked at."""


@dataclass
class Verdict:
    """What came of a program: `outcome` is `accepted`, `refused` or `conditional`, or what they disagree about."""

    outcome: str
    text: str
    agrees: bool = True
    why: str = ""
    code: str = ""


def compare(program: Program | Experiment, seed: int) -> Verdict:
    """Check a program and run it, at several sizes where some are unknown."""
    r = random.Random(seed)
    text, asked = program.text(), []
    checked = check_text(text)
    for _ in range(4):
        needed = _conditions(checked)
        if not needed:
            break
        asked += needed
        text = program.text(asked)
        checked = check_text(text)
    if checked.has_errors:
        if all(_is_lint(problem) for problem in checked.problems if problem.severity == "error"):
            return Verdict("refused by a lint", text)
        return _refused(program, checked, text, r)
    assert checked.program is not None
    model = checked.program.model
    assert model is not None
    train = checked.program.train
    steps = list(_results(model.body if train is None else train.loss.body))
    outcome = "conditional" if asked else "accepted"
    base: list[Any] | None = None
    for sizes in _assignments(program, asked, r):
        holds = all(eval(condition, {}, {**sizes, "max": max, "min": min}) for condition in asked)
        above = all(sizes.get(name, floor) >= floor for name, floor in model.floors.items())
        for device in ("meta", "cpu"):
            found = ran(program, sizes, device)
            if isinstance(found, str):
                real: Any = found
            elif base is not None and found[1] != base:
                real = "the sizes of weights depend on unknown sizes"
            else:
                real, base = found[0], found[1]
            expected = holds and above
            if isinstance(real, str):
                if not expected or _loose(program, sizes) or _of_values(real):
                    break
                why = f"checker accepts, torch on {device} at {sizes}: {real}"
                disagreement = Verdict("wrongly accepted", text, agrees=False, why=why)
            else:
                if not expected and (found[2] or any(0 in dims for _, dims in _flat(real))):
                    break
                if not expected:
                    which = asked if not holds else dict(model.floors)
                    why = f"checker asks for {which}, torch on {device} accepts at {sizes}"
                    disagreement = Verdict("wrongly conditional", text, agrees=False, why=why)
                else:
                    problem = _differing(steps, sizes, real)
                    if problem is None:
                        break
                    why = f"at {sizes} on {device}: {problem}"
                    disagreement = Verdict("another type", text, agrees=False, why=why)
            if device == "cpu":
                return disagreement
    return Verdict(outcome, text)


def _is_lint(problem: Problem) -> bool:
    """Whether a rule of practice refuses what torch would run: lints look only at what is right otherwise."""
    return type(problem).__module__.startswith("expc.compiler.lints.")


def _loose(program: Program | Experiment, sizes: Mapping[str, int]) -> bool:
    """Lower bounds of several sizes together are used but not written: small sizes may be refused."""
    if len(sizes) < 2:
        return False
    large = {name: size * 40 for name, size in sizes.items()}
    return not isinstance(ran(program, large, "meta"), str)


def _of_values(refusal: str) -> bool:
    """Whether torch refuses what a tensor holds (an index, a class, lengths of CTC's targets), or its size."""
    ctc = "argument #2 'targets'" in refusal and "ctc_loss" in refusal
    index = "index " in refusal and "is out of bounds for dimension" in refusal and "with size" in refusal
    target = re.search(r"Target \d+ is out of bounds", refusal) is not None
    memory = "can't allocate memory" in refusal
    # Warnings, which count as refusals here.
    warned = "Initializing zero-element tensors is a no-op" in refusal or "affine_grid behavior has changed" in refusal
    probable = "all elements of input should be between 0 and 1" in refusal
    return ctc or index or target or memory or warned or probable or "'target' is out of range" in refusal


def _refused(program: Program | Experiment, checked: Checked, text: str, r: random.Random) -> Verdict:
    problem = next(problem for problem in checked.problems if problem.severity == "error")
    code = problem.code
    accepted = None
    for sizes in _assignments(program, (), r, 10):
        for device in ("meta", "cpu"):
            found = ran(program, sizes, device)
            if isinstance(found, str):
                return Verdict(f"refused {code}", text)
            if any(0 in sizes for _, sizes in _flat(found[0])):
                return Verdict("refused, and empty in torch", text)
            this = found[1], [(dtype, len(sizes)) for dtype, sizes in _flat(found[0])]
            if accepted is not None and accepted != this:
                return Verdict("refused, and not of one type in torch", text)
            accepted = this
    if code == "E0501" and "ignore_index" in text:
        return Verdict("refused, of classes that the largest is none of", text)
    counts = re.search(r"gets (\d+) outputs? .* for (\d+) classes", problem.message)
    if code == "E0501" and counts is not None and int(counts[1]) < int(counts[2]):
        return Verdict("refused, of classes that these numbers did not reach", text)
    if code == "E0227" and "it has all its tensors" in problem.message:
        return Verdict("refused, to be written with a name", text)
    if code in ("E0301", "E0305") and re.search(r"\b(min|max)\(", problem.message):
        return Verdict("refused, of a size that is the least of two", text)
    why = f"torch accepts, checker: {code} {problem.message}"
    return Verdict("wrongly refused", text, agrees=False, why=why, code=code)


def ran(program: Program | Experiment, sizes: Mapping[str, int], device: str) -> Any:
    """What torch does: types and weights, or why it refuses."""
    try:
        return program.run(sizes, device)
    except ERRORS as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


def _conditions(checked: Checked) -> list[str]:
    """The conditions that the checker asks for, where it asks for nothing else."""
    errors = [problem for problem in checked.problems if problem.severity == "error"]
    if not errors or any(problem.code != "E0308" for problem in errors):
        return []
    return [condition for problem in errors for condition in problem.condition.split(" and ")]


def _assignments(
    program: Program | Experiment, asked: Sequence[str], r: random.Random, count: int = ASSIGNMENTS
) -> Iterator[dict[str, int]]:
    """The sizes that the program was written with, and others: small ones, and some that satisfy what is asked."""
    yield dict(program.sizes)
    if not program.sizes:
        return
    for number in range(count - 1):
        high = 6 if number % 2 else 24
        sizes = {name: 1 if number == 3 else r.randint(1, high) for name in program.sizes}
        for _ in range(20 if asked and number % 2 == 0 else 0):
            try:
                if all(eval(condition, {}, {**sizes, "max": max, "min": min}) for condition in asked):
                    break
            except ZeroDivisionError:
                pass
            sizes = {name: r.randint(1, 24) for name in program.sizes}
        yield sizes


# ------------------------------------------------------------------------------------------------ types


def _flat(outcome: Outcome) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The types in an outcome, one by one."""
    if isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[0], str):
        yield outcome
    elif outcome is not None:
        for part in outcome:
            yield from _flat(part)


def _differing(steps: list[Any], sizes: Mapping[str, int], real: list[Outcome]) -> str | None:
    """Where the types that were inferred are not those of torch. Of a loss, only the last was run."""
    expected = [_at(result, sizes) for result in steps][-len(real) if len(real) == 1 else 0 :]
    for number, (ours, theirs) in enumerate(zip(expected, real, strict=False)):
        if ours != theirs:
            return f"step {number}: checker {ours}, torch {theirs}"
    if len(expected) != len(real):
        return f"{len(expected)} steps in the checker, {len(real)} in torch"
    return None


def _results(container: Container) -> Iterator[Any]:
    """What each operator gives, in the order of running."""
    for step in container.steps:
        if isinstance(step, Invoke):
            child = container.children[step.module]
            assert isinstance(child, Container)
            yield from _results(child)
        elif not isinstance(step, Read):
            yield step.result


def _at(result: Any, sizes: Mapping[str, int]) -> Outcome:
    if isinstance(result, tuple):
        return tuple(_at(part, sizes) for part in result)
    if result is None:
        return None
    assert isinstance(result, Value)
    assert isinstance(result.type, TensorType)
    return result.type.dtype, tuple(substitute(size, sizes) for size in result.type.dims)
