"""Optimizers are fused where torch can."""

import pytest
from by_hand import DATA, NET, program, trained

from expc.runtime.optim import make_optimizers
from expc.runtime.prepare import prepare

SPARSE = """
model Net(image: f32[N, 1, 4, 4]) {
  Flatten -> mul(9) -> i64 -> embed: Embedding(10, 3, sparse=true) -> flatten(1) -> head: Linear(4)
}
"""
SPARSE_FUNCTION = """
model Net(image: f32[N, 1, 4, 4]) {
  param rows: f32[10, 3] = normal(std=1.0)
  found = image -> Flatten -> mul(9) -> i64
  embedding(found, rows, sparse=true) -> flatten(1) -> head: Linear(4)
}
"""


@pytest.mark.parametrize(
    ("optimizer", "model", "fused"),
    [
        ("AdamW(lr=0.1)", NET, True),
        ("SGD(lr=0.1)", NET, True),
        ("RMSprop(lr=0.1)", NET, None),
        ("SGD(lr=0.1)", SPARSE, None),
        ("SGD(lr=0.1)", SPARSE_FUNCTION, None),
    ],
)
def test_optimizers_are_fused_where_torch_can(tmp_path, optimizer, model, fused):
    checked = program(f"epochs = 1, loss = CrossEntropyLoss, optimizer = {optimizer}", model, DATA)
    (moving,) = make_optimizers(checked.train, prepare(checked, "cpu").task.model)
    assert moving.optimizer.param_groups[0].get("fused") is fused
    trained(checked, tmp_path / "run")
