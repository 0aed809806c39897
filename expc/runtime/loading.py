"""Weights that start as a file says: `init "backbone.*" = load("resnet18.safetensors")`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from expc.compiler.program import LoadPlan
from expc.runtime.errors import RunError, WeightsRefused
from expc.runtime.weights import read_weights


def load_weights(model: nn.Module, plans: Sequence[LoadPlan], folder: Path) -> None:
    """Copy the tensors of files into the parameters and buffers that the plans name; paths start at `folder`.

    Raises `RunError` (E0815) where a file cannot be read, has no such key, or has it in another shape.
    """
    if not plans:
        return
    entries = model.state_dict(keep_vars=True)
    for plan in plans:
        loaded = _read(plan, folder)
        missing = [key for key in plan.keys if plan.drop + key not in loaded]
        if missing:
            more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
            raise _refused(
                plan, f"it has no `{plan.drop}{missing[0]}`{more}; its first key is `{next(iter(loaded), '')}`"
            )
        with torch.no_grad():
            for key in plan.keys:
                tensor, entry = loaded[plan.drop + key], entries[key]
                if tensor.shape != entry.shape:
                    shapes = f"{list(tensor.shape)} there and {list(entry.shape)} here"
                    raise _refused(plan, f"`{key}` is {shapes}; leave it out with a narrower selector")
                entry.copy_(tensor)


def _read(plan: LoadPlan, folder: Path) -> dict[str, Tensor]:
    path = folder / plan.path
    try:
        return read_weights(path)
    except FileNotFoundError:
        raise _refused(plan, "there is no such file") from None
    except (OSError, SafetensorError) as error:
        raise _refused(plan, f"it is no safetensors file: {error}") from error


def _refused(plan: LoadPlan, reason: str) -> RunError:
    return RunError(WeightsRefused(span=plan.span, path=plan.path, reason=reason))
