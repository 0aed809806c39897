"""Functions that take some elements of a tensor: pieces, items, and those that an index names."""

from typing import Any, Final

from expc.compiler.dimensions import Dim, Size, divides, exact_quotient
from expc.compiler.ops.arguments import dim, function, need_dtype, need_index, tensor
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import BOOL, INT, NATURAL, POSITIVE, either, list_of
from expc.compiler.ops.rules import INPUT, axis, refuse
from expc.compiler.types import TensorType


def _at(call: Call, x: TensorType) -> int:
    if x.rank == 0:
        refuse(call, "a scalar has no dimension to take from")
    return axis(call, call["dim"], x.rank)


def _piece(x: TensorType, at: int, size: Size) -> TensorType:
    return x.with_dims(*x.dims[:at], size, *x.dims[at + 1 :])


def _without(x: TensorType, at: int) -> TensorType:
    return x.with_dims(*x.dims[:at], *x.dims[at + 1 :])


def _chunk(call: Call) -> Any:
    x = call.tensor()
    at = _at(call, x)
    chunks, size = call["chunks"], x.dims[at]
    if isinstance(chunks, Dim):
        refuse(call, f"chunks={chunks} must be known: it says how many tensors there are")
    if isinstance(size, Dim):
        call.require_divisible(size, chunks, f"dimension {call['dim']}")
        part = exact_quotient(size, chunks) if divides(chunks, size) else size // chunks
        return tuple(_piece(x, at, part) for _ in range(chunks))
    return tuple(_piece(x, at, part) for part in _cut(size, -(-size // chunks)))


def _cut(size: int, part: int) -> list[int]:
    """Parts of a size, the last perhaps smaller; a single empty one of 0."""
    return [min(part, size - start) for start in range(0, size, part)] if size else [0]


def _split(call: Call) -> Any:
    x = call.tensor("tensor")
    at = _at(call, x)
    wanted, size = call["split_size_or_sections"], x.dims[at]
    if isinstance(wanted, list | tuple):
        call.require_equal(sum(wanted), size, f"the sum of the sections, for dimension {call['dim']},")
        return tuple(_piece(x, at, part) for part in wanted)
    if isinstance(size, int) and isinstance(wanted, int):
        return tuple(_piece(x, at, part) for part in _cut(size, wanted))
    if size == wanted:
        return (x,)
    parts = exact_quotient(size, wanted)
    if isinstance(parts, int):
        return tuple(_piece(x, at, wanted) for _ in range(parts))
    return refuse(
        call, f"how many tensors of {wanted} there are in {size} is not known: write chunk(n) or the sections"
    )


def _unbind(call: Call) -> Any:
    x = call.tensor()
    at = _at(call, x)
    size = x.dims[at]
    if isinstance(size, Dim):
        refuse(call, f"how many tensors this makes is not known: dimension {call['dim']} of {x} is {size}")
    return tuple(_without(x, at) for _ in range(size))


def _check_index(call: Call, index: Size, size: Size, what: str) -> None:
    if isinstance(index, int) and index < 0:
        call.require_at_least(size, -index, f"{what}, to take item {index},")
    else:
        call.require_at_least(size, index + 1, f"{what}, to take item {index},")


def _select(call: Call) -> TensorType:
    x = call.tensor()
    at = _at(call, x)
    _check_index(call, call["index"], x.dims[at], f"dimension {call['dim']}")
    return _without(x, at)


def _narrow(call: Call) -> TensorType:
    x = call.tensor()
    at = _at(call, x)
    start, length, size = call["start"], call["length"], x.dims[at]
    if isinstance(start, int) and start < 0:
        call.require_at_least(size, -start, f"dimension {call['dim']}, to start at {start},")
        start = size + start
    call.require_at_least(size, start + length, f"dimension {call['dim']}, for start + length,")
    return _piece(x, at, length)


def _bounded(call: Call, index: TensorType, size: Size) -> None:
    if index.classes is not None:
        call.require_at_least(size, index.classes, "the dimension that is indexed")


def _index_select(call: Call) -> TensorType:
    x, index = call.tensor(), call.tensor("index")
    at = axis(call, call["dim"], x.rank)
    need_index(call, index)
    if index.rank > 1:
        refuse(call, f"takes a list of indices, one dimension, but gets {index}")
    if x.rank == 0:
        call.require_equal(1, index.dims[0] if index.rank else 1, "the number of indices into a scalar")
        return x
    _bounded(call, index, x.dims[at])
    return _piece(x, at, index.dims[0] if index.rank else 1)


def _gather(call: Call) -> TensorType:
    x, index = call.tensor(), call.tensor("index")
    at = axis(call, call["dim"], x.rank)
    need_index(call, index)
    if max(index.rank, 1) != max(x.rank, 1):
        refuse(call, f"index {index} must have as many dimensions as the input {x}")
    for number, (taken, size) in enumerate(zip(index.dims, x.dims, strict=False)):
        if number != at and taken != size:
            call.require_at_least(size, taken, f"dimension {number}, as the index has,")
    if x.rank:
        _bounded(call, index, x.dims[at])
    return TensorType(x.dtype, index.dims, x.classes)


def _take_along_dim(call: Call) -> TensorType:
    x, index = call.tensor(), call.tensor("indices")
    need_dtype(call, index, frozenset({"i64"}), "indices (i64)")
    if call["dim"] is None:
        refuse(call, "needs a dim")
    if index.rank != x.rank:
        refuse(call, f"indices {index} must have as many dimensions as the input {x}")
    at = axis(call, call["dim"], x.rank)
    result: list[Size] = []
    for number, (a, b) in enumerate(zip(x.dims, index.dims, strict=True)):
        if number == at or (isinstance(a, int) and a == 1):
            result.append(b)
            continue
        if not (isinstance(b, int) and b == 1):
            call.require_equal(a, b, f"dimension {number} of the indices")
        result.append(a)
    return x.with_dims(*result)


_IMAGE: Final = {"x": "f32[N, 4, 8]"}
_INDEXED: Final = {"x": "f32[N, 8]", "i": "i64[3]"}

OPERATORS: Final = (
    function(
        "chunk",
        "The tensor in a number of pieces.",
        (INPUT, Param("chunks", POSITIVE), dim(0)),
        _chunk,
        "x -> chunk(2, 1)",
    ),
    function(
        "split",
        "The tensor in pieces of a size, or of the sizes listed.",
        (tensor("tensor"), Param("split_size_or_sections", either(POSITIVE, list_of(NATURAL))), dim(0)),
        _split,
        "x -> split(4, 1)",
    ),
    function("unbind", "The slices along a dimension, which goes.", (INPUT, dim(0)), _unbind, "x -> unbind(1)", _IMAGE),
    function(
        "select",
        "One slice along a dimension, which goes.",
        (INPUT, dim(), Param("index", INT)),
        _select,
        "x -> select(1, 0)",
    ),
    function(
        "narrow",
        "A stretch of a dimension.",
        (INPUT, dim(), Param("start", INT), Param("length", NATURAL)),
        _narrow,
        "x -> narrow(1, 0, 4)",
    ),
    function(
        "index_select",
        "The slices along a dimension that an index names.",
        (INPUT, dim(), tensor("index")),
        _index_select,
        "x -> index_select(1, i)",
        _INDEXED,
    ),
    function(
        "gather",
        "One element along a dimension for each index.",
        (INPUT, dim(), tensor("index"), Param("sparse_grad", BOOL, False, by_name=True)),
        _gather,
        "x -> gather(1, i)",
        {"x": "f32[N, 8]", "i": "i64[N, 3]"},
    ),
    function(
        "take_along_dim",
        "One element along a dimension for each index, broadcasting.",
        (INPUT, tensor("indices"), dim(None)),
        _take_along_dim,
        "x -> take_along_dim(i, 1)",
        {"x": "f32[N, 8]", "i": "i64[N, 3]"},
    ),
)
