"""`expc predict`: what a run that is over says of new samples."""

import gc

import click

from expc.cli import FAILED, OK
from expc.cli.processes import device_option
from expc.cli.reading import show
from expc.cli.run import named


@click.command("predict", short_help="Write what the network of a run says of new samples.")
@click.argument("run", metavar="RUN", callback=named)
@click.option(
    "--input",
    "given",
    callback=named,
    metavar="FILE|FOLDER",
    help="An image, a folder of images, a .csv or an .npz; by default the `predict` data of the experiment.",
)
@click.option("--out", callback=named, metavar="FILE", help="A .csv or an .npz; by default predictions.csv in RUN.")
@click.option(
    "--weights",
    type=click.Choice(["best", "final"]),
    default="best",
    help="The best weights (the default), or those of the last step.",
)
@click.option("--top", type=click.IntRange(min=1), default=1, help="How many of the likeliest classes to write.")
@device_option
def command(run: str, given: str | None, out: str | None, weights: str, top: int, device: str) -> int:
    """Write what the network that the run directory RUN holds says of new samples, one row for each."""
    gc.enable()
    from expc.diagnostics import ProblemError
    from expc.runtime.predict import predict_run

    try:
        predicted = predict_run(run, given, out=out, weights=weights, top=top, device=device)  # type: ignore[arg-type]
    except ProblemError as error:
        show([error.problem], err=True)
        return FAILED
    click.echo(str(predicted.file))
    return OK
