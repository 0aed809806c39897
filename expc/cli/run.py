"""`expc run`: check a file, then train and evaluate what it says."""

import gc
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from expc.cli import FAILED, OK, PREEMPTED
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import text

if TYPE_CHECKING:
    from expc.compiler.session import Checked

PREEMPTING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""The signals by which schedulers say that somebody else needs the machine."""


def _device(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f"`{value}` is none of auto, cpu, cuda, cuda:0, cuda:1 and so on")
    return value


def named(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The path that was given. Raises `BadParameter` for an empty one, which Python takes for the working directory."""
    if value is not None and not value.strip():
        raise click.BadParameter("it has no name")
    return value


device_option = click.option(
    "--device", default="auto", callback=_device, metavar="DEVICE", help="auto (the default), cpu, cuda, cuda:1."
)
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
@device_option
@click.option(
    "--resume", callback=named, metavar="auto|RUN", help="Go on in a run directory, or in the last one that is open."
)
@changed_option
@strict_option
def command(
    file: str,
    overrides: tuple[str, ...],
    out: str | None,
    device: str,
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
    return carry_out(checked, file, started, strict, out=out, device=device, resume=resume, allow_changed=allow_changed)


def carry_out(
    checked: "Checked",
    file: str,
    started: float,
    strict: bool,
    *,
    device: str,
    out: str | None = None,
    resume: str | None = None,
    allow_changed: bool = False,
    option: str = "--resume",
) -> int:
    """Say what the check of `file` found, run it where nothing is wrong, and print its last metrics and directory.

    `resume` is the run directory to go on in, or `auto`. Returns the exit status.
    """
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
    from expc.runtime.errors import RunError
    from expc.runtime.resuming import Resume, last_run
    from expc.runtime.run import run

    try:
        where = Path(resume) if resume not in (None, "auto") else None
        if resume == "auto":
            where = last_run(checked.program, None if out is None else Path(out))
        going_on = None if where is None else Resume(where, allow_changed, option)
        result = run(checked.program, out=None if going_on else out, device=device, command=sys.argv, resume=going_on)
    except RunError as error:
        show([error.problem], err=True)
        return FAILED
    for name, value in result.metrics.items():
        click.echo(f"{name} {value:.4g}")
    click.echo(str(result.directory))
    if result.status == "finished":
        return OK
    if result.signal in PREEMPTING:
        return PREEMPTED
    return 128 + (result.signal or signal.SIGINT)  # as a shell says it: 130 after Ctrl-C
