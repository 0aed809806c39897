"""Activations: elementwise ones, and those over one dimension."""

from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, POSITIVE, choice, number, optional
from expc.compiler.ops.rules import (
    ANY,
    EXAMPLES,
    F32,
    FORMS,
    INPLACE,
    INPUT,
    NUMBERS,
    axis,
    elementwise,
    expect_dtype,
    expect_rank,
    refuse,
    same_shape,
)
from expc.compiler.types import FLOATING, TensorType

Shapes = dict[str, tuple[Size, ...]]


def _floated(dtypes: frozenset[str]) -> Any:
    """The rule of a function whose result is floating point even for whole numbers."""

    def shape(call: Call) -> TensorType:
        x = call.tensor()
        expect_dtype(call, x, dtypes)
        return TensorType(x.dtype if x.dtype in FLOATING else "f32", x.dims)

    return shape


def _prelu(call: Call) -> TensorType:
    x = same_shape(F32)(call)
    if call["num_parameters"] != 1:
        expect_rank(call, x, "N, C, *")
        call.require_equal(call["num_parameters"], x.dims[1], "num_parameters")
    return x


def _softmax(call: Call) -> TensorType:
    if call["dim"] is None:
        refuse(call, f"say along which dimension: {call.operator.name}(dim=-1), or dim=1 for the channels")
    axis(call, call["dim"], call.tensor().rank)
    return same_shape()(call)


def _over_dim(name: str, doc: str) -> Operator:
    return elementwise(name, doc, Param("dim", optional(INT), None), shape=_softmax, example=f"x -> {name}(-1)")


def _glu(call: Call) -> TensorType:
    x = same_shape()(call)
    if not x.rank:
        refuse(call, "a scalar cannot be split in two")
    dim = axis(call, call["dim"], x.rank)
    call.require_divisible(x.dims[dim], 2, f"dimension {dim}, which is split in two,")
    half = x.dims[dim] // 2
    call.explain(f"dimension {dim}: {x.dims[dim]} // 2 = {half}")
    return replace(x, dims=(*x.dims[:dim], half, *x.dims[dim + 1 :]))


def _hardtanh(call: Call) -> TensorType:
    low = call["min_val"] if call["min_value"] is None else call["min_value"]
    high = call["max_val"] if call["max_value"] is None else call["max_value"]
    if not high > low:
        refuse(call, f"max_val={high} must be greater than min_val={low}")
    return same_shape(NUMBERS - {"u8"})(call)


def _rrelu(call: Call) -> TensorType:
    if call["lower"] > call["upper"]:
        refuse(call, f"lower={call['lower']} must not be greater than upper={call['upper']}")
    return same_shape()(call)


def _celu(call: Call) -> TensorType:
    if call["alpha"] == 0:
        refuse(call, "alpha must not be 0")
    return same_shape()(call)


def _one_beta(call: Call) -> Shapes:
    return {"beta": ()} if call["learnable"] else {}


def _swish(call: Call) -> TensorType:
    return same_shape(F32 if call["learnable"] else FLOATING)(call)


OPERATORS: Final = (
    elementwise("ReLU", "max(0, x).", INPLACE, dtypes=NUMBERS),
    elementwise("ReLU6", "min(max(0, x), 6).", INPLACE, dtypes=NUMBERS),
    elementwise(
        "LeakyReLU",
        "x where positive, else negative_slope * x.",
        Param("negative_slope", FLOAT, 0.01),
        INPLACE,
        example="x -> LeakyReLU(0.2)",
    ),
    elementwise(
        "PReLU",
        "x where positive, else a learnt slope times x: one slope, or one for each channel.",
        Param("num_parameters", POSITIVE, 1),
        Param("init", FLOAT, 0.25),
        shape=_prelu,
        weights=lambda call: {"weight": (call["num_parameters"],)},
    ),
    elementwise(
        "RReLU",
        "LeakyReLU whose slope is drawn for each element while training.",
        Param("lower", FLOAT, 1 / 8),
        Param("upper", FLOAT, 1 / 3),
        INPLACE,
        shape=_rrelu,
        random=True,
        mode=True,
    ),
    elementwise("ELU", "x where positive, else alpha * (exp(x) - 1).", Param("alpha", FLOAT, 1.0), INPLACE),
    elementwise("SELU", "A scaled ELU that keeps mean 0 and variance 1.", INPLACE),
    elementwise(
        "CELU", "ELU with a continuous slope for every alpha.", Param("alpha", FLOAT, 1.0), INPLACE, shape=_celu
    ),
    elementwise(
        "GELU",
        "x times the probability that a standard normal variable is below x.",
        Param("approximate", choice("none", "tanh"), "none"),
    ),
    elementwise("SiLU", "x * sigmoid(x).", INPLACE),
    elementwise("Mish", "x * tanh(softplus(x)).", INPLACE),
    elementwise("Hardswish", "x * relu6(x + 3) / 6.", INPLACE),
    elementwise("Hardsigmoid", "relu6(x + 3) / 6.", INPLACE),
    elementwise(
        "Hardtanh",
        "x, cut off at min_val and max_val.",
        Param("min_val", FLOAT, -1.0),
        Param("max_val", FLOAT, 1.0),
        INPLACE,
        Param("min_value", optional(FLOAT), None),
        Param("max_value", optional(FLOAT), None),
        shape=_hardtanh,
    ),
    elementwise("Sigmoid", "1 / (1 + exp(-x)).", shape=_floated(ANY)),
    elementwise("LogSigmoid", "log(sigmoid(x))."),
    elementwise("Tanh", "The hyperbolic tangent.", shape=_floated(ANY)),
    elementwise("Tanhshrink", "x - tanh(x).", shape=_floated(NUMBERS)),
    elementwise(
        "Softplus", "log(1 + exp(beta * x)) / beta.", Param("beta", FLOAT, 1.0), Param("threshold", FLOAT, 20.0)
    ),
    elementwise("Softsign", "x / (1 + |x|).", shape=_floated(NUMBERS)),
    elementwise("Hardshrink", "x, or 0 where |x| <= lambd.", Param("lambd", FLOAT, 0.5)),
    elementwise("Softshrink", "x moved towards 0 by lambd.", Param("lambd", number(0.0), 0.5)),
    elementwise(
        "Threshold",
        "x where above the threshold, else value.",
        Param("threshold", FLOAT),
        Param("value", FLOAT),
        INPLACE,
        dtypes=NUMBERS,
        example="x -> Threshold(0.1, 0.0)",
    ),
    _over_dim("Softmax", "exp(x), divided by its sum along `dim`."),
    _over_dim("LogSoftmax", "The logarithm of Softmax."),
    _over_dim("Softmin", "Softmax of -x."),
    elementwise(
        "Softmax2d",
        "Softmax over the channels at each position.",
        shape=same_shape(FLOATING, FORMS[2]),
        example_inputs=EXAMPLES[2],
    ),
    elementwise(
        "GLU",
        "The first half of `dim` times the sigmoid of the second half.",
        Param("dim", INT, -1),
        shape=_glu,
    ),
    Operator(
        "Swish",
        "layer",
        "x * sigmoid(beta * x), with beta fixed or learnt.",
        settings=(Param("beta", FLOAT, 1.0), Param("learnable", BOOL, False)),
        arguments=(INPUT,),
        shape=_swish,
        weights=_one_beta,
        home="expc",
        example="x -> Swish(learnable=true)",
        example_inputs={"x": "f32[N, 8]"},
    ),
)
