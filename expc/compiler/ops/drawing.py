"""Functions that draw random numbers as tensors say."""

from typing import Any, Final

from expc.compiler.dimensions import least
from expc.compiler.ops.arguments import (
    DTYPE_BY_NAME,
    dtype_or,
    function,
    need_dtype,
    need_floating,
    need_same_dtype,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.creation import check_range, is_classes
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import BOOL, INT, POSITIVE, optional
from expc.compiler.ops.rules import INPUT, refuse
from expc.compiler.types import TensorType


def _drawn(call: Call) -> TensorType:
    need_floating(call, call.tensor())
    return call.tensor()


def _multinomial(call: Call) -> TensorType:
    x, count = call.tensor(), call["num_samples"]
    need_floating(call, x)
    if x.rank not in (1, 2):
        refuse(call, f"takes weights [choices] or [N, choices], but gets {x}")
    if not call["replacement"]:
        call.require_at_least(x.dims[-1], count, "the number of choices, for num_samples without replacement,")
    return TensorType("i64", (*x.dims[:-1], count), x.dims[-1])


def _bounds(call: Call) -> tuple[Any, Any]:
    """`randint_like(x, high)` or `randint_like(x, low, high)`."""
    low, high = call["low"], call["high"]
    if high is None and low is None:
        refuse(call, "needs a high")
    return (0, low) if high is None else (0 if low is None else low, high)


def _randint_like(call: Call) -> TensorType:
    x = call.tensor()
    low, high = _bounds(call)
    dtype = dtype_or(call, x.dtype)
    check_range(call, dtype, low, high)
    smallest = least(low)
    return TensorType(dtype, x.dims, high if is_classes(dtype) and smallest is not None and smallest >= 0 else None)


def _build_randint_like(torch: Any, v: dict[str, Any]) -> Any:
    dtype = {} if v["dtype"] is None else {"dtype": v["dtype"]}
    bounds = [bound for bound in (v["low"], v["high"]) if bound is not None]
    return torch.randint_like(v["input"], *bounds, **dtype)


def _binomial(call: Call) -> TensorType:
    count, prob = call.tensor("count"), call.tensor("prob")
    need_dtype(call, count, frozenset({"f32", "f64"}), "f32 or f64 tensors")
    need_same_dtype(call, count, prob)
    dims = broadcast(call, count, prob)
    if len(dims) > count.rank:
        refuse(call, f"the probabilities {prob} must fit into the counts {count}")
    for at, (size, wanted) in enumerate(zip(count.dims, dims, strict=True)):
        call.require_equal(wanted, size, f"dimension {at} of count, which cannot grow to that of prob,")
    return TensorType(count.dtype, dims)


OPERATORS: Final = (
    function(
        "bernoulli", "Ones with the probabilities given, else zeros.", (INPUT,), _drawn, "bernoulli(x)", random=True
    ),
    function(
        "multinomial",
        "Indices drawn with the weights given.",
        (INPUT, Param("num_samples", POSITIVE), Param("replacement", BOOL, False)),
        _multinomial,
        "multinomial(x, 2)",
        random=True,
    ),
    function(
        "randint_like",
        "Random whole numbers from low up to high, high not included, in the shape of a tensor.",
        (INPUT, Param("low", optional(INT), None), Param("high", optional(INT), None), DTYPE_BY_NAME),
        _randint_like,
        "randint_like(x, 10)",
        random=True,
        build=_build_randint_like,
    ),
    function(
        "poisson",
        "Random whole numbers of Poisson distributions with the rates given.",
        (INPUT,),
        _drawn,
        "poisson(x)",
        random=True,
    ),
    function(
        "binomial",
        "How many of count tries succeed, each with a probability.",
        (tensor("count"), tensor("prob")),
        _binomial,
        "binomial(x, y)",
        {"x": "f32[N, 8]", "y": "f32[N, 8]"},
        random=True,
    ),
)
