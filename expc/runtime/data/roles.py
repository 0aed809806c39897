"""The data of a whole experiment: a loader for each role that a run uses, all within one share of the memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from expc.compiler.program import Program
from expc.runtime.data.declared import Given
from expc.runtime.data.loader import Loader
from expc.runtime.data.memory import Memory
from expc.runtime.data.ways import described
from expc.runtime.distributed.world import World
from expc.runtime.watch import SECONDS
from expc.spec.sections import Data

ROLES: Final = ("train", "val", "test")


def open_roles(
    program: Program,
    *,
    root: Path,
    device: torch.device,
    given: Given | None = None,
    world: World | None = None,
) -> dict[str, Loader]:
    """The open data of `program`, by role. `root` is where relative paths start. Raises `RunError`.

    Of `world` each process gets its slice of every batch of `train`, and whole batches of the others.
    """
    world = world or World()
    data, train = program.experiment.data, program.experiment.train
    assert data is not None  # noqa: S101 - a run has checked it
    assert train is not None  # noqa: S101
    memory = Memory(data.memory / world.local_size)
    found: dict[str, Loader] = {}
    for role in ROLES:
        if role not in program.data:
            continue

        def passes(steps: int, role: str = role) -> float:
            per_epoch = steps if role == "train" or "train" not in found else len(found["train"])
            return 1 if role == "test" else train.epochs or (train.steps or 0) / per_epoch

        found[role] = Loader(
            program.data[role],
            root=root,
            seed=train.seed,
            shuffle=data.shuffle and role == "train",
            drop_last=data.drop_last and role == "train",
            parts=train.accumulate if role == "train" else 1,
            given=given,
            device=device,
            memory=memory,
            passes=passes,
            world=world if role == "train" else None,
            **_settings(data),
        )
    return found


def say(loaders: Mapping[str, Loader], data: Data) -> str:
    """Which way the batches of each role come, as a line for people."""
    return described({role: loader.way for role, loader in loaders.items()}, data.workers)


def _settings(data: Data) -> dict[str, Any]:
    """What `Loader` is given as it is written."""
    return {
        "batch": data.batch,
        "workers": data.workers,
        "pin_memory": data.pin_memory,
        "persistent_workers": data.persistent_workers,
        "prefetch_factor": data.prefetch_factor,
        "timeout": 0.0 if data.timeout is None else data.timeout.number * SECONDS[data.timeout.unit],
        "multiprocessing_context": None if data.multiprocessing_context == "auto" else data.multiprocessing_context,
        "path": data.path,
    }
