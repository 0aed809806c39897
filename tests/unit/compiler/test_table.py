"""Every entry of the tables, by its example: it parses, checks without a word, and torch makes what was inferred.

Names, order and defaults are held against torch's in `ops/test_layers.py`, `ops/test_signatures.py`,
`test_datasets.py`, `test_transforms.py` and `test_training_tables.py`.
"""

import random
from pathlib import Path

import pytest
import torch
from programs import checked, inferred, measured

from expc.compiler.dimensions import substitute, symbol, symbols
from expc.compiler.library.datasets import datasets
from expc.compiler.library.metrics import metrics
from expc.compiler.library.optimizers import optimizers
from expc.compiler.library.schedules import schedules
from expc.compiler.library.transforms import transforms
from expc.compiler.lower import lower
from expc.compiler.ops.declare import Operator
from expc.compiler.ops.initialisers import INITIALISERS, Initialiser
from expc.compiler.ops.table import operators
from expc.compiler.program import Program, TrainPlan
from expc.compiler.types import TORCH_NAMES, TensorType
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.metrics import Metrics
from expc.runtime.optim import Schedules, make_optimizer

NO_META_KERNEL = {"CTCLoss", "ctc_loss", "GaussianNLLLoss", "gaussian_nll_loss", "AdaptiveLogSoftmaxWithLoss"} | {
    *("cov", "corrcoef", "combinations", "binomial"),
}
"""They look at the numbers of their tensors, or torch has no kernel of theirs for its meta device."""


def real(type_: TensorType, sizes: dict[str, int], device: str) -> torch.Tensor:
    dims = [int(substitute(size, sizes)) for size in type_.dims]
    dtype = getattr(torch, TORCH_NAMES[type_.dtype])
    # Inside every vocabulary, and a probability.
    return torch.full(dims, 0.5 if dtype.is_floating_point else 1, dtype=dtype, device=device)


def program_of(operator: Operator) -> str:
    inputs = ", ".join(f"{name}: {type_}" for name, type_ in operator.example_inputs.items())
    return f"model M({inputs}) {{\n  {operator.example}\n}}\n"


@pytest.mark.parametrize("name", operators())
def test_an_operator_gives_the_types_that_are_inferred(name: str) -> None:
    model = checked(program_of(operators()[name])).model
    assert model is not None
    body, r = model.body, random.Random(name)
    unknown = {symbol.name for value in body.inputs for size in value.type.dims for symbol in symbols(size)}
    for device in ("cpu",) if name in NO_META_KERNEL else ("meta", "cpu"):
        module = lower(model, device=device)
        for _ in range(3):
            sizes = {symbol: r.randint(6, 12) for symbol in sorted(unknown)}
            given = [real(value.type, sizes, device) for value in body.inputs]
            found = measured(module(*given))
            assert found == inferred(body.result, sizes), (device, sizes)


# --------------------------------------------------------------------------------------------------- data and training


@pytest.mark.parametrize("name", datasets())
def test_a_data_set_checks(name: str) -> None:
    plan = checked(f"data {{ train = {datasets()[name].example} }}").data["train"]
    assert plan.fields


@pytest.mark.parametrize("name", transforms())
def test_a_transform_gives_the_types_that_are_inferred(name: str) -> None:
    example = transforms()[name].example
    plan = checked(f"data {{ train = FakeData(image_size=[3, 40, 40]) -> {example} }}").data["train"]
    pipeline, chosen = open_pipeline(plan, Path(), 0)
    for epoch in range(3):
        batch = pipeline.batch(epoch, chosen[:4])
        for field in plan.fields:
            found = batch[field.name]
            assert (found.shape, str(found.dtype)[6:]) == ((4, *field.type.dims), TORCH_NAMES[field.type.dtype])


IMAGES = """
data {
  fit, held = FakeData(num_classes=10, image_size=[3, 8, 8]) -> split(0.9)
  train = fit -> ToTensor
  val   = held -> ToTensor
  batch = 2
}
model M(image: f32[N, 3, 8, 8]) { Flatten -> Linear(10) }
"""
TOKENS = """
data { train = Text("a.txt", tokens="byte", window=8), batch = 2 }
model M(tokens: i64[N, T]) { Embedding(256, 8) -> Linear(256) }
"""


PARTICULAR = {"Muon", "LBFGS", "SparseAdam"}
"""Optimizers that are particular about what they move; `tests/runtime/test_turns.py` runs them."""
SCORES = TensorType("f32", (symbol("N"), 10)), TensorType("i64", (symbol("N"),), classes=10)


def trained(before: str = IMAGES, **settings: str) -> tuple[Program, TrainPlan]:
    written = {"epochs": "40", "loss": "CrossEntropyLoss", "optimizer": "SGD(lr=0.1)", **settings}
    program = checked(f"{before}train {{ {', '.join(f'{key} = {value}' for key, value in written.items())} }}")
    assert program.train is not None
    return program, program.train


@pytest.mark.parametrize("name", [name for name in optimizers() if name not in PARTICULAR])
def test_an_optimizer_is_made_and_steps(name: str) -> None:
    program, train = trained(optimizer=optimizers()[name].example)
    assert program.model is not None
    module = lower(program.model, seed=0)
    optimizer = make_optimizer(train.optimizer, train.groups, module)
    before = [parameter.clone() for parameter in module.parameters()]
    module(torch.rand(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    assert type(optimizer).__name__ == name
    assert not any(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize("name", schedules())
def test_a_schedule_is_made_and_moves_the_rate(name: str) -> None:
    program, train = trained(epochs="100", optimizer="SGD", schedule=schedules()[name].example)
    assert program.model is not None
    optimizer = make_optimizer(train.optimizer, train.groups, lower(program.model, seed=0))
    schedule = Schedules(train.schedule, optimizer, steps_per_epoch=20, total_steps=800)
    rates = []
    for step in range(800):
        schedule.step()
        rates.append(schedule.rate)
        if step % 20 == 19:
            schedule.validated({"val.loss": 1.0})
    assert train.schedule[0].use.name == name
    assert len(set(rates)) > 1


@pytest.mark.parametrize(
    "name", ["Perplexity", *(name for name, entry in metrics().items() if entry.accepts(*SCORES) is None)]
)
def test_a_metric_is_made_and_measures(name: str) -> None:
    tokens = name == "Perplexity"
    example = metrics()[name].example
    loss = "cross_entropy(output -> flatten(0, 1), target -> flatten)" if tokens else "CrossEntropyLoss"
    program, train = trained(TOKENS if tokens else IMAGES, loss=loss, metrics=f"[{example}]")
    assert program.model is not None
    given = torch.ones(20, 8, dtype=torch.int64) if tokens else torch.rand(20, 3, 8, 8)
    output = lower(program.model, seed=0)(given)
    measured = Metrics(train.metrics, torch.device("cpu"), "logits")
    (plan,) = train.metrics
    target = torch.arange(20) % 10
    measured.update({plan.output: output, plan.target: target[:, None].expand(20, 8) if tokens else target}, 20)
    assert [*measured.read(), *measured.matrices] == [plan.name]


@pytest.mark.parametrize("initialiser", INITIALISERS, ids=str)
def test_an_initialiser_fills_a_parameter(initialiser: Initialiser) -> None:
    rank = max(initialiser.min_rank, 2)
    given = {"constant": "constant(0.25)", "sparse": "sparse(0.1)"}.get(initialiser.name, initialiser.name)
    dims = ", ".join(map(str, (6, 6, 3)[:rank]))
    model = checked(f"model M(x: f32[6]) {{\n  param w: f32[{dims}] = {given}\n  w -> mul(2)\n}}\n").model
    assert model is not None
    started = lower(model, seed=0).state_dict()["w"]
    by_hand = torch.empty(6, 6, 3) if rank == 3 else torch.empty(6, 6)
    torch.manual_seed(0)
    arguments = {"constant": (0.25,), "sparse": (0.1,)}.get(initialiser.name, ())
    assert torch.equal(started, getattr(torch.nn.init, f"{initialiser.name}_")(by_hand, *arguments))
