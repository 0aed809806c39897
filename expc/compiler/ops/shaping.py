"""Layers that change the shape and keep the values: flattening, padding, shuffling, resizing."""

from typing import Final

from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import INT
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import TensorType


def _flatten(call: Call) -> TensorType:
    x = call.tensor()
    start, end = axis(call, x, "start_dim"), axis(call, x, "end_dim")
    if start > end:
        refuse(call, f"start_dim={call['start_dim']} comes after end_dim={call['end_dim']} in {x}")
    joined = x.dims[start : end + 1]
    if len(joined) > 1:
        call.explain(
            f"flattened: {' * '.join(f'({d})' if ' ' in str(d) else str(d) for d in joined)} = {product(joined)}"
        )
    return x.with_dims(*x.dims[:start], product(joined), *x.dims[end + 1 :])


OPERATORS: Final = (
    Operator(
        "Flatten",
        "layer",
        "Joins dimensions into one: by default all but the batch.",
        settings=(Param("start_dim", INT, 1), Param("end_dim", INT, -1)),
        arguments=(INPUT,),
        shape=_flatten,
        example="x -> Flatten",
        example_inputs={"x": "f32[N, 4, 6, 6]"},
    ),
)
