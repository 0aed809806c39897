"""Starting the processes of a run on this machine, through torch's elastic launcher.

Each process is the same `expc run FILE ...` once more, which finds its place in its environment. torch starts and
watches them, ends all when one fails, and may start them again.
"""

import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from expc.compiler.program import Program
from expc.diagnostics import Problem, Span
from expc.frozen import dataclass
from expc.runtime.distributed.environment import refuse_too_few
from expc.runtime.distributed.interfaces import address_towards, is_free, is_here
from expc.runtime.distributed.joining import timeout_of
from expc.runtime.distributed.meeting import NAME, register
from expc.runtime.distributed.reports import (
    BEAT,
    FOLDER,
    LAUNCHER,
    PHASES,
    Failure,
    Seen,
    Watch,
    failures,
    last_seen,
    outcome,
    way_on,
)
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.distributed import NotMet, ProcessEnded, ProcessStalled
from expc.runtime.interrupts import SIGNALS

GRACE: Final = 30
"""Seconds that processes have to end by themselves when they are asked to, until they are killed."""
_SILENT: Final = 10 * BEAT
"""Seconds without a sign of life after which a process was stopped: one that computes gives some, if late."""


@dataclass(frozen=True)
class Launch:
    """What is to be started on this machine."""

    processes: int | str
    """How many: a number, or `all` the GPUs that there are."""
    on_gpus: bool
    min_nodes: int = 1
    max_nodes: int = 1
    meeting: str | None = None
    """Where several machines meet, as `HOST:PORT`."""
    max_restarts: int = 0


@dataclass(frozen=True)
class Ended:
    """How a launch ended."""

    status: int | None
    """The exit status that the processes agreed on; none where they did not come to that."""
    shown: str
    """What the run has to show on standard output."""
    problems: tuple[Problem, ...] = ()
    failures: tuple[Failure, ...] = ()
    """What processes said before they failed, the first cause first."""
    way_on: str = ""
    """The run directory, where something is saved in it."""
    signal: int | None = None
    """The signal that ended it."""


def launch(wanted: Launch, arguments: Sequence[str], program: Program) -> Ended:
    """Start `python -m expc ARGUMENTS` in several processes, and wait for all.

    Raises `RunError`: E0608 before anything starts, where there are fewer GPUs; E0611 where machines do not meet.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = _count(wanted)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    with tempfile.TemporaryDirectory(prefix=f"expc-{time.time_ns()}-") as temporary:
        folder = Path(temporary)
        os.environ |= {FOLDER: temporary, LAUNCHER: str(os.getpid())}
        if wanted.meeting is not None:
            # Else processes that start again, since a machine has come or gone, read what earlier ones have written.
            os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
            register()
        config = LaunchConfig(
            min_nodes=wanted.min_nodes,
            max_nodes=wanted.max_nodes,
            nproc_per_node=count,
            run_id=_name(wanted),
            role="expc",
            rdzv_backend="c10d" if wanted.meeting is None else NAME,
            rdzv_endpoint=wanted.meeting or "localhost:0",
            rdzv_configs=_meeting(wanted),
            local_addr=_address(wanted),
            max_restarts=wanted.max_restarts,
            shutdown_timeout=GRACE,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
            signals_to_handle="SIGQUIT",  # torch would not end at once when it is asked twice
        )
        logging.disable()  # what torch knows is told in our words
        try:
            with _Signals(SignalException, folder), Watch(folder, timeout_of(program, starting=True) + 2 * GRACE):
                elastic_launch(config, sys.executable)("-m", "expc", *arguments)
        except SignalException as stopped:
            return _ended(folder, signal=int(stopped.sigval))
        except ChildFailedError as error:
            # What becomes of processes after they have agreed on the end changes nothing any more.
            return _ended(folder) if outcome(folder) else _failed(folder, error.failures, program)
        except (RendezvousError, RuntimeError, OSError) as error:
            at = wanted.meeting or "localhost"
            did = "has lost" if any(folder.glob("*.beat")) else "did not meet"
            cause = error.__cause__ or error
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            saved = way_on(folder)
            notes = (f"the run is saved; it goes on: expc resume {saved}",) if saved else ()
            span = option_span("--rdzv", at)
            problem = NotMet(span=span, who=f"this machine {did}", address=at, reason=reason, notes=notes)
            raise RunError(problem) from error
        finally:
            logging.disable(logging.NOTSET)
            del os.environ[FOLDER], os.environ[LAUNCHER]
        return _ended(folder)


def _count(wanted: Launch) -> int:
    if not wanted.on_gpus:
        return int(wanted.processes)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    refuse_too_few("all" if wanted.processes == "all" else int(wanted.processes), found)
    return found if wanted.processes == "all" else int(wanted.processes)


def _meeting(wanted: Launch) -> dict[str, Any]:
    """Who has what all machines write to: the one that the address means. torch lets the others wait ten minutes."""
    if wanted.meeting is None:
        return {"is_host": True}
    host, _, port = wanted.meeting.rpartition(":")
    return {"is_host": is_here(host) and is_free(host, int(port))}


def _address(wanted: Launch) -> str | None:
    """Where other machines reach this one; none where there are no others."""
    if wanted.meeting is None:
        return "localhost"
    host, _, port = wanted.meeting.rpartition(":")
    return address_towards(host, int(port), machines=wanted.max_nodes)


def _name(wanted: Launch) -> str:
    """The same for all machines of a launch."""
    return f"expc-{wanted.meeting or 'here'}"


class _Signals:
    """Asked once, by a signal, the processes may end as they like; asked twice, all ends at once.

    What is ignored (`nohup`) stays so.
    """

    def __init__(self, asked: Callable[..., BaseException], folder: Path) -> None:
        self._error: Final = asked
        self._folder: Final = folder
        self._is_asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._take) for number in heeded}

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._is_asked:
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(128 + number)  # and the processes die with their parent
        self._is_asked = True
        raise self._error(f"asked to end by signal {number}", sigval=signal.Signals(number))


def _ended(folder: Path, signal: int | None = None) -> Ended:
    status, shown = outcome(folder) or (None, "")
    return Ended(status, shown, (), tuple(failures(folder)), way_on(folder), signal)


def _failed(folder: Path, ended: Mapping[int, Any], program: Program) -> Ended:
    """What is to be said of processes that failed: in their own words, and of those that had none, in ours."""
    said = [failure for failure in failures(folder) if failure.rank in ended]
    causes = [failure for failure in said if not failure.is_echo]
    spoke = {failure.rank for failure in said}
    first = next(iter(ended))  # torch has looked at all others after this one, and has asked them to end
    problems: list[Problem] = []
    for rank, failure in ended.items():
        was_asked = rank != first and failure.exitcode == -signal.SIGTERM
        if rank in spoke or was_asked:
            continue
        seen = last_seen(folder, rank)
        did_not_heed = failure.timestamp - ended[first].timestamp > GRACE / 2
        if did_not_heed and not causes:
            problems.append(_stalled(rank, seen, failure.timestamp, program))
        elif not did_not_heed:
            how = _how(failure.exitcode)
            problems.append(ProcessEnded(span=_line(seen, program), rank=rank, how=how, where=_where(seen)))
    # Where one is known to have failed, what others say of those that they lost is an echo of that.
    heard = causes or ([] if problems else said)
    return Ended(None, "", tuple(problems), tuple(heard), "" if heard else way_on(folder))


def _how(status: int) -> str:
    """How a process has ended, in words."""
    with suppress(ValueError):
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _stalled(rank: int, seen: Seen | None, ended: float, program: Program) -> ProcessStalled:
    """Of a process that the others have waited for in vain, and that did not heed when it was asked to end."""
    notes: tuple[str, ...] = ()
    if seen is not None:
        stopped = ended - seen.alive > _SILENT
        notes = (
            f"it gave no sign of life for {ended - seen.alive:.0f} s, as a process that is stopped (SIGSTOP)"
            if stopped
            else "it was alive, but did not come back: something that it calls takes too long, or waits for ever",
        )
    waited = timeout_of(program, starting=seen is None or seen.phase == "starting")
    return ProcessStalled(
        span=_line(seen, program),
        rank=rank,
        where=_where(seen),
        waited=f"{waited:g} s",
        notes=notes,
    )


def _where(seen: Seen | None) -> str:
    """How far a process was, in words: ` after step 12, training`."""
    return "" if seen is None else f" after step {seen.step:,}, {seen.phase}" if seen.step else f", {seen.phase}"


def _line(seen: Seen | None, program: Program) -> Span:
    """What the file says of what a process was at; where it says nothing, how it is trained."""
    places = program.experiment.places
    found = places.get("" if seen is None else PHASES[seen.phase]) or places.get("train.loss")
    return found or Span(program.source, 0, 0)
