"""Parameters and buffers that start as a file says: `init "backbone.*" = load("resnet18.safetensors")`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from expc.compiler.errors.files import WeightsRefused
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import InitRule


def load(rule: InitRule, wanted: Mapping[Tensor, Sequence[str]]) -> None:
    """Copy the tensors of a file into those that are wanted, each under one of its keys.

    The path starts at the folder of the `.exp` file that has the rule. Raises `ExecutionError` (E0815) where the file
    cannot be read, has no such key, or has it in another shape.
    """
    settings = {str(given.name): str(given.value) for given in rule.initialiser.arguments}
    path, drop = settings["path"], settings["drop"]

    def refused(reason: str, *notes: str) -> ExecutionError:
        return ExecutionError(WeightsRefused(span=rule.span, path=path, reason=reason, notes=notes))

    try:
        loaded = load_file(Path(rule.span.source.folder) / path)
    except FileNotFoundError:
        raise refused("there is no such file") from None
    except (OSError, SafetensorError) as error:
        raise refused(f"it is no safetensors file: {error}") from error
    found = {
        tensor: next((drop + key for key in keys if drop + key in loaded), None) for tensor, keys in wanted.items()
    }
    missing = [keys[0] for tensor, keys in wanted.items() if found[tensor] is None]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        first = f"it has no `{drop}{missing[0]}`{more}; its first key is `{next(iter(loaded), '')}`"
        raise refused(first, *_advice(missing[0], loaded))
    for tensor, key in found.items():
        there = loaded[str(key)]
        if there.shape != tensor.shape:
            shapes = f"{list(there.shape)} there and {list(tensor.shape)} here"
            raise refused(f"`{str(key).removeprefix(drop)}` is {shapes}; leave it out with a narrower selector")
        with torch.no_grad():
            tensor.copy_(there)


def _advice(missing: str, loaded: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What to write where the keys of a file are those of the model but for what they start with."""
    longer = next((key for key in loaded if key.endswith(f".{missing}")), None)
    if longer is not None:
        return (f'it has `{longer}`: write `drop="{longer.removesuffix(missing)}"`',)
    shorter = next((key for key in loaded if missing.endswith(f".{key}")), None)
    if shorter is not None:
        inside = missing.removesuffix(f".{shorter}")
        return (f"it has `{shorter}`: an `init` inside the block that is `{inside}` here has keys without `{inside}.`",)
    return ()
