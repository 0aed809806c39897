"""Parameters and buffers that start as a file says: `init "backbone.*" = load("resnet18.safetensors")`."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from expc.compiler.errors.files import WeightsRefused
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import InitRule
from expc.compiler.library.pretrained import is_published
from expc.compiler.lower.parts import Whole
from expc.compiler.lower.weight_files import UnreadableWeightsError, fetch, read


def load(rule: InitRule, wanted: Mapping[Tensor, Sequence[str]], whole: Whole) -> None:
    """Copy the tensors of a file into those that are wanted, each under one of its keys; `whole` does the writing.

    The path starts at the folder of the `.exp` file that has the rule. Raises `ExecutionError` (E0815) where the file
    cannot be read; and where it lacks tensors or has them in other shapes, with all of them: nothing is copied then.
    """
    settings = {str(given.name): str(given.value) for given in rule.initialiser.arguments}
    path, drop = settings["path"], settings["drop"]

    def refused(reason: str, *notes: str) -> ExecutionError:
        return ExecutionError(WeightsRefused(span=rule.span, path=path, reason=reason, notes=notes))

    try:
        loaded = fetch(path) if is_published(path) else read(Path(rule.span.source.folder) / path)
    except UnreadableWeightsError as error:
        raise refused(str(error)) from error
    names = _inside_the_file(wanted, loaded, drop)
    found = {tensor: next((drop + key for key in keys if drop + key in loaded), None) for tensor, keys in names.items()}
    absent = [names[tensor][0] for tensor, key in found.items() if key is None]
    if not any(key.endswith(_COUNTER) for key in loaded):
        # As torch itself does with files from before batch norms counted: the count starts at 0.
        absent = [key for key in absent if not key.endswith(_COUNTER)]
    other = {key: (loaded[key], tensor) for tensor, key in found.items() if key and not _fits(loaded[key], tensor)}
    if absent or other:
        reason = f"{len(absent) + len(other)} of the {len(wanted)} tensors that `{rule.selector}` matches do not fit"
        raise refused(reason, *_notes(absent, other, loaded, drop))
    for tensor, key in found.items():
        if key is not None:
            with torch.no_grad():
                whole.fill(tensor, partial(_copy, loaded[key]))


def _copy(numbers: Tensor, tensor: Tensor) -> None:
    tensor.copy_(numbers)


_COUNTER: Final = "num_batches_tracked"


def _inside_the_file(
    wanted: Mapping[Tensor, Sequence[str]], loaded: Mapping[str, Tensor], drop: str
) -> Mapping[Tensor, Sequence[str]]:
    """What the keys that are wanted are called in the file, after what is dropped.

    As here; but where none of them is in it, the file may be of a part alone that all of them are in, and then
    `teacher.fc.weight` is its `fc.weight`.
    """
    every = [key for keys in wanted.values() for key in keys]
    columns = zip(*(key.split(".")[:-1] for key in every), strict=False)
    shared = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    for depth in range(len(shared) + 1):
        outside = "".join(f"{part}." for part in shared[:depth])
        if any(drop + key.removeprefix(outside) in loaded for key in every):
            return {tensor: [key.removeprefix(outside) for key in keys] for tensor, keys in wanted.items()}
    return wanted


def _fits(there: Tensor, here: Tensor) -> bool:
    return there.shape == here.shape and there.is_complex() == here.is_complex() and not there.is_quantized


def _notes(
    absent: Sequence[str], other: Mapping[str, tuple[Tensor, Tensor]], loaded: Mapping[str, Tensor], drop: str
) -> list[str]:
    """All that does not fit, and what to write instead."""
    notes = []
    if absent:
        notes.append(f"it has no {', '.join(f'`{drop}{key}`' for key in absent)}")
        notes += _advice(absent[0], loaded)
    if not loaded:
        notes.append("it has no tensors at all")
    elif not any(key.startswith(drop) for key in loaded):
        notes.append(f"its first key is `{next(iter(loaded))}`")
    if other:
        shapes = (f"`{key}` {_shape(there)}, here {_shape(here)}" for key, (there, here) in other.items())
        notes += [f"it has {'; '.join(shapes)}", "a selector that matches less leaves them as they start"]
    return notes


def _shape(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}{' of another kind of numbers' if tensor.is_complex() or tensor.is_quantized else ''}"


def _advice(missing: str, loaded: Mapping[str, Tensor]) -> list[str]:
    """What to write where the keys of a file are those of the model but for what they start with."""
    longer = next((key for key in loaded if key.endswith(f".{missing}")), None)
    if longer is not None:
        return [f'it has `{longer}`: write `drop="{longer.removesuffix(missing)}"`']
    shorter = next((key for key in loaded if missing.endswith(f".{key}")), None)
    if shorter is not None:
        inside = missing.removesuffix(f".{shorter}")
        return [f'it has `{shorter}`: for what is in `{inside}` here, write `init "{inside}.*"`']
    return []
