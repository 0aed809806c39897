"""From the `resolved.yaml` of a run to the experiment that was run: its copied sources, with the values of that run."""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from expc.compiler.program import Program
from expc.compiler.reading import read_text
from expc.compiler.session import Checked, check_text
from expc.diagnostics import Problem, ProblemError, Source, Span
from expc.spec import syntax
from expc.spec.errors.resolved import ResolvedUnusable
from expc.spec.resolved import Entry, Resolved, first_line, read_resolved, resolved_yaml

_PART: Final = re.compile(r"\bsplit\([^()]*\)\[\d+\]")
"""How a part of a split is shown, which is no text of the language."""


def check_resolved(path: str, overrides: Sequence[str] = (), lints: AbstractSet[str] = frozenset()) -> Checked:
    """Check the experiment of the run that the file at `path` tells of.

    Where a value there is another than what the sources give, because it was changed by hand or because a default was
    another in an older version, it counts as if it had been given with `--set`. `overrides` come after. Raises OSError
    and UnicodeDecodeError as reading does.
    """
    source = Source(path, read_text(path))
    try:
        resolved = read_resolved(source)
        copy = _copy(source, resolved)
        text = _text(source, copy)
        if copy.stem != resolved.name.text:
            reason = f"`name` follows from the name of the file, `{copy.stem}`"
            raise ProblemError(ResolvedUnusable(span=resolved.name.span, reason=reason))

        def check(options: Sequence[str]) -> Checked:
            return check_text(text, str(copy), options, read_text, lints, resolved.origin.home)

        checked = check(resolved.origin.overrides)
        edits = {} if checked.program is None else _edits(source, checked.program, resolved)
    except ProblemError as error:
        return Checked(source, syntax.File((), span=Span(source, 0, 0)), (error.problem,), None, (source,))
    settled = _settled(checked.program, resolved)
    if settled or edits or overrides:
        checked = check([*resolved.origin.overrides, *settled, *edits, *overrides])
        checked = replace(checked, problems=tuple(_placed(problem, edits) for problem in checked.problems))
    if checked.program is None:
        return checked
    return replace(checked, program=replace(checked.program, data_root=resolved.origin.data))


def _copy(source: Source, resolved: Resolved) -> Path:
    """The copied `.exp` file, which lies below the folder of the run."""
    file = PurePosixPath(resolved.origin.file)
    if file.is_absolute() or ".." in file.parts or "\0" in resolved.origin.file or file.suffix != ".exp":
        raise _refused(source, f"`file` is the path of an .exp file in this folder, not `{file}`")
    return Path(source.name).parent / file


def _text(source: Source, copy: Path) -> str:
    try:
        return read_text(copy)
    except UnicodeDecodeError:
        raise _refused(source, f"{copy} is not a text in UTF-8") from None
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        reason = f"there is no {copy}" if gone else f"{copy} cannot be read: {error.strerror}"
        raise _refused(source, reason) from None


def _settled(program: Program | None, resolved: Resolved) -> list[str]:
    """What the run found out for itself, as `--set` takes it."""
    train = None if program is None else program.experiment.train
    return [f"train.precision={resolved.origin.precision}"] if train is not None and train.precision == "auto" else []


def _edits(source: Source, program: Program, resolved: Resolved) -> dict[str, Entry]:
    """What says something else than the sources do, as `--set` takes it."""
    there = Source(source.name, resolved_yaml(program.experiment, program.lets, resolved.origin))
    given = read_resolved(there).values
    edits: dict[str, Entry] = {}
    for name, entry in resolved.values.items():
        if name in given and given[name].text == entry.text:
            continue
        if entry.text is None or name.count(".") > 1:
            outer = ".".join(name.split(".")[:2])
            reason = f"`{outer}` was changed, and is several values: change it in {resolved.origin.file}"
            raise ProblemError(ResolvedUnusable(span=first_line(entry.span), reason=reason))
        if _PART.search(entry.text):
            reason = f"`{name}` was changed, and is a part of a `split`: change it in {resolved.origin.file}"
            raise ProblemError(ResolvedUnusable(span=first_line(entry.span), reason=reason))
        edits[f"{name.removeprefix('let.')}={entry.text}"] = entry
    return edits


def _placed(problem: Problem, edits: dict[str, Entry]) -> Problem:
    """The problem at the place in the file that has the value, if it is about one that was changed there."""
    for edit, entry in edits.items():
        value = edit.partition("=")[2].strip()
        if problem.span.source.name in (f"--set {edit}", value) and problem.span.source.text in (edit, value):
            return replace(problem, span=first_line(entry.span), fixes=())
    return problem


def _refused(source: Source, reason: str) -> ProblemError:
    return ProblemError(ResolvedUnusable(span=Span(source, 0, 0), reason=reason))
