"""The whole way from text to a checked program, on one screen.

The core does no input or output: files are read by the function that the caller passes.
"""

import gc
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

from expc.compiler.errors.names import TooLarge
from expc.compiler.experiment import ExperimentChecker
from expc.compiler.fixes import allowances
from expc.compiler.fixes.allowances import Allowed
from expc.compiler.fixes.causes import without_consequences
from expc.compiler.library.lookup import Library
from expc.compiler.model.declarations import Loader, Read
from expc.compiler.program import Program
from expc.compiler.reading import read_text
from expc.diagnostics import Problem, Report, Source, Span
from expc.frozen import dataclass
from expc.spec import syntax
from expc.spec.parser import parse, source_of

PYTHON: Final = re.compile(r"\bself\.|\bnn\.|\bF\.|\btorch\b|\.(view|size|shape|reshape|permute)\b")
"""What is in a text that was pasted from Python, and seldom in others."""


@dataclass(frozen=True)
class Checked:
    """What a check found. `program` is there when nothing is an error."""

    source: Source
    tree: syntax.File
    problems: tuple[Problem, ...]
    program: Program | None
    sources: tuple[Source, ...]
    allowed: tuple[Allowed, ...] = ()
    """Lints that a comment silences."""

    @cached_property
    def has_errors(self) -> bool:
        """Whether the file must not run."""
        return any(problem.severity == "error" for problem in self.problems)


def check_file(path: str | Path, overrides: Sequence[str] = (), lints: AbstractSet[str] = frozenset()) -> Checked:
    """Check a file and everything it imports. Raises OSError and UnicodeDecodeError as reading does."""
    return check_text(read_text(path), str(path), overrides, read_text, lints)


def check_text(
    text: str,
    name: str = "input.exp",
    overrides: Sequence[str] = (),
    read: Read | None = None,
    lints: AbstractSet[str] = frozenset(),
    home: str = "",
) -> Checked:
    """Check a text. `name` is its path: what it imports is beside it, and `read` gives the text there.

    `lints` switches rules on that are off by default. `home` is the path of the file that the text is a copy of, if it
    is one: relative paths of data and weights start beside that.
    """
    with _without_collection():
        checked = _check(text, name, overrides, read, lints, home)
        problems: Sequence[Problem] = checked.problems

        def check(changed: str, read: Read | None = read) -> Sequence[Problem]:
            return _check(changed, name, overrides, read, lints, home).problems

        if checked.has_errors:
            from expc.compiler.fixes.intents.numbers import completed

            problems = [completed(problem) for problem in problems]
        if any(problem.fixes for problem in problems):
            from expc.compiler.fixes.trying import Trial

            trial = Trial(checked.source, problems, read, check)
            problems = [trial.mending(problem) for problem in problems]
        if checked.has_errors and PYTHON.search(text) is not None:
            from expc.compiler.fixes.pasted import translated

            problems = translated(checked.source, problems, Library(), check)
        return replace(checked, problems=tuple(problems))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Puts off Python's search for garbage in cycles until the check is over, which nearly all that it makes outlives.

    Without it the time for one layer of a large model grows with the number of layers before it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check(
    text: str, name: str, overrides: Sequence[str], read: Read | None, lints: AbstractSet[str], home: str
) -> Checked:
    source, report, library = source_of(name, text, home), Report(), Library()
    tree = parse(source, report)
    if overrides:
        from expc.spec.overrides import apply_overrides, parse_override

        parsed = [parse_override(override, report) for override in overrides]
        tree = apply_overrides(tree, [override for override in parsed if override is not None], report)
    loader = Loader(library, report, read)
    file = loader.load(name, source, tree)
    checker = ExperimentChecker(library, report, file, Path(name).stem, lints)
    program = None
    try:
        checker.settings()
        program = checker.check(list(loader.files.values()))
    except RecursionError:
        limit = "its definitions need each other in too long a row"
        report.add(TooLarge(span=Span(source, 0, 0), what="this experiment", limit=limit))
    found = without_consequences(report.problems, tree)
    errors = any(problem.severity == "error" for problem in found)
    sources = tuple(loaded.source for loaded in loader.files.values())
    problems, allowed = allowances.split(found, source, lints)
    if program is not None and overrides:
        program = replace(program, overrides=tuple(overrides))
    return Checked(source, tree, tuple(problems), None if errors else program, sources, allowed=tuple(allowed))
