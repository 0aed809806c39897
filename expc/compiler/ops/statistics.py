"""Statistics of the elements of a tensor: quantiles, covariance, differences, integrals, counts."""

from typing import Any, Final

from expc.compiler.dimensions import Dim, Size
from expc.compiler.ops.arguments import (
    DTYPE_BY_NAME,
    KEEPDIM,
    axes,
    dim,
    dims,
    dtype_or,
    floated,
    function,
    listed,
    need_dtype,
    need_floating,
    need_rank,
    optional_tensor,
)
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import FLOAT, INT, POSITIVE, choice, number
from expc.compiler.ops.reduction import CORRECTION, need_elements, picked, reduced, size_at, spread_build, with_dim
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import DTYPES, FLOATING, INTEGER, TensorType, promote

_NUMBERS: Final = DTYPES - {"bool"}
_SINGLE: Final = frozenset({"f32", "f64"})
_TOO_LONG: Final = 1 << 24


def _aminmax(call: Call) -> tuple[TensorType, TensorType]:
    x = call.tensor()
    need_elements(call, x)
    result = TensorType(x.dtype, reduced(call, x), x.classes)
    return result, result


def _count_nonzero(call: Call) -> TensorType:
    x, over = call.tensor(), call["dim"]
    gone = axes(call, None if over is None or listed(over) == () else over, x.rank)
    return TensorType("i64", tuple(size for at, size in enumerate(x.dims) if at not in gone))


def _nanmean(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    dtype = dtype_or(call, x.dtype)
    if dtype not in FLOATING:
        refuse(call, f"dtype={dtype} cannot hold a mean: a floating-point one can")
    return TensorType(dtype, reduced(call, x))


def _mode(call: Call) -> tuple[TensorType, TensorType]:
    x = call.tensor()
    need_elements(call, x)
    left = reduced(call, x)
    return TensorType(x.dtype, left, x.classes), TensorType("i64", left, size_at(x, axis(call, call["dim"], x.rank)))


def _kthvalue(call: Call) -> tuple[TensorType, TensorType]:
    x = call.tensor()
    if x.rank:
        need_dtype(call, x, _NUMBERS, "numbers, not booleans")
    size = size_at(x, axis(call, call["dim"], x.rank))
    call.require_at_least(size, call["k"], f"dimension {call['dim']}, to have a smallest value number {call['k']},")
    return _mode(call)


def _quantile(call: Call) -> TensorType:
    x, q = call.tensor(), call["q"]
    need_dtype(call, x, _SINGLE, "f32 or f64 tensors")
    call.require_at_least(product(x.dims), 1, "the number of elements")
    over = product(x.dims) if call["dim"] is None else size_at(x, axis(call, call["dim"], x.rank))
    if not isinstance(over, Dim) and over > _TOO_LONG:
        refuse(call, f"takes at most {_TOO_LONG} elements at once, but gets {over}")
    asked: tuple[Size, ...] = ()
    if isinstance(q, TensorType):
        need_dtype(call, q, frozenset({x.dtype}), f"quantiles of the input's dtype, {x.dtype}")
        need_rank(call, q, (0, 1), "one quantile or a list of them, at most 1 dimension")
        asked = q.dims
    return TensorType(x.dtype, (*asked, *reduced(call, x)))


def _logcumsumexp(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    axis(call, call["dim"], x.rank)
    return x


def _renorm(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    if x.rank < 2:
        refuse(call, f"takes tensors of at least 2 dimensions, but gets {x}")
    axis(call, call["dim"], x.rank)
    if isinstance(call["p"], int | float) and call["p"] <= 0:
        refuse(call, f"p={call['p']} must be more than 0")
    return x


def _two_spreads(call: Call) -> tuple[TensorType, TensorType]:
    x = call.tensor()
    need_floating(call, x)
    result = TensorType(x.dtype, reduced(call, x))
    return result, result


def _variables(call: Call) -> tuple[TensorType, Size]:
    """The covariances of variables, one in each row of a matrix, and how many samples they have."""
    x = call.tensor()
    need_rank(call, x, (0, 1, 2), "at most 2 dimensions [variables, samples]")
    need_dtype(call, x, _NUMBERS, "numbers, not booleans")
    count = x.dims[0] if x.rank == 2 else 1
    if isinstance(count, Dim):  # torch gives a scalar for one variable
        call.require_at_least(count, 2, "the number of variables, so that the result is a matrix,")
    square = (count, count) if count != 1 else ()
    return TensorType(floated(x.dtype), square), x.dims[-1] if x.rank else 1


def _cov(call: Call) -> TensorType:
    result, samples = _variables(call)
    for name, allowed, words in (
        ("fweights", INTEGER, "whole numbers for fweights"),
        ("aweights", FLOATING, "floating-point numbers for aweights"),
    ):
        weights = call[name]
        if isinstance(weights, TensorType):
            need_rank(call, weights, (0, 1), f"{name} of 1 dimension")
            need_dtype(call, weights, allowed, words)
            call.require_equal(samples, weights.dims[0] if weights.rank else 1, f"the number of {name}")
    weights = call["aweights"]
    if weights is None or weights.dtype == result.dtype:
        return result
    if isinstance(samples, Dim):
        call.require_at_least(samples, 2, f"the number of samples, for aweights that are not {result.dtype},")
    if samples != 1:
        return TensorType(floated(promote(call.tensor().dtype, weights.dtype)), result.dims)
    # One sample has no mean to be taken from it, which would bring it to the dtype of the weights.
    dtype = promote(result.dtype, weights.dtype)
    if result.rank and dtype != result.dtype:
        need_dtype(call, weights, frozenset({result.dtype}), f"aweights of the input's dtype, {result.dtype}")
    return TensorType(dtype, result.dims)


def _histc(call: Call) -> TensorType:
    x, low, high = call.tensor(), call["min"], call["max"]
    need_floating(call, x)
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        refuse(call, f"min={low} must be at most max={high}")
    return TensorType(x.dtype, (call["bins"],))


def _pdist(call: Call) -> TensorType:
    x = call.tensor()
    need_rank(call, x, (2,), "a list of points, 2 dimensions [points, coordinates]")
    need_dtype(call, x, _SINGLE, "f32 or f64 tensors")
    count = x.dims[0]
    pairs: Size = count * (count - 1) // 2
    return TensorType(x.dtype, (pairs,))


def _cov_macs(call: Call, result: Any) -> Size:
    return product(result.dims) * (call.tensor().dims or (1,))[-1]


def _pdist_macs(call: Call, result: Any) -> Size:
    return product((*result.dims, call.tensor().dims[-1]))


def _by_name(param: Param) -> Param:
    return Param(param.name, param.kind, param.default, tensor=param.tensor, by_name=True)


_PAIR: Final = (_by_name(dim(None)), _by_name(KEEPDIM))
_QUANTILES: Final = (
    INPUT,
    Param("q", number(0.0, 1.0), tensor=True),
    dim(None),
    KEEPDIM,
    Param("interpolation", choice("linear", "lower", "higher", "midpoint", "nearest"), "linear", by_name=True),
)
_SAMPLES: Final = {"x": "f32[8, N]"}


OPERATORS: Final = (
    function("aminmax", "The smallest and the largest elements.", (INPUT, *_PAIR), _aminmax, "x -> aminmax(dim=1)"),
    function(
        "count_nonzero",
        "How many elements are not zero.",
        (INPUT, dims()),
        _count_nonzero,
        "x -> count_nonzero(1)",
    ),
    function(
        "nanmean",
        "The mean of the elements that are not NaN.",
        (INPUT, dims(), KEEPDIM, DTYPE_BY_NAME),
        _nanmean,
        "x -> nanmean(1)",
    ),
    function(
        "nanmedian",
        "The middle element of those that are not NaN; with a dim, the middle ones and their indices.",
        (INPUT, dim(None), KEEPDIM),
        picked(_NUMBERS),
        "x -> nanmedian(1)",
        build=with_dim("nanmedian"),
    ),
    function(
        "mode",
        "The most frequent elements along a dimension, and their indices.",
        (INPUT, dim(-1), KEEPDIM),
        _mode,
        "x -> mode(1)",
    ),
    function(
        "kthvalue",
        "The k-th smallest elements along a dimension, and their indices.",
        (INPUT, Param("k", POSITIVE), dim(-1), KEEPDIM),
        _kthvalue,
        "x -> kthvalue(2)",
    ),
    function("quantile", "The quantiles q of the elements.", _QUANTILES, _quantile, "x -> quantile(0.5, 1)"),
    function(
        "nanquantile",
        "The quantiles q of the elements that are not NaN.",
        _QUANTILES,
        _quantile,
        "x -> nanquantile(0.5, 1)",
    ),
    function(
        "logcumsumexp",
        "The logarithm of running sums of exponentials along a dimension.",
        (INPUT, dim()),
        _logcumsumexp,
        "x -> logcumsumexp(1)",
    ),
    function(
        "renorm",
        "The slices along a dimension, scaled so that no p-norm is above a bound.",
        (INPUT, Param("p", FLOAT), dim(), Param("maxnorm", number(0.0))),
        _renorm,
        "x -> renorm(2, 0, 1.0)",
    ),
    *(
        function(name, doc, (INPUT, dims(), *CORRECTION), _two_spreads, f"x -> {name}(1)", build=spread_build(name))
        for name, doc in (
            ("std_mean", "The standard deviation and the mean over dimensions."),
            ("var_mean", "The variance and the mean over dimensions."),
        )
    ),
    function(
        "cov",
        "How variables, the rows of a matrix, vary together over their samples.",
        (
            INPUT,
            Param("correction", INT, 1, by_name=True),
            optional_tensor("fweights", by_name=True),
            optional_tensor("aweights", by_name=True),
        ),
        _cov,
        "x -> cov",
        _SAMPLES,
        macs=_cov_macs,
    ),
    function(
        "corrcoef",
        "How variables, the rows of a matrix, correlate over their samples.",
        (INPUT,),
        lambda call: _variables(call)[0],
        "x -> corrcoef",
        _SAMPLES,
        macs=_cov_macs,
    ),
    function(
        "histc",
        "How many elements lie in each of equal bins from min to max, or over their own range.",
        (INPUT, Param("bins", POSITIVE, 100), Param("min", FLOAT, 0), Param("max", FLOAT, 0)),
        _histc,
        "x -> histc(10)",
    ),
    function("msort", "The elements in order along the first dimension.", (INPUT,), lambda call: call.tensor()),
    function(
        "pdist",
        "The p-norm distance of each two of a list of points.",
        (INPUT, Param("p", number(0.0), 2)),
        _pdist,
        "x -> pdist",
        home="torch.nn.functional",
        macs=_pdist_macs,
    ),
)
