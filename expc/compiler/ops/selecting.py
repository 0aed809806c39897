"""Functions that take some elements of a tensor: pieces, items, and those that an index names."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Dim, Size, divides, exact_quotient
from expc.compiler.ops.arguments import dim, function, listed, need_dtype, need_index, tensor
from expc.compiler.ops.declare import Call, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, INT, NATURAL, POSITIVE, either, list_of
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import INTEGER, TensorType

_MOST: Final = 100_000


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
        _limit(call, chunks)
        call.require_divisible(size, chunks, f"dimension {call['dim']}")
        part = exact_quotient(size, chunks) if divides(chunks, size) else size // chunks
        return tuple(_piece(x, at, part) for _ in range(chunks))
    return tuple(_piece(x, at, part) for part in _cut(call, size, -(-size // chunks)))


def _cut(call: Call, size: int, part: int) -> list[int]:
    """Parts of a size, the last perhaps smaller; a single empty one of 0."""
    if not size:
        return [0]
    _limit(call, -(-size // part))
    return [min(part, size - start) for start in range(0, size, part)]


def _split(call: Call) -> Any:
    x = call.tensor("tensor")
    at = _at(call, x)
    wanted, size = call["split_size_or_sections"], x.dims[at]
    if isinstance(wanted, list | tuple):
        call.require_equal(sum(wanted), size, f"the sum of the sections, for dimension {call['dim']},")
        return tuple(_piece(x, at, part) for part in wanted)
    if isinstance(size, int) and isinstance(wanted, int):
        return tuple(_piece(x, at, part) for part in _cut(call, size, wanted))
    if size == wanted:
        return (x,)
    parts = exact_quotient(size, wanted)
    if isinstance(parts, int):
        _limit(call, parts)
        return tuple(_piece(x, at, wanted) for _ in range(parts))
    return refuse(
        call, f"how many tensors of {wanted} there are in {size} is not known: write chunk(n) or the sections"
    )


def _limit(call: Call, count: int) -> None:
    """Refuses what makes more tensors than anybody means."""
    if count > _MOST:
        refuse(call, f"makes {count} tensors at once: at most {_MOST}")


def _unbind(call: Call) -> Any:
    x = call.tensor()
    at = _at(call, x)
    size = x.dims[at]
    if isinstance(size, Dim):
        refuse(call, f"how many tensors this makes is not known: dimension {call['dim']} of {x} is {size}")
    _limit(call, size)
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
        _bounded(call, index, product(x.dims))
        return x.with_dims(product(index.dims))
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


def _tensor_split(call: Call) -> tuple[TensorType, ...]:
    x = call.tensor()
    return _pieces(call, x, _at(call, x), call["indices_or_sections"])


def _pieces(call: Call, x: TensorType, at: int, wanted: Any) -> tuple[TensorType, ...]:
    """A number of pieces, the first of them perhaps larger by one, or the pieces between indices."""
    size = x.dims[at]
    if isinstance(wanted, Dim):
        refuse(call, f"the number of pieces must be known, but is {wanted}")
    if not isinstance(wanted, list | tuple):
        _limit(call, wanted)
        if isinstance(size, Dim):
            call.require_divisible(size, wanted, f"dimension {at}")
            return tuple(_piece(x, at, size // wanted) for _ in range(wanted))
        small, larger = divmod(size, wanted)
        return tuple(_piece(x, at, small + 1 if number < larger else small) for number in range(wanted))
    ends = [*wanted, None]
    starts = [0, *wanted]
    lengths = (slice_length(call, size, *pair, 1, at) for pair in zip(starts, ends, strict=True))
    return tuple(_piece(x, at, length) for length in lengths)


def slice_length(call: Call, size: Size, start: Any, end: Any, step: int, at: int) -> Size:
    """How many elements `start:end:step` takes of dimension `at`, which has `size`; indices count as in Python."""
    if not isinstance(size, Dim) and not any(isinstance(part, Dim) for part in (start, end, step)):
        return len(range(*slice(start, end, step).indices(size)))
    low, high = (_index(call, size, value, at) for value in (0 if start is None else start, end))
    length: Size = (size if high is None else high) - low
    call.require_at_least(length, 0, f"the part of dimension {at} from {start} to {end}")
    return (length + step - 1) // step


def _index(call: Call, size: Size, value: Any, at: int) -> Any:
    if value is None:
        return None
    if isinstance(value, int) and value < 0:
        call.require_at_least(size, -value, f"dimension {at}, to count {value} from its end,")
        return size + value
    call.require_at_least(size, value, f"dimension {at}, to reach {value},")
    return value


def _split_along(axis_of: Callable[[int], int], least: int) -> ShapeRule:
    """hsplit, vsplit and dsplit: equal pieces, or the pieces between indices, along a dimension of their own."""

    def shape(call: Call) -> tuple[TensorType, ...]:
        x, wanted = call.tensor(), call["indices_or_sections"]
        if x.rank < least:
            refuse(call, f"takes tensors of at least {least} dimensions, but gets {x}")
        at = axis_of(x.rank)
        if not isinstance(wanted, list | tuple):
            call.require_divisible(x.dims[at], wanted, f"dimension {at}")
        return _pieces(call, x, at, wanted)

    return shape


def _split_with_sizes(call: Call) -> tuple[TensorType, ...]:
    x, sizes = call.tensor(), call["split_sizes"]
    at = _at(call, x)
    call.require_equal(sum(sizes), x.dims[at], f"the sum of the sizes, for dimension {call['dim']},")
    return tuple(_piece(x, at, size) for size in sizes)


def _unravel_index(call: Call) -> tuple[TensorType, ...]:
    x = call.tensor("indices")
    need_dtype(call, x, INTEGER, "whole numbers")
    return tuple(TensorType("i64", x.dims, size) for size in listed(call["shape"]))


def _take(call: Call) -> TensorType:
    x, index = call.tensor(), call.tensor("index")
    need_dtype(call, index, frozenset({"i64"}), "indices (i64)")
    _bounded(call, index, product(x.dims))
    return TensorType(x.dtype, index.dims, x.classes)


def _cut_param() -> Param:
    return Param("indices_or_sections", either(POSITIVE, list_of(INT)))


def _by_position(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Torch names sections and indices differently, and takes both by position."""
    return lambda torch, v: getattr(torch, name)(*v.values())


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
        "tensor_split",
        "The tensor in a number of pieces, nearly equal, or cut at indices.",
        (INPUT, _cut_param(), dim(0)),
        _tensor_split,
        "x -> tensor_split(3, 1)",
        build=_by_position("tensor_split"),
    ),
    *(
        function(name, doc, (INPUT, _cut_param()), rule, f"x -> {name}(2)", {"x": inputs}, build=_by_position(name))
        for name, doc, rule, inputs in (
            (
                "hsplit",
                "The tensor in equal pieces side by side, or cut at indices.",
                _split_along(lambda rank: min(rank - 1, 1), 1),
                "f32[N, 8]",
            ),
            (
                "vsplit",
                "The tensor in equal pieces one above the other, or cut at indices.",
                _split_along(lambda _: 0, 2),
                "f32[8, N]",
            ),
            (
                "dsplit",
                "The tensor in equal pieces along dimension 2, or cut at indices.",
                _split_along(lambda _: 2, 3),
                "f32[N, 4, 8]",
            ),
        )
    ),
    function(
        "split_with_sizes",
        "The tensor in pieces of the sizes listed.",
        (INPUT, Param("split_sizes", list_of(NATURAL)), dim(0)),
        _split_with_sizes,
        "x -> split_with_sizes([2, 6], 1)",
    ),
    function(
        "unravel_index",
        "Indices into a flat tensor as indices into each dimension of a shape.",
        (tensor("indices"), Param("shape", either(POSITIVE, list_of(POSITIVE)))),
        _unravel_index,
        "i -> unravel_index([4, 8])",
        {"i": "i64[N]"},
    ),
    function(
        "take",
        "The elements that indices name in the flat tensor.",
        (INPUT, tensor("index")),
        _take,
        "x -> take(i)",
        _INDEXED,
    ),
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
