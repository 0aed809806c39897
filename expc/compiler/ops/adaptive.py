"""A softmax over very many classes, of which the rare ones are worked out only where they are the target."""

from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.inner import Shapes
from expc.compiler.ops.kinds import BOOL, FLOAT, POSITIVE, TENSOR, list_of
from expc.compiler.ops.rules import F32, expect_dtype, expect_rank, known, refuse
from expc.compiler.types import TensorType


def _shape(call: Call) -> Any:
    x, target = call.tensor("input_"), call.tensor("target_")
    classes, cutoffs = known(call, "n_classes"), list(call["cutoffs"])
    if not cutoffs or cutoffs != sorted(set(cutoffs)) or cutoffs[-1] > classes - 1:
        refuse(call, f"cutoffs must rise from 1 to at most n_classes - 1 = {classes - 1}, but are {cutoffs}")
    if call["div_value"] <= 0:
        refuse(call, "div_value must be greater than 0")
    expect_rank(call, x, "N, in_features")
    expect_dtype(call, x, F32)
    expect_rank(call, target, "N")
    expect_dtype(call, target, frozenset({"i64"}))
    call.require_equal(x.dims[0], target.dims[0], "the batch of target_")
    if target.classes is not None:
        call.require_at_least(classes, target.classes, "n_classes, for the targets that arrive,")
    call.infer("in_features", x.dims[1])
    for number in range(len(cutoffs)):
        call.require_at_least(_inner_size(call, number), 1, f"what div_value leaves of in_features in cluster {number}")
    return TensorType("f32", target.dims), TensorType("f32", ())


def _inner_size(call: Call, number: int) -> Size:
    """The size between the two matrices of a cluster, worked out as torch does."""
    size: Size = call["in_features"]
    if isinstance(size, int):
        return int(size // (call["div_value"] ** (number + 1)))
    divisor = Fraction(call["div_value"]) ** (number + 1)
    return size * divisor.denominator // divisor.numerator


def _weights(call: Call) -> Shapes:
    size: Size = call["in_features"]
    bounds = [*call["cutoffs"], call["n_classes"]]
    head = bounds[0] + len(bounds) - 1
    shapes: Shapes = {"head.weight": (head, size)}
    if call["head_bias"]:
        shapes["head.bias"] = (head,)
    for number, (low, high) in enumerate(pairwise(bounds)):
        inside = _inner_size(call, number)
        shapes[f"tail.{number}.0.weight"] = (inside, size)
        shapes[f"tail.{number}.1.weight"] = (high - low, inside)
    return shapes


def _macs(call: Call, _: Any) -> Size:
    """The head, which every sample goes through; how many need a tail depends on the targets."""
    samples, size = call.tensor("input_").dims
    cutoffs: list[int] = call["cutoffs"]
    return samples * size * (cutoffs[0] + len(cutoffs))


OPERATORS: Final = (
    Operator(
        "AdaptiveLogSoftmaxWithLoss",
        "layer",
        "The log-probability of each target among very many classes, and the loss; frequent classes come first.",
        settings=(
            Param("in_features", POSITIVE, inferred=True),
            Param("n_classes", POSITIVE),
            Param("cutoffs", list_of(POSITIVE)),
            Param("div_value", FLOAT, 4.0),
            Param("head_bias", BOOL, False),
        ),
        arguments=(Param("input_", TENSOR, tensor=True), Param("target_", TENSOR, tensor=True)),
        shape=_shape,
        weights=_weights,
        macs=_macs,
        example="(x, y) -> AdaptiveLogSoftmaxWithLoss(1000, [10, 100])",
        example_inputs={"x": "f32[N, 16]", "y": "class(1000)[N]"},
    ),
)
