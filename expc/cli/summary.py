"""`expc summary`: the layers of a network, with types, parameters, multiply-accumulates and memory."""

from typing import TYPE_CHECKING

import click

from expc.cli import FAILED, OK
from expc.cli.reading import check_path, refused, show

if TYPE_CHECKING:
    from collections.abc import Sequence


def _sizes(_: click.Context, __: click.Parameter, given: "Sequence[str]") -> dict[str, int]:
    sizes = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not (equals and name and number.isdecimal() and int(number) > 0):
            raise click.BadParameter(f"`{text}` is not of the form H=224")
        sizes[name] = int(number)
    return sizes


@click.command("summary", short_help="List layers, types, parameters, MACs and memory; imports no torch.")
@click.argument("file")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a `let` or a setting.")
@click.option("--at", "sizes", multiple=True, callback=_sizes, metavar="NAME=SIZE", help="Count at this size: H=224.")
@click.option("--devices", type=click.IntRange(2), metavar="N", help="What each of N devices holds and sends.")
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", help="For people (the default), or tools."
)
def command(file: str, overrides: tuple[str, ...], sizes: dict[str, int], devices: int | None, style: str) -> int:
    """List the layers of FILE's network: output types, parameters, multiply-accumulates, memory in training."""
    checked = check_path(file, overrides)
    show(checked.problems, err=True)
    if checked.program is None or refused(checked.problems, strict=False):
        return FAILED
    if checked.program.model is None:
        click.echo(f"expc: {file} declares no model", err=True)
        return FAILED

    from expc.compiler.cost.summary import as_json, summary

    try:
        click.echo((as_json if style == "json" else summary)(checked.program, sizes, devices))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None
    return OK
