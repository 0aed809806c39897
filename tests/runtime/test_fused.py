"""Every optimizer trains as in a loop written by hand; how it computes is chosen where the file does not say."""

import pytest
import torch
from by_hand import DATA, NET, by_hand, plain, program, same, trained

from expc.compiler.library.optimizers import FUSED_TOO, IN_ONE_WAY, optimizers
from expc.runtime.fused import TOGETHER
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


def ways():
    """Each optimizer, what the file says of how it computes, and torch's flags for that."""
    for name in sorted(optimizers().keys() - IN_ONE_WAY):
        yield name, "", {"fused": True} if name in FUSED_TOO else {"foreach": True} if name in TOGETHER else {}
        yield name, "foreach=true", {"foreach": True}
        yield name, "foreach=false", {"foreach": False}
        if name in FUSED_TOO:
            yield name, "fused=false", {"fused": False}


@pytest.mark.parametrize(("name", "said", "flags"), list(ways()))
def test_every_optimizer_trains_as_by_hand(tmp_path, name, said, flags):
    checked = program(f"""
        epochs = 1, loss = CrossEntropyLoss, optimizer = {name}(lr=0.03{", " if said else ""}{said})
        group "*.bias" {{ lr = 0.01 }}
    """)
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        matrices = [model.body.weight, model.norm.weight, model.head.weight]
        biases = {"params": [model.body.bias, model.norm.bias, model.head.bias], "lr": 0.01}
        return (getattr(torch.optim, name)([{"params": matrices}, biases], lr=0.03, **flags),)

    same(found, by_hand(checked, 1, *plain(start)))
    assert not torch.equal(found["head.bias"], prepare(checked, "cpu").task.model.head.bias)


def test_muon_trains_as_by_hand(tmp_path):
    settings = "lr=0.02, momentum=0.8, nesterov=false, weight_decay=0.0, ns_steps=3"
    checked = program(f"""
        epochs = 1, loss = CrossEntropyLoss, optimizer = NAdam
        group Linear.weight {{ optimizer = Muon({settings}, adjust_lr_fn="match_rms_adamw") }}
    """)
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        matrices = [model.body.weight, model.head.weight]
        rest = [model.body.bias, model.norm.weight, model.norm.bias, model.head.bias]
        how = {
            "momentum": 0.8,
            "nesterov": False,
            "weight_decay": 0.0,
            "ns_steps": 3,
            "adjust_lr_fn": "match_rms_adamw",
        }
        return torch.optim.NAdam(rest), torch.optim.Muon(matrices, lr=0.02, **how)

    same(found, by_hand(checked, 1, *plain(start)))


def test_what_is_thawed_gets_momentum_after_others(tmp_path):
    """torch's fused SGD refuses to take both together."""
    settings = 'steps = 5, loss = CrossEntropyLoss, freeze = ["body.*"] for 2 steps'
    fused, each = (
        trained(program(f"{settings}, optimizer = SGD(lr=0.1, momentum=0.9{how})"), tmp_path / f"run{place}")[0]
        for place, how in enumerate(("", ", foreach=false"))
    )
    same(fused, each)
