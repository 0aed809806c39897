"""Functions that join or combine several tensors."""

from dataclasses import replace
from math import factorial
from typing import Any, Final

from expc.compiler.dimensions import Dim, Size
from expc.compiler.errors.shapes import RankMismatch
from expc.compiler.ops.arguments import LIST, dim, function, need_rank, need_same_dtype, tensor
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, NATURAL, TENSOR, choice
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import TensorType, result_dtype


def _tensors(call: Call) -> list[TensorType]:
    found = list(call["tensors"])
    if not found:
        refuse(call, "takes at least one tensor in its list")
    return found


def _merged(found: list[TensorType], dims: tuple[Size, ...]) -> TensorType:
    """The promoted dtype; indices stay indices where all are below the same bound."""
    classes = found[0].classes if all(type_.classes == found[0].classes for type_ in found) else None
    return TensorType(result_dtype([(type_.dtype, type_.rank) for type_ in found]), dims, classes)


def _same_rank(call: Call, found: list[TensorType]) -> None:
    first = found[0]
    for other in found[1:]:
        if other.rank != first.rank:
            expected = f"tensors of equally many dimensions ({first.rank}, as {first})"
            call.fail(RankMismatch, operator=str(call.operator), expected=expected, found=str(other))


def _joined(call: Call, found: list[TensorType], at: int) -> TensorType:
    """The tensors one after the other along dimension `at`; the other dimensions must agree."""
    _same_rank(call, found)
    first = found[0]
    total: Size = first.dims[at]
    for number, other in enumerate(found[1:], start=2):
        for other_at, (a, b) in enumerate(zip(first.dims, other.dims, strict=True)):
            if other_at != at:
                call.require_equal(a, b, f"dimension {other_at} of tensor {number}")
        total = total + other.dims[at]
    if len(found) > 1:
        call.explain(f"dimension {at}: {' + '.join(str(type_.dims[at]) for type_ in found)} = {total}")
    return _merged(found, (*first.dims[:at], total, *first.dims[at + 1 :]))


def _cat(call: Call) -> TensorType:
    found = _tensors(call)
    if any(type_.rank == 0 for type_ in found):
        refuse(call, "scalars have no dimension to join along: write stack")
    return _joined(call, found, axis(call, call["dim"], found[0].rank))


def _stack(call: Call) -> TensorType:
    found = _tensors(call)
    _same_rank(call, found)
    first = found[0]
    at = axis(call, call["dim"], first.rank + 1)
    for number, other in enumerate(found[1:], start=2):
        for other_at, (a, b) in enumerate(zip(first.dims, other.dims, strict=True)):
            call.require_equal(a, b, f"dimension {other_at} of tensor {number}")
    return _merged(found, (*first.dims[:at], len(found), *first.dims[at:]))


def _at_least(type_: TensorType, rank: int) -> TensorType:
    return replace(type_, dims=(1,) * (rank - type_.rank) + type_.dims)


def _hstack(call: Call) -> TensorType:
    found = [_at_least(type_, 1) for type_ in _tensors(call)]
    return _joined(call, found, 0 if found[0].rank == 1 else 1)


def _vstack(call: Call) -> TensorType:
    return _joined(call, [_at_least(type_, 2) for type_ in _tensors(call)], 0)


def _column_stack(call: Call) -> TensorType:
    found = [x if x.rank > 1 else x.with_dims(product(x.dims), 1) for x in _tensors(call)]
    return _joined(call, found, 1)


def _dstack(call: Call) -> TensorType:
    return _joined(call, [_deep(type_) for type_ in _tensors(call)], 2)


def _deep(x: TensorType) -> TensorType:
    """At least 3 dimensions: a scalar and a list of numbers lie in the middle, a matrix in the first two."""
    return x.with_dims(1, *x.dims, 1) if x.rank == 1 else x.with_dims(*x.dims, *(1,) * (3 - x.rank))


def _at_least_rank(rank: int) -> ShapeRule:
    def shape(call: Call) -> Any:
        found = tuple(_deep(x) if rank == 3 else _at_least(x, rank) for x in _tensors(call))
        return found[0] if len(found) == 1 else found

    return shape


def _block_diag(call: Call) -> TensorType:
    found = [_at_least(x, 2) for x in _tensors(call)]
    for x in found:
        need_rank(call, x, (2,), "matrices, tensors of at most 2 dimensions")
    rows, columns = ([x.dims[at] for x in found] for at in (0, 1))
    kept = [(x.dtype, x.rank) for x in call["tensors"]]
    return TensorType(result_dtype(kept), (sum(rows[1:], rows[0]), sum(columns[1:], columns[0])))


def _lists(call: Call, *, scalars: bool) -> list[TensorType]:
    """Lists of numbers of one dtype; a scalar counts as one number, where it is taken."""
    found = _tensors(call)
    for x in found:
        need_rank(call, x, (0, 1) if scalars else (1,), "lists of numbers, tensors of 1 dimension")
    need_same_dtype(call, *found)
    return found


def _cartesian_prod(call: Call) -> TensorType:
    found = _lists(call, scalars=False)
    if len(found) == 1:
        return found[0]
    return TensorType(found[0].dtype, (product(x.dims[0] for x in found), len(found)))


def _meshgrid(call: Call) -> tuple[TensorType, ...]:
    found = _lists(call, scalars=True)
    sizes = [x.dims[0] if x.rank else 1 for x in found]
    if call["indexing"] == "xy" and len(sizes) > 1:
        sizes[0], sizes[1] = sizes[1], sizes[0]
    return tuple(x.with_dims(*sizes) for x in found)


def _broadcast_tensors(call: Call) -> tuple[TensorType, ...]:
    found = _tensors(call)
    dims = broadcast(call, *found)
    return tuple(x.with_dims(*dims) for x in found)


_MOST: Final = 32


def _combinations(call: Call) -> TensorType:
    x, r = call.tensor(), call["r"]
    need_rank(call, x, (1,), "a list of numbers, a tensor of 1 dimension")
    if isinstance(r, Dim):
        refuse(call, f"r must be a known number, but is {r}")
    if r > _MOST:
        refuse(call, f"r={r} is more than anybody can count: at most {_MOST}")
    if r == 0:
        return x.with_dims(0)
    choices = x.dims[0] + (r - 1 if call["with_replacement"] else 0)
    count: Size = product(choices - taken for taken in range(r)) // factorial(r)
    return x.with_dims(count, r)


def _kron(call: Call) -> TensorType:
    a, b = call.tensor(), call.tensor("other")
    rank = max(a.rank, b.rank)
    pairs = zip(_at_least(a, rank).dims, _at_least(b, rank).dims, strict=True)
    return TensorType(result_dtype([(a.dtype, rank), (b.dtype, rank)]), tuple(m * n for m, n in pairs))


_EACH: Final = Param("tensors", TENSOR, tensor=True, variadic=True)
_VECTORS: Final = {"x": "f32[N]", "y": "f32[8]"}
_TWO: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}


def _list(name: str, doc: str, shape: Any, *, along: bool = True) -> Operator:
    params = (LIST, dim(0)) if along else (LIST,)
    return function(name, doc, params, shape, f"{name}([x, y]{', dim=1' if along else ''})", _TWO)


OPERATORS: Final = (
    _list("cat", "Tensors one after the other along a dimension that they have.", _cat),
    _list("concat", "The same as cat.", _cat),
    _list("concatenate", "The same as cat.", _cat),
    _list("stack", "Tensors of one shape, one after the other along a new dimension.", _stack),
    _list("hstack", "Tensors side by side: along dimension 1, or 0 for lists of numbers.", _hstack, along=False),
    _list("column_stack", "Tensors side by side, lists of numbers as columns.", _column_stack, along=False),
    _list("dstack", "Tensors one behind the other: along dimension 2.", _dstack, along=False),
    *(
        function(name, doc, (_EACH,), _at_least_rank(rank), f"{name}(x)")
        for rank, name, doc in (
            (1, "atleast_1d", "A scalar as a list of one number; other tensors as they are."),
            (2, "atleast_2d", "Scalars and lists of numbers as matrices of one row; other tensors as they are."),
            (3, "atleast_3d", "Tensors of fewer than 3 dimensions with more of size 1."),
        )
    ),
    function("block_diag", "Matrices along the diagonal of one.", (_EACH,), _block_diag, "block_diag(x, y)", _TWO),
    function(
        "cartesian_prod",
        "All ways to take one number of each list.",
        (_EACH,),
        _cartesian_prod,
        "cartesian_prod(x, y)",
        _VECTORS,
    ),
    function(
        "meshgrid",
        "The coordinates of the points of a grid, from those along each side.",
        (_EACH, Param("indexing", choice("ij", "xy"), by_name=True)),
        _meshgrid,
        'meshgrid(x, y, indexing="ij")',
        _VECTORS,
    ),
    function(
        "broadcast_tensors",
        "Tensors expanded to the shape that they have together.",
        (_EACH,),
        _broadcast_tensors,
        "broadcast_tensors(x, y)",
        _TWO,
    ),
    function(
        "combinations",
        "All ways to take r numbers of a list.",
        (INPUT, Param("r", NATURAL, 2), Param("with_replacement", BOOL, False)),
        _combinations,
        "x -> combinations(2)",
        _VECTORS,
    ),
    function(
        "kron",
        "Each element of one tensor times the whole of another.",
        (INPUT, tensor("other")),
        _kron,
        "x -> kron(y)",
        _TWO,
    ),
    _list("vstack", "Tensors one above the other: along dimension 0.", _vstack, along=False),
)
