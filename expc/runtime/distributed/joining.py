"""Becoming one of several processes, and parting from them whatever happens."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from expc.compiler.program import Program
from expc.diagnostics import Span
from expc.runtime.device import choose_device
from expc.runtime.distributed.environment import Place
from expc.runtime.distributed.interfaces import choose_interface
from expc.runtime.distributed.reports import FOLDER
from expc.runtime.distributed.world import Many, World
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.distributed import BackendUnfit, NotMet, PeerLost
from expc.runtime.watch import SECONDS
from expc.spec.sections import Distributed

_LOST: Final = re.compile(
    r"closed by peer|reset by peer|[Tt]imed out|[Tt]imeout|pair closure|[Bb]roken pipe|NCCL|[Ss]ocket|gloo|FullMesh"
)
"""What torch says where another process does not answer, in one of many ways."""
_CARRIERS: Final = re.compile("NCCL|gloo|c10d")
STARTING: Final = 30.0
"""Seconds that processes wait for each other at least until the run has begun: they do not start equally fast."""


def settings_of(program: Program) -> Distributed:
    """What the file says about several processes."""
    return program.experiment.distributed or Distributed()


def timeout_of(program: Program, *, starting: bool = False) -> float:
    """Seconds that a process waits for another one."""
    timeout = settings_of(program).timeout
    seconds = timeout.number * SECONDS[timeout.unit]
    return max(seconds, STARTING) if starting else seconds


def device_of(place: Place | None, device: str) -> str:
    """The device of this process: each process of a machine has a GPU of its own, where there are GPUs."""
    if place is None or device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return device if place is None else "cpu"
    if device not in ("auto", "cuda"):
        return device
    # Slurm may show each of its tasks one GPU only.
    return "cuda:0" if torch.cuda.device_count() == 1 else f"cuda:{place.local_rank}"


@contextmanager
def joined(place: Place | None, program: Program, device: str) -> Iterator[World]:
    """The processes of the run, of which this one has `place`, until the run is over.

    Raises `RunError`: E0601 where the device is not there, E0610 where the backend is not for it, E0611 where the
    others do not come.
    """
    if place is None:
        yield World()
        return
    settings = settings_of(program)
    where = choose_device(device)
    backend = settings.backend if settings.backend != "auto" else "nccl" if where.type == "cuda" else "gloo"
    if (backend == "nccl") != (where.type == "cuda"):
        span = program.experiment.places.get("distributed.backend") or option_span("--device", str(where))
        raise RunError(BackendUnfit(span=span, backend=backend, device=str(where)))
    starting = timedelta(seconds=timeout_of(program, starting=True))
    if where.type == "cuda":
        torch.cuda.set_device(where)
    choose_interface(place.address, place.port, machines=place.nodes)
    try:
        dist.init_process_group(
            backend,
            **_meeting(place, starting),
            rank=place.rank,
            world_size=place.size,
            timeout=starting,
            device_id=where if where.type == "cuda" else None,
        )
    except (RuntimeError, ValueError, OSError) as error:
        at = f"{place.address}:{place.port}"
        span = option_span("--rdzv", at)
        reason = _plain(error)
        who = f"process {place.rank} of {place.size} did not meet"
        raise RunError(NotMet(span=span, who=who, address=at, reason=reason)) from error
    timeout = timedelta(seconds=timeout_of(program))
    world = Many(local_rank=place.local_rank, local_size=place.local_size, starting=starting, timeout=timeout)
    try:
        yield world
    except Exception as error:
        lost = _lost(error)
        if lost is None:
            raise
        reason = _plain(lost)
        when = f"at step {world.step:,}"
        span = program.experiment.places.get("distributed.timeout") or Span(program.source, 0, 0)
        raise RunError(PeerLost(span=span, rank=world.rank, size=world.size, where=when, reason=reason)) from error
    finally:
        world.close()


def _meeting(place: Place, timeout: timedelta) -> dict[str, Any]:
    """Where the processes write down how they are reached, for torch."""
    if place.launched_by == "srun":
        return {"init_method": f"tcp://{place.address}:{place.port}"}
    if place.nodes > 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {"init_method": "env://"}
    # torch's launcher keeps one store for all restarts: what was written before must not be taken for what is true now.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.TCPStore(  # type: ignore[attr-defined] # torch's stubs do not list it
        place.address, place.port, is_master=False, timeout=timeout
    )
    return {"store": dist.distributed_c10d.PrefixStore(attempt, store)}


def _lost(error: BaseException) -> BaseException | None:
    """What says that another process does not answer: the error, or what it came of, in the middle of a network."""
    if isinstance(error, RuntimeError) and _LOST.search(str(error)):
        return error
    cause = error.__cause__ or error.__context__
    while cause is not None and not (isinstance(cause, RuntimeError) and _CARRIERS.search(str(cause))):
        cause = cause.__cause__ or cause.__context__
    return cause


def _plain(error: BaseException) -> str:
    """What torch says, without the places of its own source and its good wishes."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"\[\S+:\d+\] ", "", first).partition(". This is typically")[0]


def launch_ids(world: World) -> list[str]:
    """What this launch is called, by those who have started its processes, also after each restart; empty without one.

    A machine that starts several has a name of its own for it: some may come later, and others go.
    """
    folder, given = os.environ.get(FOLDER), os.environ.get("TORCHELASTIC_RUN_ID")
    mine = Path(folder).name if folder else None if given in (None, "none") else given
    return sorted({name for name in world.everyones(mine) if name is not None})
