"""Layers that multiply by a matrix."""

from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, TENSOR
from expc.compiler.ops.rules import F32, INPUT, expect_dtype, expect_rank, product
from expc.compiler.types import TensorType

Shapes = dict[str, tuple[Size, ...]]

_BIAS: Final = Param("bias", BOOL, True)


def _linear(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, *, in_features")
    expect_dtype(call, x, F32)
    call.infer("in_features", x.dims[-1])
    return TensorType("f32", (*x.dims[:-1], call["out_features"]))


def _linear_weights(call: Call) -> Shapes:
    weights: Shapes = {"weight": (call["out_features"], call["in_features"])}
    return weights | {"bias": (call["out_features"],)} if call["bias"] else weights


def _linear_macs(call: Call, result: Any) -> Size:
    return product(result.dims) * call.tensor().dims[-1]


def _bilinear(call: Call) -> TensorType:
    left, right = call.tensor("input1"), call.tensor("input2")
    for number, x in ((1, left), (2, right)):
        expect_rank(call, x, f"N, *, in{number}_features")
        expect_dtype(call, x, F32)
    expect_rank(call, right, ", ".join(["N", *(str(dim) for dim in left.dims[1:-1]), "in2_features"]))
    for number, (a, b) in enumerate(zip(left.dims[:-1], right.dims[:-1], strict=True)):
        call.require_equal(a, b, f"dimension {number} of input2")
    call.infer("in1_features", left.dims[-1])
    call.infer("in2_features", right.dims[-1])
    return TensorType("f32", (*left.dims[:-1], call["out_features"]))


def _bilinear_weights(call: Call) -> Shapes:
    out: Size = call["out_features"]
    weights: Shapes = {"weight": (out, call["in1_features"], call["in2_features"])}
    return weights | {"bias": (out,)} if call["bias"] else weights


def _bilinear_macs(call: Call, result: Any) -> Size:
    return product(result.dims) * call.tensor("input1").dims[-1] * call.tensor("input2").dims[-1]


OPERATORS: Final = (
    Operator(
        "Linear",
        "layer",
        "Multiplies the last dimension by a learnt matrix and adds a bias.",
        settings=(
            Param("in_features", POSITIVE, inferred=True),
            Param("out_features", POSITIVE),
            _BIAS,
        ),
        arguments=(INPUT,),
        shape=_linear,
        weights=_linear_weights,
        macs=_linear_macs,
        example="x -> Linear(10)",
        example_inputs={"x": "f32[N, 8]"},
    ),
    Operator(
        "Bilinear",
        "layer",
        "Combines two inputs by a learnt bilinear form for each output.",
        settings=(
            Param("in1_features", POSITIVE, inferred=True),
            Param("in2_features", POSITIVE, inferred=True),
            Param("out_features", POSITIVE),
            _BIAS,
        ),
        arguments=(Param("input1", TENSOR, tensor=True), Param("input2", TENSOR, tensor=True)),
        shape=_bilinear,
        weights=_bilinear_weights,
        macs=_bilinear_macs,
        example="(x, y) -> Bilinear(10)",
        example_inputs={"x": "f32[N, 8]", "y": "f32[N, 6]"},
    ),
    Operator(
        "Identity",
        "layer",
        "Gives what it gets.",
        settings=(),
        arguments=(INPUT,),
        shape=lambda call: call.tensor(),
        example="x -> Identity",
        example_inputs={"x": "f32[N, 8]"},
    ),
)
