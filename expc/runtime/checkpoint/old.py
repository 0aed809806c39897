"""Checkpoints: everything from which a run could go on, each in a folder that appears only when it is whole.

`checkpoints/step-000123/` holds `model.safetensors`, `optimizer.safetensors` (`exp_avg/conv1.weight`), the states of
torch's generators in `random.safetensors`, and the rest as plain values in `state.json`. Nothing is pickled.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from expc.runtime.checkpoint.saving import STEP_DIGITS
from expc.runtime.rundir import RunDirectory, write_whole, writing
from expc.runtime.weights import weights_as_bytes

Tensors = Mapping[str, Tensor]


class Checkpoints:
    """The checkpoints of one run; the last `keep` stay, and the one with the best weights."""

    def __init__(self, directory: RunDirectory, keep: int) -> None:
        self._folder: Final = directory.path / "checkpoints"
        self._keep: Final = keep

    def save(self, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any], best_step: int) -> None:
        """Write the checkpoint of `step`, unless it is there, and remove old ones. Raises `RunError`."""
        final = self._folder / f"step-{step:0{STEP_DIGITS}d}"
        if final.exists():
            return
        partial = self._folder / f".{final.name}.{os.getpid()}.partial"
        with writing(final):
            try:
                partial.mkdir(parents=True)
                for name, group in tensors.items():
                    write_whole(partial / f"{name}.safetensors", weights_as_bytes(group))
                write_whole(partial / "state.json", json.dumps(state, indent=2).encode() + b"\n")
                _flush(partial)
                partial.rename(final)
                _flush(self._folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            self._prune(best_step)

    def _prune(self, best_step: int) -> None:
        best = f"step-{best_step:0{STEP_DIGITS}d}"
        saved = sorted(self._folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
        for old in saved[: -self._keep]:
            if old.name != best:
                shutil.rmtree(old)


def optimizer_state(optimizers: Sequence[Optimizer], model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizers' state as tensors and as plain values, each called by what it is and its parameter's key.

    A list of tensors is written one by one: `old_dirs.0/conv1.weight`.
    """
    keys: dict[Tensor, str] = {parameter: key for key, parameter in model.named_parameters()}
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for optimizer in optimizers:
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                key = keys[parameter]
                if isinstance(value, Tensor):
                    tensors[f"{name}/{key}"] = value
                elif isinstance(value, list) and any(isinstance(item, Tensor) for item in value):
                    tensors |= {f"{name}.{i}/{key}": item for i, item in enumerate(value) if isinstance(item, Tensor)}
                else:
                    plain[f"{name}/{key}"] = value
    groups = [
        {"params": [keys[p] for p in group["params"]], **{k: v for k, v in group.items() if k != "params"}}
        for optimizer in optimizers
        for group in optimizer.param_groups
    ]
    return tensors, {"state": plain, "groups": groups}


def _flush(folder: Path) -> None:
    """Make sure that the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
