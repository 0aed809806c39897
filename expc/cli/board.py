"""`expc board`: TensorBoard over the runs of a folder."""

import threading
from pathlib import Path

import click

from expc.cli import FAILED, OK
from expc.cli.reading import Unreadable, show
from expc.diagnostics import text


@click.command("board", short_help="Open TensorBoard on a folder of runs.")
@click.argument("runs", default="runs")
@click.option("--port", type=click.IntRange(1, 65535), help="Where it listens; by default 6006, or the next free one.")
def command(runs: str, port: int | None) -> int:
    """Serve TensorBoard over RUNS, a run directory or a folder of them, until Ctrl-C; by default over `runs`."""
    folder, shown = Path(runs), text.printable(runs) or "with an empty name"
    if not runs or not folder.is_dir():
        reason = "is a file, not a folder of runs" if runs and folder.exists() else "does not exist"
        raise Unreadable(f"{shown} {reason}: `expc run` makes runs/, or what `--out` says")

    from expc.runtime.board import holds_events, serve
    from expc.runtime.errors import RunError

    try:
        address = serve(folder, port)
    except RunError as error:
        show([error.problem], err=True)
        return FAILED
    if not holds_events(folder):
        click.echo(f"no run in {shown} has written events yet; those that do will be seen", err=True)
    click.echo(f"TensorBoard shows {shown} at {address} until Ctrl-C")
    threading.Event().wait()
    return OK
