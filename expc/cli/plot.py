"""`expc plot`: the learning rate of every group over a whole run, in the terminal or as a picture."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from expc.cli import FAILED, OK
from expc.cli.chart import Scale, Style, chart, key
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import text

if TYPE_CHECKING:
    from expc.compiler.program import Program
    from expc.runtime.forecast import Forecast

PICTURES = (".png", ".svg", ".pdf")
"""How the names of pictures end."""


def _picture(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.endswith(PICTURES):
        raise click.BadParameter(f"a picture ends in {', '.join(PICTURES)}, and `{value}` does not")
    return value


@click.command("plot", short_help="Draw the learning rates of a run, in the terminal or as a picture.")
@click.argument("file")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a `let` or a setting.")
@click.option("-o", "--out", callback=_picture, metavar="FILE", help="Write a picture: .png, .svg or .pdf.")
@click.option("--log", "logarithmic", is_flag=True, help="Draw powers of ten at equal distances.")
@click.option(
    "--steps-per-epoch",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many optimizer steps an epoch has, where neither the file nor its data tells.",
)
def command(
    file: str, overrides: tuple[str, ...], out: str | None, logarithmic: bool, steps_per_epoch: int | None
) -> int:
    """Draw the learning rate of every group of FILE's optimizers, step by step, as torch's schedules will move it."""
    checked = check_path(file, overrides)
    show(checked.problems, err=True)
    if checked.program is None or refused(checked.problems, strict=False):
        return FAILED
    missing = _missing(checked.program)
    if missing is not None:
        click.echo(f"expc: {text.printable(file)} has no {missing}, so there is no learning rate to draw", err=True)
        return FAILED
    per_epoch = _per_epoch(checked.program, steps_per_epoch)

    from expc.diagnostics import ProblemError
    from expc.runtime.forecast import counted_in, counted_steps, forecast

    try:
        if per_epoch is None and counted_in(checked.program) >= {"step", "epoch"}:
            per_epoch = counted_steps(checked.program)
            if per_epoch is None:
                click.echo(
                    f"expc: {text.printable(file)} counts in steps and in epochs, and its training data, which would "
                    "tell how many steps an epoch has, cannot be opened: say it with --steps-per-epoch N (samples "
                    "divided by `batch`)",
                    err=True,
                )
                return FAILED
        found = forecast(checked.program, per_epoch)
    except ProblemError as error:
        show([error.problem], err=True)
        return FAILED
    for watched in found.watched:
        click.echo(f"as if {watched} got better each time: ReduceLROnPlateau goes by what is measured", err=True)
    if out is None:
        click.echo(_in_terminal(found, logarithmic=logarithmic), color=text.wants_colour(sys.stdout))
        return OK
    return _as_picture(found, out, checked.program.name, logarithmic=logarithmic)


def _missing(program: "Program") -> str | None:
    """What a file must have for a learning rate, and has not."""
    settings = program.experiment.train
    if program.model is None:
        return "model"
    if program.train is None or settings is None:
        return "`train` section with a loss and an optimizer"
    return None if settings.epochs or settings.steps else "length (`epochs` or `steps`)"


def _per_epoch(program: "Program", given: int | None) -> int | None:
    """The steps of an epoch, as the file or the command line says it."""
    from expc.compiler.plans.run_length import run_length

    known = run_length(program).per_epoch
    if known is not None and given not in (None, known):
        raise click.BadParameter(f"the file says that an epoch has {known:,}", param_hint="--steps-per-epoch")
    return known or given


def _in_terminal(found: "Forecast", *, logarithmic: bool) -> str:
    """The chart of the learning rates, a legend, and the chart of the momenta where they move."""
    style = Style(
        width=min(100, shutil.get_terminal_size().columns),
        height=14,
        colour=text.wants_colour(sys.stdout),
        plain=not _shows_dots(),
    )
    scale: Scale = "logarithmic" if logarithmic else "linear"
    parts = [
        chart([line.rates for line in found.lines], style, found.axis, found.unit, scale),
        "",
    ]
    widest = max(len(line.name) for line in found.lines)
    for number, line in enumerate(found.lines):
        rates = line.rates
        ends = f"from {rates[0]:.3g} to {rates[-1]:.3g}, at most {max(rates):.3g}"
        parts.append(f"{key(number, style)} {text.printable(line.name):<{widest}}  {ends}")
    moving = [line.momenta for line in found.lines if len(set(line.momenta)) > 1]
    if moving:
        parts += ["", "momentum", chart(moving, replace(style, height=6), found.axis, found.unit, "close")]
    return "\n".join(parts)


def _shows_dots() -> bool:
    try:
        "⣿└━".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _as_picture(found: "Forecast", out: str, title: str, *, logarithmic: bool) -> int:
    try:
        from expc.cli.picture import picture
    except ModuleNotFoundError:
        click.echo('expc: a picture needs matplotlib, which is not installed: pip install "expc[plot]"', err=True)
        return FAILED
    drawn = picture(found, title, Path(out).suffix[1:], logarithmic=logarithmic)
    try:
        Path(out).write_bytes(drawn)
    except OSError as error:
        raise Unreadable(f"cannot write {text.printable(out)}: {error.strerror or error}") from None
    click.echo(text.printable(out))
    return OK
