"""Functions that reduce dimensions: sums, means, extremes, norms, order."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import (
    DTYPE_BY_NAME,
    KEEPDIM,
    axes,
    dim,
    dims,
    dtype_or,
    floated,
    function,
    need_dtype,
    need_floating,
    summed,
)
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, INT, NATURAL, choice, either, number
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import DTYPES, FLOATING, TensorType, category, promote

NOT_BOOL: Final = DTYPES - {"bool"}


def _remaining(call: Call, x: TensorType, gone: tuple[int, ...]) -> tuple[Size, ...]:
    if call["keepdim"]:
        return tuple(1 if at in gone else size for at, size in enumerate(x.dims))
    return tuple(size for at, size in enumerate(x.dims) if at not in gone)


def reduced(call: Call, x: TensorType) -> tuple[Size, ...]:
    """The sizes that are left of `x` when the dimensions in `dim` go, or become 1 with `keepdim`."""
    given = call["dim"]
    everything = given is None or (isinstance(given, list | tuple) and not given)
    return _remaining(call, x, axes(call, None if everything else given, x.rank))


def _sum(call: Call) -> TensorType:
    x = call.tensor()
    if str(call.operator) == "prod":
        _need_dim(call)
    return TensorType(dtype_or(call, summed(x.dtype)), reduced(call, x))


def _need_dim(call: Call) -> None:
    if call["keepdim"] and call["dim"] is None:
        refuse(call, "keepdim needs a dim")


def _mean(call: Call) -> TensorType:
    x = call.tensor()
    dtype = dtype_or(call, x.dtype)
    if call["dtype"] is None:
        need_floating(call, x)
    elif dtype not in FLOATING:
        refuse(call, f"dtype={dtype} cannot hold a mean: a floating-point one can")
    return TensorType(dtype, reduced(call, x))


def _norm(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    dtype = dtype_or(call, x.dtype)
    if dtype not in FLOATING or promote(dtype, x.dtype) != dtype:
        refuse(call, f"dtype={dtype} cannot hold a norm of {x.dtype}")
    if call["p"] == "fro" and isinstance(call["dim"], list | tuple) and len(call["dim"]) > 2:
        refuse(call, 'p="fro" takes at most 2 dimensions: write p=2')
    return TensorType(dtype, reduced(call, x))


def _spread(call: Call) -> TensorType:
    need_floating(call, call.tensor())
    return TensorType(call.tensor().dtype, reduced(call, call.tensor()))


def need_elements(call: Call, x: TensorType) -> None:
    """Refuse a tensor that has no elements to choose from: along `dim`, or at all."""
    given = call["dim"]
    everything = given is None or given in ((), [])
    for at in range(x.rank) if everything else axes(call, given, x.rank):
        if x.rank:
            call.require_at_least(x.dims[at], 1, f"dimension {at}, to choose an element from,")


def _extreme(call: Call) -> TensorType:
    """Amax and amin: the elements stay what they are."""
    x = call.tensor()
    need_elements(call, x)
    return TensorType(x.dtype, reduced(call, x), x.classes)


def _truth(call: Call) -> TensorType:
    x = call.tensor()
    none = isinstance(call["dim"], list | tuple) and not call["dim"]
    dims_ = x.dims if none else reduced(call, x)
    return TensorType("u8" if x.dtype == "u8" else "bool", dims_)


def _position(call: Call) -> TensorType:
    """Argmax and argmin: an index below the size of the dimension."""
    x = call.tensor()
    need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    need_elements(call, x)
    bound = product(x.dims) if call["dim"] is None else size_at(x, axis(call, call["dim"], x.rank))
    return TensorType("i64", reduced(call, x), bound)


def size_at(x: TensorType, at: int) -> Size:
    """The size of a dimension; a scalar counts as one element."""
    return x.dims[at] if x.rank else 1


def picked(allowed: frozenset[str]) -> ShapeRule:
    """max, min, median: one number of all, or along a dimension the values and where they stand."""

    def shape(call: Call) -> Any:
        x = call.tensor()
        need_dtype(call, x, allowed, "numbers, not booleans")
        if call["dim"] is not None or not str(call.operator).endswith("median"):
            need_elements(call, x)
        if call["dim"] is None:
            _need_dim(call)
            return TensorType(x.dtype, (), x.classes)
        left = reduced(call, x)
        values = TensorType(x.dtype, left, x.classes)
        return values, TensorType("i64", left, size_at(x, axis(call, call["dim"], x.rank)))

    return shape


def _logsumexp(call: Call) -> TensorType:
    x = call.tensor()
    if isinstance(call["dim"], list | tuple) and not call["dim"]:
        refuse(call, "dim must not be empty")
    return TensorType(floated(x.dtype), reduced(call, x))


def _cumulative(call: Call) -> TensorType:
    x = call.tensor()
    axis(call, call["dim"], x.rank)
    dtype = dtype_or(call, summed(x.dtype))
    if dtype == "bool":
        refuse(call, "dtype=bool cannot hold running numbers")
    return TensorType(dtype, x.dims)


def _running_extreme(call: Call) -> Any:
    x = call.tensor()
    at = axis(call, call["dim"], x.rank)
    return x, TensorType("i64", x.dims, size_at(x, at))


def _topk(call: Call) -> Any:
    x = call.tensor()
    need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    at = axis(call, call["dim"], x.rank)
    call.require_at_least(size_at(x, at), call["k"], f"dimension {call['dim']}, to take k={call['k']} from,")
    left = (*x.dims[:at], call["k"], *x.dims[at + 1 :]) if x.rank else ()
    return TensorType(x.dtype, left, x.classes), TensorType("i64", left, size_at(x, at))


def _sort(call: Call) -> Any:
    x = call.tensor()
    at = axis(call, call["dim"], x.rank)
    return x, TensorType("i64", x.dims, size_at(x, at))


def _argsort(call: Call) -> TensorType:
    x = call.tensor()
    return TensorType("i64", x.dims, size_at(x, axis(call, call["dim"], x.rank)))


def _trace(call: Call) -> TensorType:
    x = call.tensor()
    if x.rank != 2:
        refuse(call, f"takes a matrix, but gets {x}")
    need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    return TensorType(x.dtype if category(x.dtype) == 2 else "i64", ())


def with_dim(name: str, *, dtype: bool = False) -> Callable[[Any, dict[str, Any]], Any]:
    """Torch takes `keepdim` only beside `dim`, so both are always passed."""

    def build(torch: Any, values: dict[str, Any]) -> Any:
        function = getattr(torch, name)
        more = {"dtype": values["dtype"]} if dtype and values["dtype"] is not None else {}
        if values["dim"] is None and not values["keepdim"]:
            return function(values["input"], **more)
        named = {"keepdim": True} if values["keepdim"] else {}
        return function(values["input"], dim=values["dim"], **named, **more)

    return build


def spread_build(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Torch takes `correction` only beside a `dim` that may be none."""

    def build(torch: Any, values: dict[str, Any]) -> Any:
        x, at, correction, keepdim = (values[key] for key in ("input", "dim", "correction", "keepdim"))
        return getattr(torch, name)(x, dim=at, correction=correction, keepdim=keepdim)

    return build


def _summing(name: str, doc: str, shape: ShapeRule, at: Param) -> Operator:
    params = (INPUT, at, KEEPDIM, DTYPE_BY_NAME)
    return function(name, doc, params, shape, f"x -> {name}(1)", build=with_dim(name, dtype=True))


def _along(name: str, doc: str, shape: ShapeRule, at: Param, *more: Param, example: str | None = None) -> Operator:
    """A reduction that torch itself takes as it is written."""
    return function(name, doc, (INPUT, at, *more), shape, example or f"x -> {name}(1)")


_PROD_AXIS: Final = dim(None)
CORRECTION: Final = (Param("correction", INT, 1, by_name=True), Param("keepdim", BOOL, False, by_name=True))
_DESCENDING: Final = (Param("descending", BOOL, False), Param("stable", BOOL, False, by_name=True))

OPERATORS: Final = (
    _summing("sum", "The sum of the elements, over some dimensions or all.", _sum, dims()),
    _summing("nansum", "The sum of the elements that are not NaN.", _sum, dims()),
    _summing("mean", "The mean of the elements, over some dimensions or all.", _mean, dims()),
    _summing("prod", "The product of the elements, over one dimension or all.", _sum, _PROD_AXIS),
    *(
        function(name, doc, (INPUT, dim(None), KEEPDIM), picked(allowed), f"x -> {name}(1)", build=with_dim(name))
        for name, doc, allowed in (
            ("max", "The largest element; with a dim, the largest ones and their indices.", DTYPES),
            ("min", "The smallest element; with a dim, the smallest ones and their indices.", DTYPES),
            ("median", "The middle element; with a dim, the middle ones and their indices.", NOT_BOOL),
        )
    ),
    _along("amax", "The largest elements over dimensions.", _extreme, Param("dim", dims().kind, ()), KEEPDIM),
    _along("amin", "The smallest elements over dimensions.", _extreme, Param("dim", dims().kind, ()), KEEPDIM),
    _along("argmax", "Where the largest element stands.", _position, dim(None), KEEPDIM),
    _along("argmin", "Where the smallest element stands.", _position, dim(None), KEEPDIM),
    *(
        function(name, doc, (INPUT, dims(), *CORRECTION), _spread, f"x -> {name}(1)", build=spread_build(name))
        for name, doc in (
            ("std", "The standard deviation over dimensions."),
            ("var", "The variance over dimensions."),
        )
    ),
    function(
        "norm",
        "The p-norm of the elements.",
        (
            INPUT,
            Param("p", either(number(), choice("fro")), "fro"),
            dims(),
            KEEPDIM,
            DTYPE_BY_NAME,
        ),
        _norm,
        "x -> norm(2, dim=1)",
    ),
    _along(
        "logsumexp",
        "The logarithm of the sum of exponentials, stable.",
        _logsumexp,
        Param("dim", dims(()).kind),
        KEEPDIM,
    ),
    function(
        "all",
        "Whether all elements are true.",
        (INPUT, dims(), KEEPDIM),
        _truth,
        "x > 0 -> all(1)",
        build=with_dim("all"),
    ),
    function(
        "any",
        "Whether any element is true.",
        (INPUT, dims(), KEEPDIM),
        _truth,
        "x > 0 -> any(1)",
        build=with_dim("any"),
    ),
    _along("cumsum", "Running sums along a dimension.", _cumulative, dim(), DTYPE_BY_NAME),
    _along("cumprod", "Running products along a dimension.", _cumulative, dim(), DTYPE_BY_NAME),
    _along("cummax", "Running maxima along a dimension, and their indices.", _running_extreme, dim()),
    _along("cummin", "Running minima along a dimension, and their indices.", _running_extreme, dim()),
    function(
        "topk",
        "The k largest elements along a dimension, and their indices.",
        (INPUT, Param("k", NATURAL), dim(-1), Param("largest", BOOL, True), Param("sorted", BOOL, True)),
        _topk,
        "x -> topk(2)",
    ),
    _along("sort", "The elements in order along a dimension, and where they stood.", _sort, dim(-1), *_DESCENDING),
    _along("argsort", "Where the elements in order stand.", _argsort, dim(-1), *_DESCENDING),
    function("trace", "The sum of a matrix's diagonal.", (INPUT,), _trace),
)
