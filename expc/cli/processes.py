"""Where a run runs: the options that say so, starting the processes that they ask for, and being one of those."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from expc.cli import FAILED, OK
from expc.cli.reading import show
from expc.diagnostics import text
from expc.frozen import dataclass

if TYPE_CHECKING:
    from expc.compiler.program import Program
    from expc.runtime.distributed.environment import Place


def _device(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f"`{value}` is none of auto, cpu, cuda, cuda:0, cuda:1 and so on")
    return value


def _count(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return value
    if not re.fullmatch(r"[1-9]\d{0,5}", value):
        raise click.BadParameter(f"`{value}` is no number of processes")
    return int(value)


def _nodes(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})(?::([1-9]\d{0,5}))?", value)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise click.BadParameter(f"`{value}` is neither a number of machines nor MIN:MAX")
    return int(found[1]), int(found[2] or found[1])


def _meeting(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        found = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^\s:\[\]]+):(\d{1,5})", value)
        if found is None or not 0 < int(found[2]) < 65536:
            raise click.BadParameter(f"`{value}` is no HOST:PORT")
    return value


_DEVICE: Final[dict[str, Any]] = {
    "callback": _device,
    "metavar": "DEVICE",
    "help": "auto (the default), cpu, cuda, cuda:1.",
}
device_option = click.option("--device", default="auto", **_DEVICE)

processes_options = (
    click.option("--gpus", callback=_count, metavar="N|all", help="Train on N GPUs of this machine, a process each."),
    click.option("--cpus", callback=_count, metavar="N", help="Train in N processes on the CPU, to try that out."),
    click.option("--nodes", callback=_nodes, metavar="N|MIN:MAX", help="Train on so many machines; each starts this."),
    click.option("--rdzv", callback=_meeting, metavar="HOST:PORT", help="Where the machines meet: one of them."),
    click.option(
        "--max-restarts",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="How often all processes are started again where one fails.",
    ),
)


def on_processes(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say where a run runs; the command takes them as one `Where`."""

    @wraps(command)
    def gathered(
        gpus: int | str | None,
        cpus: int | str | None,
        nodes: tuple[int, int] | None,
        rdzv: str | None,
        max_restarts: int,
        device: str | None,
        **others: Any,
    ) -> int:
        where = Where(device, gpus, cpus, nodes, rdzv, max_restarts)
        where.refuse_contradictions()
        return command(where=where, **others)

    for option in reversed(processes_options):
        gathered = option(gathered)
    return click.option("--device", **_DEVICE)(gathered)


@dataclass(frozen=True)
class Where:
    """Where a run runs, as it was asked for."""

    device: str | None
    """None where nothing was said."""
    gpus: int | str | None = None
    cpus: int | str | None = None
    nodes: tuple[int, int] | None = None
    rdzv: str | None = None
    max_restarts: int = 0

    @property
    def asked(self) -> str:
        """The option that asks for processes; empty where none does."""
        found = [f"--{name} {value}" for name, value in (("gpus", self.gpus), ("cpus", self.cpus)) if value is not None]
        return found[0] if found else ""

    def process(self) -> "Process":
        """Who this is. Raises `RunError` (E0606, E0607) where the environment and what was asked for do not agree."""
        from expc.runtime.distributed.environment import place_of, refuse_launched

        place = place_of(os.environ)
        if self.asked:
            refuse_launched(place, self.asked, is_for_node=self.nodes is not None)
            place = None
        if self.asked or place is not None:
            # What torch has to say of connections that fail is told in our words.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        return Process(place)

    def refuse_contradictions(self) -> None:
        """Raise `UsageError` where options do not go together."""
        if self.gpus is not None and self.cpus is not None:
            raise click.UsageError("a run takes either --gpus or --cpus")
        if self.cpus == "all":
            raise click.UsageError("--cpus takes a number")
        if self.asked and self.device is not None:
            raise click.UsageError(f"--{'gpus' if self.cpus is None else 'cpus'} says the devices: leave --device out")
        if (self.nodes is None) != (self.rdzv is None):
            raise click.UsageError("--nodes and --rdzv go together: how many machines there are, and where they meet")
        for name, value in (("--nodes", self.nodes), ("--max-restarts", self.max_restarts)):
            if value and not self.asked:
                raise click.UsageError(f"{name} needs --gpus or --cpus: how many processes each machine starts")


def start(where: Where, again: Sequence[str], program: "Program") -> int:
    """Start the processes that were asked for, wait for them, and say how it went. Returns the exit status."""
    from expc.runtime.distributed.launch import Launch, launch
    from expc.runtime.errors import RunError

    on_gpus = where.cpus is None
    nodes = where.nodes or (1, 1)
    count = where.gpus if where.cpus is None else where.cpus
    assert count is not None  # noqa: S101 - one of them was given
    wanted = Launch(count, on_gpus, *nodes, where.rdzv, where.max_restarts)
    command, *rest = again
    try:
        ended = launch(wanted, [command, "--device", "cuda" if on_gpus else "cpu", *rest], program)
    except RunError as error:
        show([error.problem], err=True)
        return FAILED
    if ended.status is not None:
        if ended.shown:
            click.echo(ended.shown)
        return ended.status
    show(ended.problems, err=True)
    same = len(ended.failures) > 1 and len({failure.text for failure in ended.failures}) == 1
    for failure in ended.failures[:1] if same else ended.failures:
        click.echo(failure.text if same else f"process {failure.rank}: {failure.text}", err=True)
    if ended.way_on:
        click.echo(f"the run is saved; it goes on: expc resume {text.printable(ended.way_on)}", err=True)
    return FAILED if ended.signal is None else 128 + ended.signal


class Process:
    """One of the processes that a launcher has started, or the only one."""

    def __init__(self, place: "Place | None") -> None:
        from expc.runtime.distributed.reports import Report

        self.place = place
        self._report = None if place is None else Report(place.rank)
        self._is_read = self._report is not None and self._report.is_read
        if self._report is not None:
            self._report.begin()
        self.shows = place is None or (place.rank == 0 and not self._is_read)
        """Whether it is the one that tells people things."""
        if place is not None and place.rank:
            warnings.simplefilter("ignore")  # the first process gives the same

    @contextmanager
    def failing(self) -> Iterator[list[str]]:
        """Say what goes wrong inside, to a person or to whoever started this process; afterwards, whether it did."""
        from expc.runtime.errors import RunError
        from expc.runtime.errors.distributed import NotMet, PeerLost

        said: list[str] = []
        try:
            yield said
        except RunError as error:
            colour = text.wants_colour(sys.stderr)
            said.append(text.render(error.problem, colour=colour) + "\n")
            if self._report is not None and self._is_read:
                self._report.failed(said[0], is_echo=isinstance(error.problem, PeerLost | NotMet))
            else:
                who = "" if self.place is None else f"process {self.place.rank}: "
                click.echo(who + said[0], err=True, color=colour)
        except Exception:
            if self._report is None or not self._is_read:
                raise
            import traceback

            said.append(f"{traceback.format_exc()}This is a mistake in expc, not in your file. Please report it.")
            self._report.failed(said[0])

    def ended(self, status: int, shown: str) -> int:
        """Say how the run ended, which all processes agree on. Returns the exit status of this one."""
        if self._report is not None and self._is_read:
            if self.place is not None and self.place.local_rank == 0:  # each machine has a launcher, and a folder
                self._report.ended(status, shown if self.place.rank == 0 else "")
            return OK  # or its launcher would take it for a failure
        if self.shows:
            click.echo(shown)
        return status
