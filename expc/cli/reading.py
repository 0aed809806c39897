"""Checking a file that the command line names, and saying so where it cannot be read."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from expc.diagnostics import Problem, text

if TYPE_CHECKING:
    from expc.compiler.session import Checked


class Unreadable(click.ClickException):
    """A file cannot be read as an experiment at all: exit status 2."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so in one line on standard error."""
        click.echo(f"expc: {self.message}", file=file, err=file is None)


def check_path(path: str, overrides: Sequence[str], lints: frozenset[str] = frozenset()) -> "Checked":
    """Check the file at `path`, or the run that a `resolved.yaml` tells of.

    Raises `Unreadable` where there is no text to check.
    """
    with readable(path):
        if path.endswith((".yaml", ".yml")):
            from expc.compiler.repeating import check_resolved

            return check_resolved(path, overrides, lints)
        from expc.compiler.session import check_file

        return check_file(path, overrides, lints)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Says why the file at `path` cannot be read, where reading it fails. Raises `Unreadable` then."""
    shown = text.printable(path) or "with an empty name"
    try:
        with _without_plugins():
            yield
    except FileNotFoundError:
        raise Unreadable(f"there is no file {shown}{_near(path)}") from None
    except IsADirectoryError:
        raise Unreadable(f"{shown} is a folder, not an .exp file{_inside(path)}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise Unreadable(f"{shown} is not a text file: {byte} is not UTF-8") from None
    except OSError as error:
        raise Unreadable(f"cannot read {shown}: {error.strerror or error}") from None


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Pydantic loads its plugins where it validates. Any package may bring one; our settings want none of them.

    Looking for them would take a tenth of a check, and importing one can take longer than all of it.
    """
    switch = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(switch)
    os.environ[switch] = "__all__"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def show(problems: Iterable[Problem], *, err: bool) -> None:
    """Print `problems` for people, each followed by an empty line, to standard output or standard error."""
    colour = text.wants_colour(sys.stderr if err else sys.stdout)
    for problem in problems:
        click.echo(text.render(problem, colour=colour) + "\n", err=err, color=colour)


def refused(problems: Iterable[Problem], *, strict: bool) -> bool:
    """Whether a file with these problems is not fit to run; `strict` refuses warnings as well as errors."""
    return any(problem.severity == "error" or (strict and problem.severity == "warning") for problem in problems)


def _near(path: str) -> str:
    from expc.spec.suggest import nearest

    folder = Path(path).parent
    names = {entry.stem: entry for entry in folder.glob("*.exp")} if folder.is_dir() else {}
    near = nearest(Path(path).stem, names)
    return f"; did you mean {text.printable(str(names[near]))}?" if near else ""


def _inside(path: str) -> str:
    inside = sorted(Path(path).glob("*.exp"))
    return f"; it holds {text.printable(str(inside[0]))}" if inside else ""
