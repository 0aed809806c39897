"""`expc launch slurm`: a batch file that runs an experiment on a cluster."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from expc.cli import FAILED, OK
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import text

if TYPE_CHECKING:
    from expc.compiler.program import Program


@click.group("launch", short_help="Write what runs a file on a cluster.")
def command() -> None:
    """Write what runs a file on a cluster."""


def _time(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", value, re.ASCII):
        raise click.BadParameter(f"`{value}` is none of Slurm's times, such as 12:00:00, 2-00:00:00 or, in minutes, 90")
    return value


def _partition(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[\w.+-]+(,[\w.+-]+)*", value):
        raise click.BadParameter(f"`{text.printable(value)}` is no name of a partition, nor several with commas")
    return value


@command.command("slurm", short_help="Write a batch file for Slurm.")
@click.argument("file")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a `let`, or a setting: train.epochs=1."
)
@click.option("--nodes", type=click.IntRange(min=1), default=1, metavar="N", help="Machines; by default one.")
@click.option(
    "--gpus-per-node", "gpus", type=click.IntRange(min=1), default=1, metavar="G", help="GPUs of each; by default one."
)
@click.option("--time", callback=_time, metavar="TIME", help="How long it has before it queues anew: 12:00:00.")
@click.option("--partition", callback=_partition, metavar="NAME", help="The partition of the cluster.")
@click.option("--out-file", metavar="BATCH", help="Write a new file; by default, to standard output.")
def slurm(
    file: str,
    overrides: tuple[str, ...],
    nodes: int,
    gpus: int,
    time: str | None,
    partition: str | None,
    out_file: str | None,
) -> int:
    """Check FILE, and write a batch file for Slurm's `sbatch` that runs it on every GPU of the nodes.

    The run saves itself before its time is over, and the job goes back into the queue until the run is finished.
    """
    checked = check_path(file, overrides)
    show(checked.problems, err=True)
    if checked.program is None or refused(checked.problems, strict=False):
        return FAILED
    reason = _refused(checked.program, nodes * gpus)
    if reason is not None:
        click.echo(f"expc: {text.printable(file)} {reason}", err=True)
        return FAILED

    from expc.cli.slurm import Job, batch_file

    cpus = gpus * (1 + _workers(checked.program))
    batch = batch_file(Job(file, overrides, nodes, gpus, cpus, time, partition))
    if out_file is None:
        click.echo(batch, nl=False)
        return OK
    shown = text.printable(out_file) or "with an empty name"
    try:
        with Path(out_file).open("x", encoding="utf-8") as stream:
            stream.write(batch)
    except FileExistsError:
        raise Unreadable(f"{shown} is there already, and stays as it is: give the name of a new file") from None
    except OSError as error:
        raise Unreadable(f"cannot write {shown}: {error.strerror or error}") from None
    click.echo(f"{shown}: submit it with `sbatch`", err=True)
    return OK


def _refused(program: "Program", devices: int) -> str | None:
    """Why a job would end as soon as it starts, as far as the file tells."""
    missing = None
    if program.model is None:
        missing = "model"
    elif "train" not in program.data:
        missing = "`data` with `train`"
    elif program.train is None:
        missing = "`train` section with a loss, an optimizer and a length"
    if missing is not None:
        return f"has no {missing}, so there is nothing to run"
    settings = program.experiment.distributed
    if devices > 1 and settings is not None and settings.strategy == "none":
        return f"says `strategy = none`, with which {devices} GPUs share nothing: write `strategy = auto`"
    return None


def _workers(program: "Program") -> int:
    """The processes that load samples for one GPU."""
    return 0 if program.experiment.data is None else program.experiment.data.workers
