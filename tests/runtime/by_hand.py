"""Runs of small experiments, and the same training written by hand in plain torch."""

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from expc.compiler.session import check_text
from expc.runtime.prepare import prepare
from expc.runtime.run import run
from expc.runtime.seeds import seed_all

DATA = """
data {
  train, val = FakeData(size=44, image_size=[1, 4, 4], num_classes=4) -> split(0.75) -> ToTensor
  batch = 11
}
"""
NET = """
model Net(image: f32[N, 1, 4, 4]) {
  Flatten -> body: Linear(8) -> norm: BatchNorm1d -> ReLU -> Dropout(0.1) -> head: Linear(4)
}
"""
GAN = """
model Gan(image: f32[N, 1, 4, 4]) -> (real: f32[N, 1], fake: f32[N, 1]) {
  d: { Flatten -> Linear(8) -> LeakyReLU(0.2) -> Linear(1) }
  real = flow
  fake = randn([N, 3]) -> g: { Linear(8) -> ReLU -> Linear(16) -> unflatten(1, [1, 4, 4]) } -> d
  return (real, fake)
}
"""


def program(train, model=NET, data=DATA):
    checked = check_text(f"{data}{model}train {{\n{train}\n}}\n")
    assert not checked.has_errors, checked.problems
    return checked.program


def trained(checked, out):
    """The last weights of a run, and its directory."""
    result = run(checked, out=out, device="cpu", progress=False)
    return load_file(result.directory / "final.safetensors"), result.directory


def by_hand(checked, epochs, start, step, *, after=lambda model, step: None):
    """The weights after a loop over the same batches; `start(model)` gives what `step(model, state, batch)` needs."""
    prepared = prepare(checked, "cpu")
    model, loader = prepared.task.model, prepared.loaders["train"]
    state = start(model)
    seed_all(0)
    model.train()
    count = 0
    for epoch in range(epochs):
        for batch in loader.epoch(epoch):
            count += 1
            step(model, state, batch)
            after(model, count)
    return model.state_dict()


def plain(optimizer):
    """A step of training with one loss."""

    def step(model, optimizers, batch):
        loss = cross_entropy(model(batch["image"]), batch["label"])
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        for each in optimizers:
            each.step()

    return optimizer, step


def same(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
