"""A run without files to read: a program around plain torch modules and tensors in memory."""

from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from expc.compiler.graph import Container, Model, Record, Value
from expc.compiler.library.metrics import metrics
from expc.compiler.library.optimizers import optimizers
from expc.compiler.program import DataPlan, LossPlan, MetricPlan, Program, SampleField, TrainPlan, Use, Watch
from expc.compiler.types import TensorType
from expc.diagnostics import Source, Span
from expc.runtime.data.loader import shares_of
from expc.runtime.data.ways import Way
from expc.runtime.distributed.world import World
from expc.runtime.run import run
from expc.spec.experiment import Experiment
from expc.spec.sections import Checkpoint, Data, Log, Train
from expc.spec.values import Quantity

SOURCE = Source("net.exp", "model Net(x: f32[N, 8]) -> f32[N, 4] { Linear(4) }\n")
SPAN = Span(SOURCE, 0, 5)
FIELDS = (SampleField("x", TensorType("f32", (8,))), SampleField("label", TensorType("i64", (), classes=4)))


def digits(samples, seed=0):
    """Points around four centres, by field."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(4, 8, generator=torch.Generator().manual_seed(99))
    label = torch.randint(4, (samples,), generator=generator)
    return {"x": centres[label] + 0.8 * torch.randn(samples, 8, generator=generator), "label": label}


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 4))


class FakeLoader:
    """As `Loader`, over tensors: the order of an epoch follows from the seed and its number."""

    way = Way(reason="these are tensors")

    def __init__(self, plan, *, seed, batch, shuffle, drop_last=False, parts=1, **_):
        self.fields, self.batch, self.shuffle, self.seed, self.parts = plan.dataset, batch, shuffle, seed, parts
        self.samples = len(self.fields["x"])
        self.steps = self.samples // batch if drop_last else -(-self.samples // batch)

    def __len__(self):
        return self.steps

    def shares(self, step):
        return shares_of(min(self.batch, self.samples - step * self.batch), self.parts, World())

    def epoch(self, epoch, start_step=0, every=1):
        order = torch.arange(self.samples)
        if self.shuffle:
            order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(self.seed * 1000 + epoch))
        for step in range(start_step, self.steps, every):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            yield {name: value[chosen] for name, value in self.fields.items()}


def use(table, name, **settings):
    declaration = table[name]
    complete = {p.name: p.default for p in declaration.settings if not p.inferred}
    return Use(declaration, {**complete, **settings}, SPAN)


def container(names, result=None):
    value = Value(TensorType("f32", (8,)), SPAN)
    return Container("Net", tuple(value for _ in names), names, {}, (), result or value, {}, {}, {}, (), SPAN)


def accuracy(name="accuracy"):
    declaration = metrics()["Accuracy"]
    path, arguments = declaration.complete({}, TensorType("f32", (7, 4)), TensorType("i64", (7,), classes=4))
    return MetricPlan(name, path, arguments, "output", "label", True, SPAN)


def watch(metric, mode, **settings):
    return Watch(metric, mode, settings, SPAN)


def program(
    *,
    optimizer=None,
    schedule=(),
    groups=(),
    measured=(),
    clip=None,
    early_stop=None,
    best=None,
    roles=(("train", 70), ("val", 33), ("test", 29)),
    terms=(),
    batch=16,
    checkpoint=None,
    log=None,
    **train,
):
    loss_result = Record({name: Value(TensorType("f32", ()), SPAN) for name in terms}) if terms else None
    data = {
        role: DataPlan(role, digits(samples, seed), (), FIELDS, samples, SPAN)
        for seed, (role, samples) in enumerate(roles)
    }
    train = {"epochs": 2, "seed": 3} | train
    if "steps" in train:
        del train["epochs"]
    return Program(
        name="net",
        source=SOURCE,
        experiment=Experiment(
            name="net",
            data=Data(batch=batch),
            train=Train(**train),
            checkpoint=checkpoint or Checkpoint(),
            log=log or Log(every=Quantity(2, "step"), tensorboard=False),
        ),
        model=Model("Net", container(("x",)), {}),
        data=data,
        train=TrainPlan(
            loss=LossPlan(container(("output", "target"), loss_result), terms),
            optimizer=optimizer or use(optimizers(), "SGD", lr=0.1, momentum=0.9),
            schedule=schedule,
            groups=groups,
            metrics=measured,
            clip=clip,
            early_stop=early_stop,
            inits=(),
        ),
        best=best,
        inputs={"x": "x"},
        sources=(SOURCE,),
    )


def seeded(make):
    def lower(_, *, seed, **__):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make()

    return lower


def fake_run(checked, out, *, model=network, loss=nn.CrossEntropyLoss, **options):
    """`run`, with torch's modules in the place of lowered ones. `model` and `loss` make them."""
    with (
        patch("expc.runtime.task.lower", seeded(model)),
        patch("expc.runtime.task.lower_container", seeded(loss)),
        patch("expc.runtime.data.roles.Loader", FakeLoader),
    ):
        return run(checked, out=None if out is None else Path(out), **{"device": "cpu", "progress": False, **options})
