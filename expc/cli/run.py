"""`expc run`: check a file, then train and evaluate what it says."""

import gc
import re
import signal
import sys
import time
from pathlib import Path

import click

from expc.cli import FAILED, OK
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import text


def _device(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f"`{value}` is none of auto, cpu, cuda, cuda:0, cuda:1 and so on")
    return value


device_option = click.option(
    "--device", default="auto", callback=_device, metavar="DEVICE", help="auto (the default), cpu, cuda, cuda:1."
)


def _folder(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("it has no name")
    return value


@click.command("run", short_help="Check a file, then train and evaluate what it says.")
@click.argument("file")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a `let`, or a setting: train.epochs=1."
)
@click.option("--out", callback=_folder, metavar="DIR", help="The run directory; by default a new one under runs/.")
@device_option
@click.option("--strict", is_flag=True, help="Refuse warnings too.")
def command(file: str, overrides: tuple[str, ...], out: str | None, device: str, strict: bool) -> int:
    """Check FILE, then train and evaluate what it says.

    Everything about the run is written to a run directory: weights, metrics, and what every setting was.
    """
    started = time.perf_counter()
    checked = check_path(file, overrides)
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
    from expc.runtime.run import run

    try:
        result = run(checked.program, out=out, device=device, command=sys.argv)
    except RunError as error:
        show([error.problem], err=True)
        return FAILED
    for name, value in result.metrics.items():
        click.echo(f"{name} {value:.4g}")
    click.echo(str(result.directory))
    if result.status == "interrupted":
        return 128 + (result.signal or signal.SIGINT)  # as a shell says it: 130 after Ctrl-C
    return OK
