"""What is kept by layers that normalise: their input, and the statistics that they divide by."""

from collections.abc import Iterator, Mapping
from typing import Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.kept import F32_BYTES, As, Item, Rule, Use, numbers
from expc.compiler.ops.rules import product
from expc.compiler.types import TensorType


def _batch_norm(use: Use) -> Iterator[Item]:
    yield "input"
    yield 2 * F32_BYTES * use.call.tensor().dims[1]


def _functional_batch_norm(use: Use) -> Iterator[Item]:
    yield from _batch_norm(use)
    if isinstance(use.call["weight"], TensorType):
        yield "weight"


def _instance_norm(use: Use) -> Iterator[Item]:
    """Computed as the batch norm of one sample whose channels are all of them; so what each channel has is repeated."""
    x = use.call.tensor()
    yield As("input", (1, x.dims[0] * x.dims[1], *x.dims[2:]))
    weighted = use.call.values.get("affine") or isinstance(use.call.values.get("weight"), TensorType)
    tracked = use.call.values.get("track_running_stats") or isinstance(use.call.values.get("running_mean"), TensorType)
    yield numbers(x, (2 + (1 if weighted else 0) + (2 if tracked else 0)) * x.dims[0] * x.dims[1])


def _group_norm(use: Use) -> Iterator[Item]:
    yield "input"
    yield numbers(use.call.tensor(), 2 * use.call.tensor().dims[0] * use.call["num_groups"])
    if isinstance(use.call.values.get("weight"), TensorType):
        yield "weight"


def normalised(use: Use, name: str) -> Size:
    """How many positions are normalised each by itself."""
    shape = use.call["normalized_shape"]
    rank = len(shape) if isinstance(shape, list | tuple) else 1
    return product(use.call.tensor(name).dims[:-rank])


def _layer_norm(use: Use) -> Iterator[Item]:
    yield "input"
    yield numbers(use.call.tensor(), 2 * normalised(use, "input"))
    if isinstance(use.call.values.get("weight"), TensorType):
        yield "weight"


def _rms_norm(use: Use) -> Iterator[Item]:
    name = use.call.operator.arguments[0].name
    weighted = use.call.values.get("elementwise_affine") or isinstance(use.call.values.get("weight"), TensorType)
    if use.needs(name):
        yield name
        yield F32_BYTES * normalised(use, name)
    if weighted:
        yield use.bytes(name)
    if isinstance(use.call.values.get("weight"), TensorType):
        yield "weight"


def _response_norm(use: Use) -> Iterator[Item]:
    x = use.call.tensor()
    size = use.call["size"]
    yield "input"
    yield 2 * use.bytes()
    yield F32_BYTES * x.dims[0] * (x.dims[1] + size - 1) * product(x.dims[2:])


def _normalize(use: Use) -> Iterator[Item]:
    x, dim = use.call.tensor(), use.call["dim"]
    yield "input"
    axes = {at % x.rank for at in (dim if isinstance(dim, list | tuple) else (dim,))}
    yield 2 * F32_BYTES * product([size for at, size in enumerate(x.dims) if at not in axes])


def _frozen_batch_norm(use: Use) -> Iterator[Item]:
    name = use.call.operator.arguments[0].name
    yield F32_BYTES * use.call.tensor(name).dims[1]


NORMS: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), _batch_norm),
    "batch_norm": _functional_batch_norm,
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "instance_norm"), _instance_norm),
    **dict.fromkeys(("GroupNorm", "group_norm"), _group_norm),
    **dict.fromkeys(("LayerNorm", "layer_norm"), _layer_norm),
    **dict.fromkeys(("RMSNorm", "rms_norm"), _rms_norm),
    **dict.fromkeys(("LocalResponseNorm", "local_response_norm"), _response_norm),
    "normalize": _normalize,
    "FrozenBatchNorm2d": _frozen_batch_norm,
}
