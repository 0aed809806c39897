"""How near two tensors are."""

from typing import Final

from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, TENSOR, number
from expc.compiler.ops.rules import NUMBERS, axis, expect_dtype, expect_rank
from expc.compiler.types import FLOATING, TensorType, promote, result_dtype

_ARGUMENTS: Final = (Param("x1", TENSOR, tensor=True), Param("x2", TENSOR, tensor=True))
_EXAMPLE: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}


def _together(call: Call) -> TensorType:
    """Both inputs as one, as broadcasting and promotion make them."""
    x1, x2 = call.tensor("x1"), call.tensor("x2")
    return TensorType(promote(x1.dtype, x2.dtype), broadcast(call, x1, x2))


def _cosine(call: Call) -> TensorType:
    both = _together(call)
    expect_dtype(call, both, FLOATING)
    dim = axis(call, call["dim"], both.rank)
    return both.with_dims(*both.dims[:dim], *both.dims[dim + 1 :])


def _pairwise(call: Call) -> TensorType:
    for name in ("x1", "x2"):
        expect_dtype(call, call.tensor(name), NUMBERS)
    both = _together(call)
    expect_rank(call, both, "N, *, C")
    dims = (*both.dims[:-1], 1) if call["keepdim"] else both.dims[:-1]
    dtype = result_dtype([(x.dtype, x.rank) for x in (call.tensor("x1"), call.tensor("x2"))])  # it subtracts
    return TensorType(dtype if dtype in FLOATING else "f32", dims)


OPERATORS: Final = (
    Operator(
        "CosineSimilarity",
        "layer",
        "The cosine of the angle between two inputs along `dim`.",
        settings=(Param("dim", INT, 1), Param("eps", number(0.0), 1e-8)),
        arguments=_ARGUMENTS,
        shape=_cosine,
        example="(x, y) -> CosineSimilarity",
        example_inputs=_EXAMPLE,
    ),
    Operator(
        "PairwiseDistance",
        "layer",
        "The p-norm of the difference of two inputs along the last dimension.",
        settings=(Param("p", FLOAT, 2.0), Param("eps", FLOAT, 1e-6), Param("keepdim", BOOL, False)),
        arguments=_ARGUMENTS,
        shape=_pairwise,
        example="(x, y) -> PairwiseDistance",
        example_inputs=_EXAMPLE,
    ),
)
