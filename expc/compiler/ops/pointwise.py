"""Functions of each element: one tensor in, the same shape out."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.ops.arguments import (
    AXIS,
    DTYPE_BY_NAME,
    dim,
    dtype_or,
    floated,
    function,
    need_dtype,
    need_floating,
    need_rank,
    operand,
)
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, NATURAL, POSITIVE, PROBABILITY, choice, either, number, optional
from expc.compiler.ops.rules import INPUT, axis, refuse
from expc.compiler.types import DTYPES, FLOATING, TensorType

NOT_BOOL: Final = DTYPES - {"bool"}
WHOLE: Final = DTYPES - FLOATING


def _floating_result(call: Call) -> TensorType:
    x = call.tensor()
    return TensorType(floated(x.dtype), x.dims)


def _boolean_result(call: Call) -> TensorType:
    return TensorType("bool", call.tensor().dims)


def _only(allowed: frozenset[str], expected: str, result: Callable[[str], str] = str) -> ShapeRule:
    def shape(call: Call) -> TensorType:
        x = call.tensor()
        need_dtype(call, x, allowed, expected)
        return TensorType(result(x.dtype), x.dims)

    return shape


def _hardtanh(call: Call) -> TensorType:
    if call["min_val"] > call["max_val"]:
        refuse(call, f"min_val={call['min_val']} must not be greater than max_val={call['max_val']}")
    rule: Callable[[Call], TensorType] = _only(NOT_BOOL - {"u8"}, "signed numbers")
    return rule(call)


NUMERIC: Final = _only(NOT_BOOL, "numbers, not booleans")
FLOATING_ONLY: Final = _only(FLOATING, "floating-point tensors")

_BITS: Final = _only(WHOLE, "whole numbers or booleans")


def _square(call: Call) -> TensorType:
    x = call.tensor()
    return TensorType("i64" if x.dtype == "bool" else x.dtype, x.dims)


def _dimension(call: Call) -> TensorType:
    """Softmax and its like: along one dimension, in floating point, perhaps after a cast."""
    x = call.tensor()
    axis(call, call["dim"], x.rank)
    dtype = dtype_or(call, x.dtype)
    if str(call.operator) == "softmin":
        need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    if call["dtype"] is None:
        need_floating(call, x)
    elif dtype not in FLOATING:
        refuse(call, f"dtype={dtype} cannot hold the result: a floating-point one can")
    return TensorType(dtype, x.dims)


def _gumbel_softmax(call: Call) -> TensorType:
    x = call.tensor("logits")
    need_floating(call, x)
    axis(call, call["dim"], x.rank)
    return TensorType(x.dtype, x.dims)


def _rrelu(call: Call) -> TensorType:
    x = call.tensor()
    need_dtype(call, x, FLOATING - {"f16"}, "f32, f64 or bf16 tensors")
    if call["lower"] > call["upper"]:
        refuse(call, f"lower={call['lower']} must be at most upper={call['upper']}")
    return TensorType(x.dtype, x.dims)


def _glu(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    if x.rank == 0:
        refuse(call, "a scalar cannot be halved")
    at = axis(call, call["dim"], x.rank)
    call.require_divisible(x.dims[at], 2, f"dimension {call['dim']}, which is halved,")
    return TensorType(x.dtype, (*x.dims[:at], x.dims[at] // 2, *x.dims[at + 1 :]))


def _dropout(*ranks: int) -> ShapeRule:
    def shape(call: Call) -> TensorType:
        x = call.tensor()
        need_floating(call, x)
        if ranks:
            need_rank(call, x, ranks, f"a tensor of {ranks[0]} dimensions, a batch of channels")
        return TensorType(x.dtype, x.dims)

    return shape


def _round(call: Call) -> TensorType:
    x = call.tensor()
    need_dtype(call, x, NOT_BOOL if call["decimals"] == 0 else FLOATING, "numbers, not booleans")
    return TensorType(x.dtype, x.dims)


def _softsign(call: Call) -> TensorType:
    x = call.tensor()
    need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    return TensorType(floated(x.dtype), x.dims)


def _frexp(call: Call) -> tuple[TensorType, TensorType]:
    x = call.tensor()
    need_floating(call, x)
    return TensorType(x.dtype, x.dims), TensorType("i32", x.dims)


def _fill(call: Call) -> TensorType:
    x, value = call.tensor(), call["value"]
    if isinstance(value, TensorType) and value.rank:
        refuse(call, f"takes one number as value, but gets {value}")
    return TensorType(x.dtype, x.dims)


def _same(call: Call) -> TensorType:
    return call.tensor()


def _normalize(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    axis(call, call["dim"], x.rank)
    return TensorType(x.dtype, x.dims)


_FLOATING_FUNCTIONS: Final = (
    ("exp", "e to the power of each element."),
    ("exp2", "2 to the power of each element."),
    ("log", "The natural logarithm of each element."),
    ("log2", "The logarithm to base 2 of each element."),
    ("log10", "The logarithm to base 10 of each element."),
    ("log1p", "log(1 + x), exact also for small x."),
    ("expm1", "exp(x) - 1, exact also for small x."),
    ("sqrt", "The square root of each element."),
    ("rsqrt", "One over the square root of each element."),
    ("sin", "The sine of each element, in radians."),
    ("cos", "The cosine of each element, in radians."),
    ("tan", "The tangent of each element, in radians."),
    ("asin", "The arcsine of each element."),
    ("acos", "The arccosine of each element."),
    ("atan", "The arctangent of each element."),
    ("sinh", "The hyperbolic sine of each element."),
    ("cosh", "The hyperbolic cosine of each element."),
    ("tanh", "The hyperbolic tangent of each element."),
    ("sigmoid", "1 / (1 + exp(-x)) of each element."),
    ("erf", "The error function of each element."),
    ("reciprocal", "One over each element."),
    ("lgamma", "The logarithm of the gamma function of each element."),
    ("digamma", "The derivative of lgamma of each element."),
    ("acosh", "The inverse hyperbolic cosine of each element."),
    ("asinh", "The inverse hyperbolic sine of each element."),
    ("atanh", "The inverse hyperbolic tangent of each element."),
    ("angle", "0 for each element that is not negative, else pi."),
    ("deg2rad", "Degrees in radians."),
    ("rad2deg", "Radians in degrees."),
    ("erfc", "1 - erf(x) of each element."),
    ("erfinv", "The inverse of the error function."),
    ("i0", "The modified Bessel function of the first kind, of order 0."),
    ("sinc", "sin(pi * x) / (pi * x) of each element, 1 at 0."),
)

_TESTS: Final = (
    ("isnan", "Which elements are not a number."),
    ("isinf", "Which elements are infinite."),
    ("isfinite", "Which elements are finite numbers."),
    ("logical_not", "Which elements are zero or false: the operator `not`."),
    ("isneginf", "Which elements are minus infinity."),
    ("isposinf", "Which elements are plus infinity."),
    ("isreal", "Which elements are real numbers: all."),
    ("signbit", "Which elements are negative, minus zero among them."),
)


def _activation(
    name: str, doc: str, *params: Param, shape: ShapeRule = FLOATING_ONLY, example: str | None = None, **more: Any
) -> Operator:
    return function(name, doc, (INPUT, *params), shape, example, **{"home": "torch.nn.functional", **more})


def _softmax(name: str, doc: str) -> Operator:
    params = (INPUT, dim(), DTYPE_BY_NAME)
    return function(name, doc, params, _dimension, f"x -> {name}(1)", home="torch.nn.functional")


def _dropped(name: str, doc: str, inputs: str, *ranks: int) -> Operator:
    return function(
        name,
        doc,
        (INPUT, Param("p", PROBABILITY, 0.5)),
        _dropout(*ranks),
        f"x -> {name}(0.5)",
        {"x": inputs},
        home="torch.nn.functional",
        random=True,
        mode=True,
    )


OPERATORS: Final = (
    *(function(name, doc, (INPUT,), _floating_result) for name, doc in _FLOATING_FUNCTIONS),
    *(function(name, doc, (INPUT,), _boolean_result) for name, doc in _TESTS),
    function("abs", "The absolute value of each element.", (INPUT,), NUMERIC),
    function("neg", "Each element negated: the operator `-`.", (INPUT,), NUMERIC),
    function("floor", "Each element rounded down.", (INPUT,), NUMERIC),
    function("ceil", "Each element rounded up.", (INPUT,), NUMERIC),
    function("trunc", "Each element rounded towards zero.", (INPUT,), NUMERIC),
    function("sign", "-1, 0 or 1 for each element.", (INPUT,), lambda c: TensorType(c.tensor().dtype, c.tensor().dims)),
    function("sgn", "The same as sign.", (INPUT,), lambda c: TensorType(c.tensor().dtype, c.tensor().dims)),
    function("positive", "The tensor itself, if it is of numbers.", (INPUT,), NUMERIC),
    function("frac", "What each element has after the point.", (INPUT,), FLOATING_ONLY),
    function("bitwise_not", "Each element with its bits inverted.", (INPUT,), _BITS, None, {"x": "i64[N, 8]"}),
    function("frexp", "Each element as a number from 0.5 to 1 times a power of 2, and that power.", (INPUT,), _frexp),
    function(
        "mvlgamma",
        "The logarithm of the gamma function of p dimensions.",
        (INPUT, Param("p", POSITIVE)),
        _only(NOT_BOOL, "numbers, not booleans", floated),
        "x + 2.0 -> mvlgamma(2)",
    ),
    function(
        "polygamma",
        "The n-th derivative of digamma of each element.",
        (Param("n", NATURAL), INPUT),
        _floating_result,
        "polygamma(1, x)",
    ),
    function(
        "fill",
        "One number everywhere, in the shape and dtype of a tensor.",
        (INPUT, operand("value")),
        _fill,
        "x -> fill(0.5)",
    ),
    function("square", "The square of each element.", (INPUT,), _square),
    function(
        "round", "Each element rounded, halves to even.", (INPUT, Param("decimals", INT, 0, by_name=True)), _round
    ),
    function(
        "logit", "log(x / (1 - x)) of each element.", (INPUT, Param("eps", optional(FLOAT), None)), _floating_result
    ),
    function("clone", "A copy of the tensor.", (INPUT,), _same),
    function(
        "detach",
        "The tensor without its history: no gradient flows back through it.",
        (INPUT,),
        _same,
        build=lambda _, v: v["input"].detach(),
    ),
    function(
        "nan_to_num",
        "The tensor with numbers in place of NaN and infinities.",
        (
            INPUT,
            Param("nan", optional(FLOAT), None),
            Param("posinf", optional(FLOAT), None),
            Param("neginf", optional(FLOAT), None),
        ),
        _same,
    ),
    _activation("relu", "max(0, x) of each element.", shape=NUMERIC),
    _activation("relu6", "min(max(0, x), 6) of each element.", shape=NUMERIC),
    _activation("leaky_relu", "x where positive, else slope times x.", Param("negative_slope", FLOAT, 0.01)),
    _activation("elu", "x where positive, else alpha * (exp(x) - 1).", Param("alpha", FLOAT, 1.0)),
    _activation("celu", "max(0, x) + min(0, alpha * (exp(x / alpha) - 1)).", Param("alpha", FLOAT, 1.0)),
    function(
        "rrelu",
        "x where positive, else a slope times x: a random one in training, the middle one in evaluation.",
        (INPUT, Param("lower", FLOAT, 1.0 / 8), Param("upper", FLOAT, 1.0 / 3)),
        _rrelu,
        home="torch.nn.functional",
        random=True,
        mode=True,
    ),
    _activation("selu", "The scaled exponential linear unit."),
    _activation(
        "gelu", "x times the normal distribution function of x.", Param("approximate", choice("none", "tanh"), "none")
    ),
    _activation("silu", "x * sigmoid(x), also known as swish."),
    _activation("mish", "x * tanh(softplus(x))."),
    _activation("hardswish", "x * relu6(x + 3) / 6."),
    _activation("hardsigmoid", "relu6(x + 3) / 6."),
    _activation(
        "hardtanh",
        "x between two bounds.",
        Param("min_val", FLOAT, -1.0),
        Param("max_val", FLOAT, 1.0),
        shape=_hardtanh,
    ),
    _activation(
        "softplus", "log(1 + exp(beta * x)) / beta.", Param("beta", FLOAT, 1.0), Param("threshold", FLOAT, 20.0)
    ),
    _activation("softsign", "x / (1 + |x|).", shape=_softsign),
    _activation("tanhshrink", "x - tanh(x).", shape=_softsign),
    _activation("softshrink", "x drawn towards 0 by lambd.", Param("lambd", number(0.0), 0.5)),
    _activation("hardshrink", "x where it is farther from 0 than lambd, else 0.", Param("lambd", FLOAT, 0.5)),
    _activation("logsigmoid", "log(sigmoid(x)), stable."),
    _activation(
        "threshold",
        "x where above a threshold, else a value.",
        Param("threshold", FLOAT),
        Param("value", FLOAT),
        shape=NUMERIC,
        example="x -> threshold(0.1, 0.0)",
    ),
    _softmax("softmax", "Positive numbers that sum to 1 along a dimension."),
    _softmax("log_softmax", "The logarithm of softmax, stable."),
    _softmax("softmin", "softmax of the negated input."),
    function(
        "gumbel_softmax",
        "A sample of a relaxed one-hot choice along a dimension.",
        (
            Param("logits", INPUT.kind, tensor=True),
            Param("tau", FLOAT, 1),
            Param("hard", BOOL, False),
            Param("eps", FLOAT, 1e-10),
            Param("dim", AXIS, -1),
        ),
        _gumbel_softmax,
        home="torch.nn.functional",
        random=True,
    ),
    _activation("glu", "The first half along a dimension times the sigmoid of the second.", dim(-1), shape=_glu),
    _activation(
        "normalize",
        "The input divided by its p-norm along a dimension.",
        Param("p", either(FLOAT, POSITIVE), 2.0),
        dim(1),
        Param("eps", FLOAT, 1e-12),
        shape=_normalize,
    ),
    _dropped("dropout", "In training, zeroes elements at random and scales the rest.", "f32[N, 8]"),
    _dropped("alpha_dropout", "Dropout that keeps mean and variance of SELU networks.", "f32[N, 8]"),
    _dropped("dropout1d", "In training, zeroes whole channels of [N, C, L].", "f32[N, 4, L]", 3, 2),
    _dropped("dropout2d", "In training, zeroes whole channels of [N, C, H, W].", "f32[N, 4, H, W]", 4),
    _dropped("dropout3d", "In training, zeroes whole channels of [N, C, D, H, W].", "f32[N, 4, D, H, W]", 5, 4),
    _dropped("feature_alpha_dropout", "Alpha dropout of whole channels.", "f32[N, 4, H, W]", 4, 5, 3, 2, *range(6, 20)),
)
