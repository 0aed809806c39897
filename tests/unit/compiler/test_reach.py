"""Which parameters no loss reaches, by the loss that moves them: those whose gradient torch leaves at none."""

import pytest
import torch

import expc
from expc.compiler.plans.reach import unreached

DATA = "data { train = FakeData(8, image_size=[1, 2, 2], num_classes=3) -> ToTensor, batch = 8 }\n"
NET = """
model Net(x: f32[N, 1, 2, 2]) -> (scores: f32[N, 3], extra: f32[N, 2]) {
  hidden = Flatten -> body: Linear(4) -> ReLU
  scores = hidden -> head: Linear(3)
  extra  = hidden -> side: Linear(2)
}
"""
LOSS = "cross_entropy(scores, label)"


def program(train: str, net: str = NET):
    return expc.load(text=f"{DATA}{net}\ntrain {{ epochs = 2, optimizer = SGD(lr=0.1)\n{train} }}").program


@pytest.mark.parametrize(
    ("train", "keys"),
    [
        (f"loss = {LOSS}", ("side.weight", "side.bias")),
        (f"loss = {LOSS} + mean(extra ** 2)", ()),
        (f"loss = {LOSS} + mean(extra -> detach)", ("side.weight", "side.bias")),
        (f'loss = {LOSS} + l2(weights("side.weight"))', ("side.bias",)),
        (f'loss = {LOSS}, freeze = ["side.*"]', ()),
        (f'loss = {LOSS}, freeze = ["side.*"] for 1 epochs', ("side.weight", "side.bias")),
        (f'loss = {LOSS}, group "side.*" {{ loss = mean(extra ** 2) }}', ()),
        (
            f'loss = {LOSS} + mean(extra ** 2), group "side.*" {{ loss = {LOSS} + l2(weights("side.bias")) }}',
            ("side.weight",),
        ),
        (f'loss = mean(extra ** 2), group "body.*" {{ loss = {LOSS} }}', ("head.weight", "head.bias")),
    ],
)
def test_parameters_without_a_gradient(train: str, keys: tuple[str, ...]) -> None:
    found = program(train)
    assert set(unreached(found)) == set(keys)


def test_they_are_those_that_torch_gives_none() -> None:
    found = expc.load(text=f"{DATA}{NET}train {{ epochs = 1, optimizer = SGD(lr=0.1), loss = {LOSS} }}")
    network = found.build(device="cpu")
    network(torch.ones(8, 1, 2, 2))["scores"].sum().backward()
    assert {key for key, one in network.named_parameters() if one.grad is None} == set(unreached(found.program))
