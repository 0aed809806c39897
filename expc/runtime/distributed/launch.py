"""Starting the processes of a run on this machine, through torch's elastic launcher.

Each process is the same `expc run FILE ...` once more, which finds its place in its environment. torch starts and
watches them, ends all when one fails, and may start them again.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from expc.diagnostics import Problem, Span
from expc.frozen import dataclass
from expc.runtime.distributed.environment import refuse_too_few
from expc.runtime.distributed.reports import FOLDER, Failure, failures, last_seen, outcome, way_on
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.distributed import NotMet, ProcessEnded

GRACE: Final = 30
"""Seconds that processes have to end by themselves when they are asked to, until they are killed."""


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


def launch(wanted: Launch, arguments: Sequence[str], span: Span) -> Ended:
    """Start `python -m expc ARGUMENTS` in several processes, and wait for all.

    Raises `RunError`: E0608 before anything starts, where there are fewer GPUs; E0611 where machines do not meet.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = _count(wanted)
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # what it knows is told in our words
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    with tempfile.TemporaryDirectory(prefix="expc-") as temporary:
        folder = Path(temporary)
        os.environ[FOLDER] = temporary
        config = LaunchConfig(
            min_nodes=wanted.min_nodes,
            max_nodes=wanted.max_nodes,
            nproc_per_node=count,
            run_id=_name(wanted),
            role="expc",
            rdzv_backend="c10d",
            rdzv_endpoint=wanted.meeting or "localhost:0",
            rdzv_configs={"is_host": True} if wanted.meeting is None else {},
            max_restarts=wanted.max_restarts,
            shutdown_timeout=GRACE,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
            # Heeded as a run in one process heeds them: what is ignored (`nohup`) stays so.
            signals_to_handle=",".join(_heeded()),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "expc", *arguments)
        except SignalException as stopped:
            return _ended(folder, signal=int(stopped.sigval))
        except ChildFailedError as error:
            return _failed(folder, error, count * wanted.max_nodes, span)
        except (RendezvousError, RuntimeError, OSError) as error:
            at = wanted.meeting or "localhost"
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            problem = NotMet(span=option_span("--rdzv", at), rank=0, size=count, address=at, reason=reason)
            raise RunError(problem) from error
        finally:
            del os.environ[FOLDER]
        return _ended(folder)


def _count(wanted: Launch) -> int:
    if not wanted.on_gpus:
        return int(wanted.processes)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    refuse_too_few("all" if wanted.processes == "all" else int(wanted.processes), found)
    return found if wanted.processes == "all" else int(wanted.processes)


def _name(wanted: Launch) -> str:
    """The same for all machines of a launch, and another one for each launch."""
    return f"expc-{wanted.meeting}" if wanted.meeting else f"expc-{os.getpid()}-{Path('/proc/self').stat().st_ctime_ns}"


def _heeded() -> list[str]:
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
    return [name for name in names if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN]


def _ended(folder: Path, signal: int | None = None) -> Ended:
    status, shown = outcome(folder) or (None, "")
    return Ended(status, shown, (), tuple(failures(folder)), way_on(folder), signal)


def _failed(folder: Path, error: Any, size: int, span: Span) -> Ended:
    """What is to be said of processes that failed: in their own words, and of those that died without any, in ours."""
    said = failures(folder)
    spoke = {failure.rank for failure in said}
    problems: list[Problem] = []
    for rank, failure in sorted(error.failures.items(), key=lambda item: item[1].timestamp):
        # Those that torch has ended since another one failed have nothing to say.
        if rank in spoke or failure.exitcode == -signal.SIGTERM:
            continue
        how = f"ended with status {failure.exitcode}"
        if failure.exitcode < 0:
            with suppress(ValueError):
                how = f"was killed by {signal.Signals(-failure.exitcode).name}"
        problems.append(ProcessEnded(span=span, rank=rank, size=size, how=how, where=last_seen(folder, rank)))
    # Where a process died, what others say is an echo of that.
    heard = [failure for failure in said if not (problems and failure.is_echo)]
    return Ended(None, "", tuple(problems), tuple(heard), "" if heard else way_on(folder))
