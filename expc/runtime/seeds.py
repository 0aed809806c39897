"""Random numbers of the model, and which algorithms torch may use.

Data order and augmentation draw from no generator (see `expc.runtime.data`). What is left is the model: dropout and
noise. It draws from torch's own generators, seeded once when training starts; evaluation draws from a seed of its own
and leaves them as they were, so that training goes the same way however often it is evaluated.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def seed_all(seed: int) -> None:
    """Seed torch's generators on all devices, and those that foreign code may draw from: Python's and numpy's."""
    import numpy as np

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - foreign code may draw from the old one


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch draws from `seed`; afterwards it goes on where it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def algorithms(*, deterministic: bool) -> Iterator[None]:
    """Inside, torch uses deterministic algorithms only, if asked for: the same bits each time, often slower."""
    if not deterministic:
        yield
        return
    import os

    # cuBLAS reads it when a process first uses it, and torch refuses to be deterministic without.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def generator_state(device: torch.device) -> dict[str, Tensor]:
    """Where torch's generators stand, as tensors of bytes."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_generator_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Let torch's generators go on from where they stood when `generator_state` gave `state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def all_generators(device: torch.device) -> dict[str, Any]:
    """Where the generators of torch, Python and numpy stand."""
    import numpy as np

    version, words, gauss = random.getstate()
    return {
        "torch": generator_state(device),
        "python": (version, np.array(words, np.uint32), gauss),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - foreign code may draw from the old one
    }


def restore_generators(state: Mapping[str, Any], device: torch.device) -> None:
    """Let them go on from what a checkpoint held; a device that was not used then stays where it is."""
    import numpy as np

    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"]["cpu"])
    if device.type == "cuda" and "cuda" in state["torch"]:
        set_generator_state(state["torch"], device)
