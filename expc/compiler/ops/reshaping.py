"""Functions that arrange the elements of one tensor anew."""

from collections.abc import Sequence
from typing import Any, Final

from expc.compiler.dimensions import Size, least, maximum, minimum
from expc.compiler.ops.arguments import AXES, AXIS, axes, dim, function, listed, whole_quotient
from expc.compiler.ops.declare import Call, Kind, Param
from expc.compiler.ops.kinds import INT, list_of, optional, sizes
from expc.compiler.ops.rules import INPUT, axis, product, refuse, times
from expc.compiler.types import TensorType

SHAPE: Final = list_of(INT)
"""A list of sizes; -1 stands for the one that follows from the others."""


def as_torch(name: str, argument: str) -> Any:
    """`x.name(3, 4)`: the method with the sizes one by one, as people write it."""

    def build(_: Any, values: dict[str, Any]) -> Any:
        sizes_ = values[argument]
        method = getattr(values["input"], name)
        return method(*sizes_) if sizes_ else method(sizes_)

    return build


def resolved(call: Call, total: Size, wanted: Sequence[Size], what: str) -> tuple[Size, ...]:
    """`wanted` sizes for `total` elements, with the one -1 worked out; `what` names the total in messages."""
    free = [at for at, size in enumerate(wanted) if isinstance(size, int) and size == -1]
    if len(free) > 1:
        refuse(call, f"{shown(wanted)} has -1 more than once: only one size can follow from the others")
    if any(isinstance(size, int) and size < -1 for size in wanted):
        refuse(call, f"{shown(wanted)} has a negative size")
    known = product([size for at, size in enumerate(wanted) if at not in free])
    if not free:
        call.require_equal(known, total, what)
        return tuple(wanted)
    found = whole_quotient(call, total, known, what)
    call.explain(f"the size written as -1: {total} / {known} = {found}")
    return tuple(found if at in free else size for at, size in enumerate(wanted))


def shown(wanted: Sequence[Size]) -> str:
    """Sizes as the language writes them."""
    return "[" + ", ".join(map(str, wanted)) + "]"


def _flatten(call: Call) -> TensorType:
    x = call.tensor()
    first, last = axis(call, call["start_dim"], x.rank, "start_dim"), axis(call, call["end_dim"], x.rank, "end_dim")
    if first > last:
        refuse(call, f"start_dim={call['start_dim']} comes after end_dim={call['end_dim']} in {x}")
    joined = x.dims[first : last + 1]
    if len(joined) > 1:
        call.explain(f"flattened: {times(joined)} = {product(joined)}")
    return x.with_dims(*x.dims[:first], product(joined), *x.dims[last + 1 :])


def _unflatten(call: Call) -> TensorType:
    x = call.tensor()
    if x.rank == 0:
        refuse(call, "a scalar has no dimension to unflatten")
    at = axis(call, call["dim"], x.rank)
    if not call["sizes"]:
        refuse(call, "sizes must not be empty")
    parts = resolved(call, x.dims[at], call["sizes"], f"dimension {call['dim']}")
    return x.with_dims(*x.dims[:at], *parts, *x.dims[at + 1 :])


def _reshape(call: Call) -> TensorType:
    x = call.tensor()
    return x.with_dims(*resolved(call, product(x.dims), listed(call["shape"]), "the number of elements"))


def _permute(call: Call) -> TensorType:
    x = call.tensor()
    wanted = listed(call["dims"])
    order = axes(call, wanted, x.rank, "dims")
    if len(order) != x.rank:
        refuse(call, f"dims={list(wanted)} must name each of the {x.rank} dimensions of {x} once")
    return x.with_dims(*(x.dims[at] for at in order))


def _transpose(call: Call) -> TensorType:
    x = call.tensor()
    a, b = axis(call, call["dim0"], x.rank, "dim0"), axis(call, call["dim1"], x.rank, "dim1")
    swapped = list(x.dims)
    if swapped:
        swapped[a], swapped[b] = swapped[b], swapped[a]
    return x.with_dims(*swapped)


def _t(call: Call) -> TensorType:
    x = call.tensor()
    if x.rank > 2:
        refuse(call, f"takes a matrix, but gets {x}: write transpose(-2, -1)")
    return x.with_dims(*reversed(x.dims))


def _squeeze(call: Call) -> TensorType:
    x = call.tensor()
    asked = call["dim"]
    dropped = set()
    for at in axes(call, asked, x.rank):
        size = x.dims[at] if x.rank else 0
        if isinstance(size, int):
            if size == 1:
                dropped.add(at)
        elif (least(size) or 0) > 1:
            continue
        elif asked is not None:
            call.require_equal(1, size, f"dimension {at}, which is squeezed,")
            dropped.add(at)
        else:
            refuse(
                call, f"without dim it would also drop {size} where that is 1: write squeeze(dim) for the one you mean"
            )
    return x.with_dims(*(size for at, size in enumerate(x.dims) if at not in dropped))


def _unsqueeze(call: Call) -> TensorType:
    x = call.tensor()
    at = axis(call, call["dim"], x.rank + 1)
    return x.with_dims(*x.dims[:at], 1, *x.dims[at:])


def _movedim(call: Call) -> TensorType:
    x = call.tensor()
    source = axes(call, call["source"], x.rank, "source")
    target = axes(call, call["destination"], x.rank, "destination")
    if len(source) != len(target):
        refuse(call, "source and destination must be equally many")
    rest = iter([at for at in range(x.rank) if at not in source])
    moved = dict(zip(target, source, strict=True))
    return x.with_dims(*(x.dims[moved[at] if at in moved else next(rest)] for at in range(x.rank)))


def _flip(call: Call) -> TensorType:
    x = call.tensor()
    axes(call, listed(call["dims"]), x.rank, "dims")
    return x


def _roll(call: Call) -> TensorType:
    x = call.tensor()
    shifts, over = listed(call["shifts"]), call["dims"]
    if listed(over) == ():
        if len(shifts) != 1:
            refuse(call, "several shifts need as many dims")
        return x
    if len(shifts) != len(listed(over)):
        refuse(call, f"{len(shifts)} shifts for {len(listed(over))} dims: they must be equally many")
    for at in listed(over):
        if x.rank == 0:
            refuse(call, "a scalar has no dimension to roll")
        axis(call, at, x.rank, "dims")
    return x


def _triangle(call: Call) -> TensorType:
    x = call.tensor()
    if x.rank < 2:
        refuse(call, f"takes matrices, at least 2 dimensions, but gets {x}")
    return x


def diagonal_of(call: Call) -> TensorType:
    """The diagonal over `dim1` and `dim2`, beside the main one by `offset`, as the last dimension."""
    x = call.tensor()
    a, b = axis(call, call["dim1"], x.rank, "dim1"), axis(call, call["dim2"], x.rank, "dim2")
    if a == b:
        refuse(call, "dim1 and dim2 must be two dimensions")
    length = diagonal_length(x.dims[a], x.dims[b], call["offset"])
    return x.with_dims(*(s for at, s in enumerate(x.dims) if at not in (a, b)), length)


def diagonal_length(rows: Size, columns: Size, offset: int) -> Size:
    """How long the diagonal of a matrix is that lies above the main one by `offset`."""
    return maximum(minimum(rows, columns - offset) if offset >= 0 else minimum(rows + offset, columns), 0)


def _contiguous(call: Call) -> TensorType:
    return call.tensor()


_IMAGE: Final = {"x": "f32[N, 3, 8, 8]"}
_MATRIX: Final = {"x": "f32[N, 8, 8]"}


def shape_param(name: str, kind: Kind = SHAPE) -> Param:
    """Sizes or dimensions, as one list or one by one."""
    return Param(name, kind, variadic=True)


OPERATORS: Final = (
    function(
        "flatten",
        "Several neighbouring dimensions as one.",
        (INPUT, Param("start_dim", AXIS, 0), Param("end_dim", AXIS, -1)),
        _flatten,
        "x -> flatten(1)",
        _IMAGE,
    ),
    function(
        "unflatten",
        "One dimension as several.",
        (INPUT, dim(), Param("sizes", SHAPE)),
        _unflatten,
        "x -> unflatten(1, [2, 4])",
    ),
    function(
        "reshape",
        "The elements in another shape; -1 is the size that follows from the others.",
        (INPUT, shape_param("shape")),
        _reshape,
        "x -> reshape(N, 4, -1)",
        build=as_torch("reshape", "shape"),
    ),
    function(
        "view",
        "The elements in another shape, without a copy: only for tensors that are contiguous.",
        (INPUT, shape_param("shape")),
        _reshape,
        "x -> view(N, 4, -1)",
        home="torch.Tensor",
        build=as_torch("view", "shape"),
    ),
    function(
        "permute",
        "The dimensions in another order.",
        (INPUT, shape_param("dims", list_of(AXIS))),
        _permute,
        "x -> permute(0, 2, 3, 1)",
        _IMAGE,
        build=as_torch("permute", "dims"),
    ),
    function(
        "transpose",
        "Two dimensions swapped.",
        (INPUT, dim(name="dim0"), dim(name="dim1")),
        _transpose,
        "x -> transpose(1, 2)",
        _IMAGE,
    ),
    function("t", "A matrix transposed.", (INPUT,), _t),
    function(
        "squeeze",
        "Dimensions of size 1 dropped.",
        (INPUT, Param("dim", optional(AXES), None)),
        _squeeze,
        "x -> squeeze(1)",
        {"x": "f32[N, 1, 8]"},
    ),
    function("unsqueeze", "A dimension of size 1 put in.", (INPUT, dim()), _unsqueeze, "x -> unsqueeze(1)"),
    function(
        "movedim",
        "Some dimensions moved, the others in their order.",
        (INPUT, Param("source", AXES), Param("destination", AXES)),
        _movedim,
        "x -> movedim(1, -1)",
        _IMAGE,
    ),
    function(
        "flip",
        "The elements in reverse along dimensions.",
        (INPUT, shape_param("dims", list_of(AXIS))),
        _flip,
        "x -> flip(1)",
        build=as_torch("flip", "dims"),
    ),
    function(
        "roll",
        "The elements shifted along dimensions, wrapping around.",
        (INPUT, Param("shifts", sizes()), Param("dims", AXES, ())),
        _roll,
        "x -> roll(1, dims=1)",
    ),
    *(
        function(name, doc, (INPUT, Param("diagonal", AXIS, 0)), _triangle, f"x -> {name}", _MATRIX)
        for name, doc in (
            ("tril", "The lower triangle of matrices, zeros above."),
            ("triu", "The upper triangle of matrices, zeros below."),
        )
    ),
    function(
        "diagonal",
        "The diagonal of matrices.",
        (INPUT, Param("offset", AXIS, 0), dim(0, "dim1"), dim(1, "dim2")),
        diagonal_of,
        "x -> diagonal(dim1=1, dim2=2)",
        _MATRIX,
    ),
    function(
        "contiguous",
        "The tensor with its elements in order in memory.",
        (INPUT,),
        _contiguous,
        home="torch.Tensor",
    ),
)
