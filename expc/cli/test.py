"""`expc test`: measure the weights of a run that is over."""

import gc

import click

from expc.cli import FAILED, INTERRUPTED, OK
from expc.cli.processes import device_option
from expc.cli.reading import show
from expc.cli.run import named


@click.command("test", short_help="Measure the weights of a run on its test data.")
@click.argument("run", metavar="RUN", callback=named)
@click.option(
    "--weights",
    type=click.Choice(["best", "final"]),
    default="best",
    help="The best weights (the default), or those of the last step.",
)
@click.option(
    "--data", type=click.Choice(["test", "val"]), default="test", help="What to measure on: test (the default), or val."
)
@click.option("--out", callback=named, metavar="FILE", help="Where the numbers go; by default test.json in RUN.")
@device_option
def command(run: str, weights: str, data: str, out: str | None, device: str) -> int:
    """Measure the weights that the run directory RUN holds, with the loss and every metric of its file."""
    gc.enable()
    from expc.diagnostics import ProblemError
    from expc.runtime.testing import measure_run

    try:
        measured = measure_run(run, role=data, weights=weights, out=out, device=device)  # type: ignore[arg-type]
    except ProblemError as error:
        show([error.problem], err=True)
        return FAILED
    if measured is None:
        return INTERRUPTED
    for name, value in measured.metrics.items():
        click.echo(f"{name} {value:.4g}")
    click.echo(str(measured.file))
    return OK
