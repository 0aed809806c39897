"""Where a gradient goes, against torch's autograd: back through every operator of the table, tensor by tensor."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from programs import checked
from test_table import program_of, real

from expc.compiler.dimensions import symbols
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container, Value, weights
from expc.compiler.lower import lower
from expc.compiler.model.body import tensors
from expc.compiler.model.gradients import through
from expc.compiler.ops.table import operators
from expc.compiler.types import FLOATING

NOT_ON_ORDER = {"MaxUnpool3d", "max_unpool3d"}
"""They want the indices of real maxima, which a tensor of equal numbers does not have."""

NO_DERIVATIVE = "not implemented", "modified by an inplace operation", "tensor does not have a device"
"""What torch says where it has no derivative."""

FURTHER = (
    ("x: f32[N, 8]", "x // 2"),
    ("x: f32[N, 8]", "2 // x"),
    ("x: f32[N, 8]", "x % 2"),
    ("x: f32[N, 8]", "2 % x"),
    ("x: f32[N, 8]", "2 ** x"),
    ("x: f32[N, 8]", "xlogy(2, x)"),
    ("x: f32[N, 8]", "float_power(2, x)"),
    ("x: f32[N, 8]", "x -> round -> floor -> sign"),
    ("x: f32[N, 8], y: f32[]", "x -> masked_fill(x > 2, y)"),
    ("x: f32[N, 8], y: f32[8]", "x -> clamp(min=y)"),
    ("x: f32[N, 8], y: f32[N, 8], w: f32[]", "lerp(x, y, w)"),
    ("x: f32[N, 8], w: f32[8]", "x -> layer_norm([8], weight=w)"),
    ("x: f32[N, 4, 8], w: f32[4]", "x -> instance_norm(weight=w)"),
    ("x: f32[N, 4, 8], w: f32[4]", "x -> group_norm(2, weight=w)"),
    ("x: f32[N, 4, 8], b: f32[4]", "x -> group_norm(2, bias=b)"),
    ("x: f32[N, 4, 8], b: f32[4]", "x -> group_norm(2, weight=b, bias=b)"),
    ("x: f32[N, 8], y: f32[N, 8], w: f32[N, 8]", "binary_cross_entropy(x, y, weight=w)"),
    ("x: f32[N, 8], y: f32[N, 8], w: f32[8]", "binary_cross_entropy_with_logits(x, y, weight=w)"),
    ("x: f32[N, 8], y: f32[N, 8], w: f32[8]", "binary_cross_entropy_with_logits(x, y, pos_weight=w)"),
    ("x: f32[N, 10], y: class(10)[N], w: f32[10]", "cross_entropy(x, y, weight=w)"),
    ("x: f32[N, 10], y: class(10)[N], w: f32[10]", "nll_loss(x, y, weight=w)"),
    ("x: f32[N, 10], y: class(10)[N], w: f32[10]", "multi_margin_loss(x, y, weight=w)"),
    ("x: class(9)[N, 5], y: f32[9, 8], w: f32[N, 5]", 'x -> embedding_bag(y, mode="sum", per_sample_weights=w)'),
    ("q: f32[N, 2, 5, 8], w: f32[5, 5]", "scaled_dot_product_attention(q, q, q, attn_mask=w)"),
    ("x: f32[N, 8], y: f32[N, 8]", "where(x > y, x, 0.0) + zeros_like(y)"),
    ("x: f32[N, 8]", "x -> max(1)"),
    ("x: f32[N, 8]", "x[:, 2:] -> f64 -> i64 -> f32"),
    ("x: f32[N, 8]", "x -> { a = flow // 2; b = flow * 2 -> detach; a + b }"),
    ("x: f32[N, 8], y: f32[N, 8]", "broadcast_tensors(x // 2, y)"),
    ("x: f32[N, 8]", "a, b = x -> chunk(2, dim=1); _ = a -> Linear(4); b -> detach -> Linear(4)"),
)


def flat(found: Any) -> Iterator[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, dict):
        yield from flat(tuple(found.values()))
    elif isinstance(found, tuple | list):
        for part in found:
            yield from flat(part)


def expected(body: Container, source: Value | None) -> list[str]:
    """What the checker says of each result: `none`, `stops`, or `gradient`."""
    keys = {weight.key for weight in weights(body) if not weight.is_buffer} if source is None else set()
    found = through(body, {} if source is None else {source: None}, keys, "")
    return ["none" if v not in found else "stops" if found[v] is not None else "gradient" for v in tensors(body.result)]


def by_torch(module: torch.nn.Module, given: list[torch.Tensor]) -> list[str]:
    said = []
    try:
        results = list(flat(module(*given)))
    except ExecutionError as error:
        assert "not differentiable" in str(error), error  # noqa: PT017 - torch refuses some before it goes back
        return ["stops"]
    for result in results:
        if not result.requires_grad:
            said.append("none")
            continue
        try:
            result.sum().backward(retain_graph=True)
            said.append("gradient")
        except RuntimeError as error:
            assert any(said in str(error) for said in NO_DERIVATIVE), error  # noqa: PT017
            said.append("stops")
    return said


def compare(program: str) -> int:
    model = checked(program).model
    assert model is not None
    body, r = model.body, random.Random(0)
    unknown = sorted({symbol.name for value in body.inputs for size in value.type.dims for symbol in symbols(size)})
    sizes = {symbol: r.randint(6, 12) for symbol in unknown}
    module = lower(model, device="cpu")
    floats = [value for value in body.inputs if isinstance(value, Value) and value.type.dtype in FLOATING]
    has_weights = any(True for _ in module.parameters())
    for source in (*floats, None) if has_weights else floats:
        module.requires_grad_(source is None)
        given = [real(value.type, sizes, "cpu").requires_grad_(value is source) for value in body.inputs]
        assert by_torch(module, given) == expected(body, source), source and source.name
    return len(floats)


@pytest.mark.parametrize("name", [name for name in operators() if name not in NOT_ON_ORDER])
def test_a_gradient_goes_back_through_an_operator_as_in_torch(name: str) -> None:
    compare(program_of(operators()[name]))


@pytest.mark.parametrize(("inputs", "body"), FURTHER)
def test_a_gradient_goes_where_torch_takes_it(inputs: str, body: str) -> None:
    assert compare(f"model M({inputs}) {{ {body} }}")
