"""Nested values with tensors in them, as plain JSON beside a table of tensors, and back: exactly the same values."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from expc.frozen import dataclass

Tensors = Mapping[str, Tensor]

_TENSOR: Final = "$tensor"
_FLOAT: Final = "$float"
_TUPLE: Final = "$tuple"
_TABLE: Final = "$table"
_LOST: Final = "$lost"


@dataclass(frozen=True)
class State:
    """What a checkpoint holds: tensors by file and name, and everything else."""

    tensors: Mapping[str, Tensors]
    plain: Mapping[str, Any]
    parts: Path | None = None
    """The folder with the parts (`shards`) of those that are on the meta device, and have no numbers yet."""


class Lost:
    """Stands for a value that could not be saved: an object of somebody's own class."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Lost":
        return self


LOST: Final = Lost()


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON has it; its tensors go to `tensors`, called by where they stand: `exp_avg/conv1.weight`.

    What is no number, text, truth value, none, tensor, list, tuple or table of these is lost: it comes back as `LOST`.
    """
    match value:
        case Tensor() if not value.is_sparse:
            tensors[name] = value
            return {_TENSOR: name, "device": value.device.type}
        case bool() | str() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
        case np.ndarray() if value.dtype.kind in "iufb":
            # safetensors has fewer kinds of numbers than numpy: the bits as they are, and what they were.
            tensors[name] = torch.from_numpy(np.ascontiguousarray(value).view(np.uint8).reshape(-1).copy())
            return {_TENSOR: name, "numpy": value.dtype.str, "shape": list(value.shape)}
        case list():
            return [pack(item, f"{name}.{place}", tensors) for place, item in enumerate(value)]
        case tuple():
            return {_TUPLE: [pack(item, f"{name}.{place}", tensors) for place, item in enumerate(value)]}
        case Mapping() if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: pack(item, f"{name}/{key}", tensors) for key, item in value.items()}
        case Mapping():
            pairs = [list(pair) for pair in value.items()]
            return {_TABLE: pack(pairs, name, tensors)}
    return {_LOST: type(value).__name__}


def unpack(value: Any, tensors: Tensors, device: torch.device, home: str = "") -> Any:
    """What was packed. Raises KeyError or ValueError for what was not.

    Tensors that were on a device, or on the kind of device `home`, come to `device`; others were on the CPU and stay.
    """
    match value:
        case list():
            return [unpack(item, tensors, device, home) for item in value]
        case {"$tensor": name, "numpy": kind, "shape": shape}:
            return np.frombuffer(tensors[name].numpy().tobytes(), np.dtype(kind)).reshape(shape).copy()
        case {"$tensor": name, "device": "cpu"} if home != "cpu":
            return tensors[name]
        case {"$tensor": name}:
            return tensors[name].to(device)
        case {"$float": text}:
            return float(text)
        case {"$tuple": items}:
            return tuple(unpack(item, tensors, device, home) for item in items)
        case {"$table": pairs}:
            return dict(unpack(pairs, tensors, device, home))
        case {"$lost": _}:
            return LOST
        case dict():
            return {key: unpack(item, tensors, device, home) for key, item in value.items()}
    return value


def lost_in(value: Any, name: str = "") -> list[str]:
    """The places of what could not be saved in a packed value, each with the class that it was of."""
    match value:
        case {"$lost": kind}:
            return [f"{name} ({kind})"]
        case dict():
            return [found for key, item in value.items() for found in lost_in(item, f"{name}.{key}".strip("."))]
        case list():
            return [found for item in value for found in lost_in(item, name)]
    return []
