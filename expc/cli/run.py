"""`expc run`: check a file, then train and evaluate what it says."""

import gc
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from expc.cli import FAILED, OK, PREEMPTED
from expc.cli.processes import Where, on_processes, start
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import text

if TYPE_CHECKING:
    from expc.compiler.session import Checked
    from expc.runtime.run import RunResult

PREEMPTING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""The signals by which schedulers say that somebody else needs the machine."""


def named(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The path that was given. Raises `BadParameter` for an empty one, which Python takes for the working directory."""
    if value is not None and not value.strip():
        raise click.BadParameter("it has no name")
    return value


strict_option = click.option("--strict", is_flag=True, help="Refuse warnings too.")
changed_option = click.option(
    "--allow-changed", is_flag=True, help="Go on even if the experiment has changed since the checkpoint."
)


@click.command("run", short_help="Check a file, then train and evaluate what it says.")
@click.argument("file")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a `let`, or a setting: train.epochs=1."
)
@click.option("--out", callback=named, metavar="DIR", help="The run directory; by default a new one under runs/.")
@on_processes
@click.option(
    "--resume", callback=named, metavar="auto|RUN", help="Go on in a run directory, or in the last one that is open."
)
@changed_option
@strict_option
def command(
    file: str,
    overrides: tuple[str, ...],
    out: str | None,
    where: Where,
    resume: str | None,
    allow_changed: bool,
    strict: bool,
) -> int:
    """Check FILE, then train and evaluate what it says.

    Everything about the run is written to a run directory: weights, metrics, and what every setting was.
    """
    if resume not in (None, "auto") and out is not None:
        raise click.UsageError("a run goes on in its own directory: give either --out or --resume RUN")
    started = time.perf_counter()
    checked = check_path(file, overrides)
    again = ["run", *(word for override in overrides for word in ("--set", override))]
    for option, value in (("--out", out), ("--resume", resume)):
        again += [] if value is None else [option, value]
    again += [flag for flag, is_on in (("--strict", strict), ("--allow-changed", allow_changed)) if is_on]
    return carry_out(
        checked,
        file,
        started,
        strict,
        where=where,
        again=[*again, "--", file],
        out=out,
        resume=resume,
        allow_changed=allow_changed,
    )


def carry_out(
    checked: "Checked",
    file: str,
    started: float,
    strict: bool,
    *,
    where: Where,
    again: Sequence[str],
    out: str | None = None,
    resume: str | None = None,
    allow_changed: bool = False,
    option: str = "--resume",
) -> int:
    """Say what the check of `file` found, run it where nothing is wrong, and print its last metrics and directory.

    `resume` is the run directory to go on in, or `auto`. Where several processes are asked for, each of them does the
    same once more, by the arguments `again`, and finds its place in the environment variables of whoever started it.
    Returns the exit status.
    """
    from expc.runtime.errors import RunError

    try:
        me = where.process()
    except RunError as error:
        show([error.problem], err=True)
        return FAILED
    if me.shows:
        show(checked.problems, err=True)
        took = (time.perf_counter() - started) * 1000
        click.echo(f"{text.printable(file)}: {text.tally(checked.problems)} · {took:.0f} ms", err=True)
    if checked.program is None or refused(checked.problems, strict=strict):
        return FAILED

    try:
        Path.cwd()
    except OSError:
        raise Unreadable("the working directory does not exist any more") from None

    gc.enable()
    if where.asked:
        return start(where, again, checked.program)
    from expc.runtime.resuming import Resume, last_run
    from expc.runtime.run import run

    path = Path(resume) if resume not in (None, "auto") else None
    if resume == "auto":
        path = last_run(checked.program, None if out is None else Path(out))
    going_on = None if path is None else Resume(path, allow_changed, option)
    with me.failing() as failed:
        result = run(
            checked.program,
            out=None if going_on else out,
            device=where.device or "auto",
            command=sys.argv,
            resume=going_on,
            place=me.place,
        )
    if failed:
        return FAILED
    lines = [f"{name} {value:.4g}" for name, value in result.metrics.items()]
    return me.ended(_status(result), "\n".join([*lines, str(result.directory)]))


def _status(result: "RunResult") -> int:
    if result.status == "finished":
        return OK
    if result.signal in PREEMPTING:
        return PREEMPTED
    return 128 + (result.signal or signal.SIGINT)  # as a shell says it: 130 after Ctrl-C
