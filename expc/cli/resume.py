"""`expc resume`: go on with a run that has ended before its time."""

import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from expc.cli import FAILED
from expc.cli.processes import Where, on_processes
from expc.cli.reading import Unreadable, check_path, readable, show
from expc.cli.run import carry_out, changed_option, strict_option
from expc.diagnostics import ProblemError, Source, text

if TYPE_CHECKING:
    from expc.spec.resolved import Origin


@click.command("resume", short_help="Go on with a run, from its last checkpoint.")
@click.argument("run")
@on_processes
@changed_option
@strict_option
def command(run: str, where: Where, allow_changed: bool, strict: bool) -> int:
    """Go on with the run in the directory RUN, at the step of its last checkpoint that is whole.

    The experiment is read where it was read before, with the same --set; where that file is gone, from its copy in RUN.
    It runs on the device that it ran on, unless --device says another.
    """
    started = time.perf_counter()
    try:
        origin = _origin(Path(run))
    except ProblemError as error:
        show([error.problem], err=True)
        return FAILED
    home = Path(origin.home)
    file = str(home) if home.is_file() else str(Path(run, "resolved.yaml"))
    checked = check_path(file, origin.overrides if home.is_file() else ())
    if checked.program is not None:
        checked = replace(checked, program=replace(checked.program, data_root=origin.data))
    if where.device is None:
        where = replace(where, device=_device_of(Path(run)))
    flags = [flag for flag, is_on in (("--strict", strict), ("--allow-changed", allow_changed)) if is_on]
    return carry_out(
        checked,
        file,
        started,
        strict,
        where=where,
        again=["resume", *flags, "--", run],
        resume=run,
        allow_changed=allow_changed,
        option="expc resume",
    )


def _origin(run: Path) -> "Origin":
    """What the run was made from. Raises `Unreadable`, and ProblemError where its `resolved.yaml` is none."""
    from expc.compiler.reading import read_text
    from expc.spec.resolved import read_resolved

    path = run / "resolved.yaml"
    if not run.is_dir():
        raise Unreadable(f"there is no run directory {text.printable(str(run))}")
    with readable(str(path)):
        return read_resolved(Source(str(path), read_text(path))).origin


def _device_of(run: Path) -> str:
    """The device that a run ran on: the first word that its `run.json` has for it."""
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        return str(json.loads((run / "run.json").read_text())["device"]).split()[0]
    return "auto"
