"""Functions that write into a copy of a tensor where indices say, and functions that look values up in a list."""

from typing import Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import (
    OPERAND,
    dim,
    function,
    need_dtype,
    need_index,
    need_rank,
    need_same_dtype,
    operand,
    optional_tensor,
    tensor,
)
from expc.compiler.ops.arithmetic import promoted, tensors
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, POSITIVE, TENSORS, choice, optional
from expc.compiler.ops.reshaping import diagonal_of
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.ops.selecting import slice_length
from expc.compiler.types import DTYPES, TensorType, category

_I64: Final = frozenset({"i64"})
_NUMBERS: Final = DTYPES - {"bool"}


def _plain(x: TensorType) -> TensorType:
    """The input's type for a result into which other numbers were written."""
    return TensorType(x.dtype, x.dims)


def _index_list(call: Call, x: TensorType) -> tuple[int, TensorType, Size]:
    """The dimension that is indexed, the list of indices, and how many there are."""
    index = call.tensor("index")
    at = axis(call, call["dim"], x.rank)
    if str(call.operator) == "index_add":
        need_index(call, index)
    else:
        need_dtype(call, index, _I64, "indices (i64)")
    need_rank(call, index, (0, 1), "a list of indices, at most 1 dimension")
    if index.classes is not None and x.rank:
        call.require_at_least(x.dims[at], index.classes, "the dimension that is indexed")
    return at, index, index.dims[0] if index.rank else 1


def _index_source(call: Call) -> TensorType:
    """index_add and index_copy: a slice of the source for each index."""
    x, source = call.tensor(), call.tensor("source")
    at, _, count = _index_list(call, x)
    need_same_dtype(call, x, source)
    alpha = call.values.get("alpha", 1)
    if isinstance(alpha, float) and category(x.dtype) < 2:
        refuse(call, f"alpha={alpha} must be a whole number for {x.dtype} tensors")
    one_number = str(call.operator) == "index_copy" and x.rank <= 1 and source.rank <= 1
    if x.rank != source.rank and not one_number:
        need_rank(call, source, (x.rank,), f"a source of as many dimensions as the input {x}")
    for number, (a, b) in enumerate(zip(x.dims, source.dims, strict=False)):
        if number != at:
            call.require_equal(a, b, f"dimension {number} of the source")
    call.require_equal(source.dims[at] if source.rank else 1, count, "the number of indices")
    return _plain(x)


def _index_fill(call: Call) -> TensorType:
    x, value = call.tensor(), call["value"]
    _index_list(call, x)
    if isinstance(value, TensorType):
        need_rank(call, value, (0,), "one number as value")
    return _plain(x)


def _index_put(call: Call) -> TensorType:
    x, indices, values = call.tensor(), call["indices"], call.tensor("values")
    if not indices:
        refuse(call, "takes at least one tensor of indices")
    if len(indices) > x.rank:
        refuse(call, f"{len(indices)} tensors of indices for {x.rank} dimensions")
    for at, index in enumerate(indices):
        need_index(call, index)
        if index.classes is not None:
            call.require_at_least(x.dims[at], index.classes, f"dimension {at}, which is indexed,")
    need_same_dtype(call, x, values)
    places = (*broadcast(call, *indices), *x.dims[len(indices) :])
    need_rank(call, values, range(len(places) + 1), f"values for {len(places)} dimensions")
    for at in range(-values.rank, 0):
        if not (isinstance(values.dims[at], int) and values.dims[at] == 1):
            call.require_equal(places[at], values.dims[at], f"dimension {at} of the values")
    return _plain(x)


def _put(call: Call) -> TensorType:
    x, index, source = call.tensor(), call.tensor("index"), call.tensor("source")
    need_dtype(call, index, _I64, "indices (i64)")
    need_same_dtype(call, x, source)
    if index.classes is not None:
        call.require_at_least(product(x.dims), index.classes, "the number of elements")
    call.require_equal(product(index.dims), product(source.dims), "the number of elements of the source")
    return _plain(x)


def _scatter(call: Call) -> TensorType:
    """scatter, scatter_add and scatter_reduce: an element of the source for each index."""
    x, index, source = call.tensor(), call.tensor("index"), call["src"]
    at = axis(call, call["dim"], x.rank)
    need_index(call, index)
    given = [index, *tensors(call, "src")]
    for type_ in given:
        if max(type_.rank, 1) != max(x.rank, 1):
            need_rank(call, type_, (x.rank,), f"tensors of as many dimensions as the input {x}")
    if isinstance(source, TensorType):
        need_same_dtype(call, x, source)
        for number, (taken, size) in enumerate(zip(index.dims or (1,), source.dims or (1,), strict=False)):
            if taken != size:
                call.require_at_least(size, taken, f"dimension {number} of src, as the index has,")
    for number, (taken, size) in enumerate(zip(index.dims, x.dims, strict=False)):
        if number != at and taken != size:
            call.require_at_least(size, taken, f"dimension {number}, as the index has,")
    if index.classes is not None and x.rank:
        call.require_at_least(x.dims[at], index.classes, "the dimension that is indexed")
    _check_reduce(call, x)
    return _plain(x)


def _check_reduce(call: Call, x: TensorType) -> None:
    how = call.values.get("reduce")
    if how == "mean":
        need_dtype(call, x, _NUMBERS, "numbers, not booleans")


def _masked_scatter(call: Call) -> TensorType:
    x, mask = call.tensor(), call.tensor("mask")
    need_dtype(call, mask, frozenset({"bool"}), "a mask of booleans")
    need_same_dtype(call, x, call.tensor("source"))
    return TensorType(x.dtype, broadcast(call, x, mask))


def _fits(call: Call, wanted: TensorType) -> TensorType:
    """The source must have the shape of the part into which it is written."""
    source, x = call.tensor("src"), call.tensor()
    need_rank(call, source, (wanted.rank,), f"a source of the shape {wanted}")
    for at, (a, b) in enumerate(zip(wanted.dims, source.dims, strict=True)):
        call.require_equal(a, b, f"dimension {at} of the source")
    return _plain(x)


def _select_scatter(call: Call) -> TensorType:
    x, index = call.tensor(), call["index"]
    if x.rank == 0:
        refuse(call, "a scalar has no dimension to write into")
    at = axis(call, call["dim"], x.rank)
    needed = -index if isinstance(index, int) and index < 0 else index + 1
    call.require_at_least(x.dims[at], needed, f"dimension {call['dim']}, to write item {index},")
    return _fits(call, x.with_dims(*x.dims[:at], *x.dims[at + 1 :]))


def _slice_scatter(call: Call) -> TensorType:
    x = call.tensor()
    if x.rank == 0:
        refuse(call, "a scalar has no dimension to write into")
    at = axis(call, call["dim"], x.rank)
    length = slice_length(call, x.dims[at], call["start"], call["end"], call["step"], at)
    return _fits(call, x.with_dims(*x.dims[:at], length, *x.dims[at + 1 :]))


def _diagonal_scatter(call: Call) -> TensorType:
    return _fits(call, diagonal_of(call))


# ---------------------------------------------------------------------------------------------------- looking up


def _isin(call: Call) -> TensorType:
    found = tensors(call, "elements", "test_elements")
    if not found:
        refuse(call, "takes a tensor at least, but gets two numbers")
    for type_ in found:
        need_dtype(call, type_, _NUMBERS, "numbers, not booleans")
    for name in ("elements", "test_elements"):
        if isinstance(call[name], bool):
            refuse(call, f"takes numbers, not booleans: {name}={str(call[name]).lower()}")
    elements = call["elements"]
    return TensorType("bool", elements.dims if isinstance(elements, TensorType) else ())


def _places(call: Call, dims: tuple[Size, ...], length: Size) -> TensorType:
    return TensorType("i32" if call["out_int32"] else "i64", dims, length + 1)


def _bucketize(call: Call) -> TensorType:
    x, bounds = call["input"], call.tensor("boundaries")
    need_rank(call, bounds, (1,), "a list of boundaries, 1 dimension")
    _need_order(call, bounds, "boundaries")
    return _places(call, x.dims if isinstance(x, TensorType) else (), bounds.dims[0])


def _need_order(call: Call, ordered: TensorType, name: str) -> None:
    if promoted(call, "input", name) == "bool":
        need_dtype(call, ordered, _NUMBERS, "numbers, not booleans")


def _searchsorted(call: Call) -> TensorType:
    ordered, x, sorter = call.tensor("sorted_sequence"), call["input"], call["sorter"]
    if ordered.rank == 0:
        refuse(call, "takes an ordered list, at least 1 dimension, not a scalar")
    if isinstance(x, TensorType):
        if ordered.rank > 1:
            need_rank(call, x, (ordered.rank,), f"values of as many dimensions as {ordered}")
            for at, (a, b) in enumerate(zip(ordered.dims[:-1], x.dims, strict=False)):
                call.require_equal(a, b, f"dimension {at} of the values")
    elif ordered.rank > 1:
        refuse(call, f"takes a number only beside one ordered list, but gets {ordered}")
    _need_order(call, ordered, "sorted_sequence")
    if call["side"] == "left" and call["right"]:
        refuse(call, 'side="left" and right=true contradict each other')
    if isinstance(sorter, TensorType):
        need_dtype(call, sorter, _I64, "indices (i64) for sorter")
        need_rank(call, sorter, (ordered.rank,), f"a sorter of the shape of {ordered}")
        for at, (a, b) in enumerate(zip(ordered.dims, sorter.dims, strict=True)):
            call.require_equal(a, b, f"dimension {at} of sorter")
    return _places(call, x.dims if isinstance(x, TensorType) else (), ordered.dims[-1])


_INDEX: Final = tensor("index")
_SRC: Final = tensor("src")
_INDEXED: Final = {"x": "f32[N, 8]", "i": "i64[3]", "y": "f32[N, 3]"}
_SCATTERED: Final = {"x": "f32[N, 8]", "i": "i64[N, 3]", "y": "f32[N, 3]"}
_OUT: Final = (Param("out_int32", BOOL, False, by_name=True), Param("right", BOOL, False, by_name=True))

OPERATORS: Final = (
    function(
        "index_add",
        "The slices of a source added to those that an index names.",
        (INPUT, dim(), _INDEX, tensor("source"), Param("alpha", FLOAT, 1, by_name=True)),
        _index_source,
        "x -> index_add(1, i, y)",
        _INDEXED,
    ),
    function(
        "index_copy",
        "The slices of a source in place of those that an index names.",
        (INPUT, dim(), _INDEX, tensor("source")),
        _index_source,
        "x -> index_copy(1, i, y)",
        _INDEXED,
    ),
    function(
        "index_fill",
        "One number in place of the slices that an index names.",
        (INPUT, dim(), _INDEX, operand("value")),
        _index_fill,
        "x -> index_fill(1, i, 0.0)",
        _INDEXED,
    ),
    function(
        "index_put",
        "Values at the places that indices name, one tensor of them for each of the first dimensions.",
        (INPUT, Param("indices", TENSORS, tensor=True), tensor("values"), Param("accumulate", BOOL, False)),
        _index_put,
        "x -> index_put([i], y)",
        {"x": "f32[10, 8]", "i": "i64[3]", "y": "f32[3, 8]"},
    ),
    function(
        "put",
        "Values at the places that indices name in the flat tensor.",
        (INPUT, _INDEX, tensor("source"), Param("accumulate", BOOL, False)),
        _put,
        "x -> put(i, y)",
        {"x": "f32[N, 8]", "i": "i64[3]", "y": "f32[3]"},
        build=lambda torch, v: torch.put(v["input"], v["index"], v["source"], v["accumulate"]),
    ),
    function(
        "scatter",
        "The elements of src, or a number, at the places along a dimension that an index names.",
        (
            INPUT,
            dim(),
            _INDEX,
            Param("src", OPERAND, tensor=True),
            Param("reduce", optional(choice("add", "multiply")), None, by_name=True),
        ),
        _scatter,
        "x -> scatter(1, i, y)",
        _SCATTERED,
    ),
    function(
        "scatter_add",
        "The elements of src added at the places along a dimension that an index names.",
        (INPUT, dim(), _INDEX, _SRC),
        _scatter,
        "x -> scatter_add(1, i, y)",
        _SCATTERED,
    ),
    function(
        "scatter_reduce",
        "The elements of src combined at the places along a dimension that an index names.",
        (
            INPUT,
            dim(),
            _INDEX,
            _SRC,
            Param("reduce", choice("sum", "prod", "mean", "amax", "amin")),
            Param("include_self", BOOL, True, by_name=True),
        ),
        _scatter,
        'x -> scatter_reduce(1, i, y, "sum")',
        _SCATTERED,
    ),
    function(
        "masked_scatter",
        "The elements of a source, in order, where a mask is true.",
        (INPUT, tensor("mask"), tensor("source")),
        _masked_scatter,
        "x -> masked_scatter(x < 0, y)",
        {"x": "f32[N, 8]", "y": "f32[N, 8]"},
    ),
    function(
        "select_scatter",
        "A source in place of one slice along a dimension.",
        (INPUT, _SRC, dim(), Param("index", INT)),
        _select_scatter,
        "x -> select_scatter(y, 1, 0)",
        {"x": "f32[N, 8]", "y": "f32[N]"},
    ),
    function(
        "slice_scatter",
        "A source in place of a stretch of a dimension.",
        (
            INPUT,
            _SRC,
            dim(0),
            Param("start", optional(INT), None),
            Param("end", optional(INT), None),
            Param("step", POSITIVE, 1),
        ),
        _slice_scatter,
        "x -> slice_scatter(y, 1, 2, 5)",
        {"x": "f32[N, 8]", "y": "f32[N, 3]"},
    ),
    function(
        "diagonal_scatter",
        "A source in place of a diagonal.",
        (INPUT, _SRC, Param("offset", INT, 0), dim(0, "dim1"), dim(1, "dim2")),
        _diagonal_scatter,
        "x -> diagonal_scatter(y, dim1=1, dim2=2)",
        {"x": "f32[N, 8, 8]", "y": "f32[N, 8]"},
    ),
    function(
        "isin",
        "Which elements occur among others.",
        (
            operand("elements"),
            operand("test_elements"),
            Param("assume_unique", BOOL, False, by_name=True),
            Param("invert", BOOL, False, by_name=True),
        ),
        _isin,
        "x -> isin(y)",
        {"x": "i64[N, 8]", "y": "i64[3]"},
        build=lambda torch, v: torch.isin(
            v["elements"], v["test_elements"], assume_unique=v["assume_unique"], invert=v["invert"]
        ),
    ),
    function(
        "bucketize",
        "Between which of the boundaries each element lies.",
        (operand("input"), tensor("boundaries"), *_OUT),
        _bucketize,
        "x -> bucketize(y)",
        {"x": "f32[N, 8]", "y": "f32[5]"},
        build=lambda torch, v: torch.bucketize(v["input"], v["boundaries"], out_int32=v["out_int32"], right=v["right"]),
    ),
    function(
        "searchsorted",
        "Where each value would have to stand in an ordered list.",
        (
            tensor("sorted_sequence"),
            operand("input"),
            *_OUT,
            Param("side", optional(choice("left", "right")), None, by_name=True),
            optional_tensor("sorter", by_name=True),
        ),
        _searchsorted,
        "searchsorted(y, x)",
        {"x": "f32[N, 8]", "y": "f32[5]"},
        build=lambda torch, v: torch.searchsorted(
            v["sorted_sequence"],
            v["input"],
            **{
                key: v[key]
                for key in ("out_int32", "right", "side", "sorter")
                if v[key] is not None and v[key] is not False
            },
        ),
    ),
)
