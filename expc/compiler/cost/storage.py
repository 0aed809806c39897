"""Which tensors share their memory: views, and the order in which elements lie.

A tensor is a storage and strides, as in torch. Reshaping, slicing and permuting give views where the order of the
elements allows it, and a copy where it does not: `viewed` decides that as torch does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import listed
from expc.compiler.ops.declare import Call
from expc.compiler.ops.rearrange import plan
from expc.compiler.ops.rules import axis
from expc.frozen import dataclass

Sizes = tuple[Size, ...]


@dataclass(frozen=True, eq=False)
class Storage:
    """Some memory. `counted`: neither a parameter nor a buffer, which are there anyway."""

    bytes: Size
    counted: bool = True


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor in memory. `gradient`: the backward pass goes through it."""

    storage: Storage
    dtype: str
    dims: Sizes
    strides: Sizes
    gradient: bool


def dense(dims: Sizes) -> Sizes:
    """The strides of a tensor whose elements lie in their order, without gaps."""
    strides: list[Size] = []
    step: Size = 1
    for size in reversed(dims):
        strides.insert(0, step)
        step = step * size
    return tuple(strides)


def permuted(dims: Sizes, order: Sequence[int]) -> Sizes:
    """The strides of `dims` where memory has them in this order of axes, the outermost first."""
    inner = dict(zip(order, dense(tuple(dims[at] for at in order)), strict=True))
    return tuple(inner[at] for at in range(len(dims)))


def viewed(dims: Sizes, strides: Sizes, wanted: Sizes) -> Sizes | None:
    """The strides of a view as `wanted`; none where it takes a copy. As `at::detail::computeStride`."""
    if any(isinstance(size, int) and size == 0 for size in dims):
        return dense(wanted)
    if not dims:
        return dense(wanted)
    result: list[Size] = [0] * len(wanted)
    at, base = len(wanted) - 1, strides[-1]
    whole: Size = 1
    part: Size = 1
    for axis_ in reversed(range(len(dims))):
        whole = whole * dims[axis_]
        if axis_ and (dims[axis_ - 1] == 1 or strides[axis_ - 1] == whole * base):
            continue
        while at >= 0 and (_below(part, whole) or wanted[at] == 1):
            result[at] = part * base
            part = part * wanted[at]
            at -= 1
        if part != whole:
            return None
        if axis_:
            base, whole, part = strides[axis_ - 1], 1, 1
    return tuple(result) if at == -1 else None


def _below(a: Size, b: Size) -> bool:
    return a < b if isinstance(a, int) and isinstance(b, int) else a != b


def kept_order(held: Held) -> Sizes:
    """The strides of a new tensor that an elementwise operator makes of this one: the same order, without gaps."""
    if held.strides == dense(held.dims) or not all(isinstance(stride, int) for stride in held.strides):
        return dense(held.dims)
    order = sorted(range(len(held.dims)), key=lambda at: (-int(held.strides[at]), at))  # type: ignore[arg-type]
    return permuted(held.dims, order)


# ------------------------------------------------------------------------------------------------------------ views

View = Callable[[Call, Held, Sizes], Sizes | None]
"""From the call, the tensor and the wanted dimensions to the strides of the view; none for a copy."""


def _reshaped(_: Call, held: Held, dims: Sizes) -> Sizes | None:
    return viewed(held.dims, held.strides, dims)


def _same(_: Call, held: Held, dims: Sizes) -> Sizes | None:
    return held.strides if len(held.strides) == len(dims) else viewed(held.dims, held.strides, dims)


def _contiguous(_: Call, held: Held, dims: Sizes) -> Sizes | None:
    return viewed(held.dims, held.strides, dims) if held.strides == dense(held.dims) else None


def _swapped(first: str, second: str) -> View:
    def view(call: Call, held: Held, _: Sizes) -> Sizes:
        strides = list(held.strides)
        a, b = (axis(call, call[name], len(strides), name) for name in (first, second))
        strides[a], strides[b] = strides[b], strides[a]
        return tuple(strides)

    return view


def _permuted(call: Call, held: Held, _: Sizes) -> Sizes:
    return tuple(held.strides[at] for at in listed(call["dims"]))


def _turned(_: Call, held: Held, __: Sizes) -> Sizes:
    return (*held.strides[:-2], *reversed(held.strides[-2:]))


def _moved(call: Call, held: Held, _: Sizes) -> Sizes:
    rank = len(held.dims)
    source, target = ([at % rank for at in listed(call[name])] for name in ("source", "destination"))
    rest = iter([at for at in range(rank) if at not in source])
    order = [source[target.index(at)] if at in target else next(rest) for at in range(rank)]
    return tuple(held.strides[at] for at in order)


def _selected(call: Call, held: Held, _: Sizes) -> Sizes:
    at = axis(call, call["dim"], len(held.dims))
    return (*held.strides[:at], *held.strides[at + 1 :])


def _expanded(_: Call, held: Held, dims: Sizes) -> Sizes:
    missing = len(dims) - len(held.dims)
    old = (None,) * missing + held.dims
    strides = (0,) * missing + held.strides
    return tuple(stride if size == was else 0 for size, was, stride in zip(dims, old, strides, strict=True))


def _rearranged(call: Call, held: Held, dims: Sizes) -> Sizes | None:
    """Step by step, as torch does it; one that takes a copy makes the rest a copy."""
    given = {name: value for name, value in call.values.items() if name not in ("tensor", "input", "pattern")}
    sizes: Mapping[str, Any] = next((value for value in given.values() if isinstance(value, Mapping)), {})
    steps = plan(call["pattern"], len(held.dims), sizes)
    shape, strides = list(held.dims), list(held.strides)
    for at in steps.squeezed:
        del shape[at], strides[at]
    for at, parts in steps.splits:
        known: Size = 1
        for part in parts:
            known = known if isinstance(part, int) and part == -1 else known * part
        full = tuple(shape[at] // known if isinstance(part, int) and part == -1 else part for part in parts)
        strides[at : at + 1] = [stride * strides[at] for stride in dense(full)]
        shape[at : at + 1] = full
    shape, strides = [shape[at] for at in steps.permutation], [strides[at] for at in steps.permutation]
    return viewed(tuple(shape), tuple(strides), dims)


def _sliced(_: Call, held: Held, dims: Sizes) -> Sizes:
    return held.strides if len(dims) == len(held.strides) else dense(dims)


VIEWS: Final[Mapping[str, View]] = {
    **dict.fromkeys(
        ("Flatten", "Unflatten", "flatten", "unflatten", "reshape", "view", "ravel", "squeeze", "unsqueeze"), _reshaped
    ),
    **dict.fromkeys(("Identity", "positive", "detach", "atleast_1d", "atleast_2d", "atleast_3d"), _same),
    "contiguous": _contiguous,
    "transpose": _swapped("dim0", "dim1"),
    "swapdims": _swapped("dim0", "dim1"),
    "swapaxes": _swapped("axis0", "axis1"),
    **dict.fromkeys(("permute", "Permute"), _permuted),
    **dict.fromkeys(("t", "adjoint"), _turned),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
    **dict.fromkeys(("select", "unbind"), _selected),
    **dict.fromkeys(("expand", "broadcast_to", "broadcast_tensors", "meshgrid"), _expanded),
    "rearrange": _rearranged,
    **dict.fromkeys(
        (
            *("narrow", "chunk", "split", "tensor_split", "hsplit", "vsplit", "dsplit", "split_with_sizes"),
            "diagonal",
        ),
        _sliced,
    ),
}
"""The operators that give views of their first tensor where they can."""
