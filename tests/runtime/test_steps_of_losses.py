"""A step with each loss of torch against the same step by hand: equal bits."""

import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import expc
from expc.compiler.ops.table import operators
from expc.runtime.prepare import prepare
from expc.runtime.run import run

LOSSES = {name: each for name, each in operators().items() if each.kind == "loss"}
SETTINGS = {
    "CrossEntropyLoss": "weight=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], label_smoothing=0.1, ignore_index=3",
    "NLLLoss": "weight=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
    "BCEWithLogitsLoss": "pos_weight=[1, 2, 3, 4, 5, 6, 7, 8]",
    "BCELoss": "weight=[1, 2, 3, 4, 5, 6, 7, 8]",
    "MultiMarginLoss": "p=2, weight=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
    "MultiLabelSoftMarginLoss": "weight=[1, 2, 3, 4, 5, 6, 7, 8]",
    "KLDivLoss": 'reduction="batchmean"',
    "TripletMarginWithDistanceLoss": "margin=0.5",
    "TripletMarginLoss": "swap=true",
    "PoissonNLLLoss": "log_input=false, full=true",
    "HuberLoss": "delta=0.3",
    "SmoothL1Loss": "beta=0.3",
}
BEFORE = {"BCELoss": "Sigmoid", "PoissonNLLLoss": "Softplus", "NLLLoss": "LogSoftmax(1)", "KLDivLoss": "LogSoftmax(1)"}
SIGNS = ("HingeEmbeddingLoss", "SoftMarginLoss", "MarginRankingLoss", "CosineEmbeddingLoss")


def fields(loss):
    """The types of what the loss compares outputs with, without the batch."""
    found = {name: re.sub(r"\[N(, )?", "[", text).replace("[]", "") for name, text in loss.example_inputs.items()}
    return {name: text for name, text in found.items() if name != "x"}


def drawn(text, name, loss):
    """Seven samples of a type."""
    dims = [int(size) for size in re.findall(r"\d+", text.partition("[")[2])]
    if text.startswith("class"):
        return torch.randint(1, int(re.findall(r"\d+", text)[0]), (7, *dims))
    if text.startswith("i64") and not dims:
        return torch.full((7,), 4)
    if text.startswith("i64"):
        return -torch.arange(dims[0]).clamp(max=1).expand(7, -1)
    if loss.name in SIGNS and name == list(loss.example_inputs)[-1]:
        return torch.randn(7, *dims).sign()
    return torch.rand(7, *dims)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_is_that_of_torch(name, tmp_path):
    torch.manual_seed(0)
    loss = LOSSES[name]
    compared = fields(loss)
    data = {"into": torch.randn(7, 3), **{field: drawn(text, field, loss) for field, text in compared.items()}}
    if name == "CTCLoss":
        layers, output = "Linear(60) -> reshape([N, 6, 10]) -> LogSoftmax(2)", "f32[N, 6, 10]"
        data["a"] = torch.full((7,), 6)
    else:
        layers, output = f"Linear({10 if '10]' in loss.example_inputs['x'] else 8})", loss.example_inputs["x"]
        layers += f" -> {BEFORE[name]}" if name in BEFORE else ""
    given = ", ".join(("output -> permute(1, 0, 2)" if name == "CTCLoss" else "output", *compared))
    text = f"""
data {{
  train = Tensors("given") -> as (into: f32[3], {", ".join(f"{field}: {kind}" for field, kind in compared.items())})
  batch = 7, shuffle = false
}}
model Net(into: f32[N, 3]) -> {output} {{ {layers} }}
train {{ steps = 1, optimizer = SGD(lr=0.5), loss = ({given}) -> {name}({SETTINGS.get(name, "")}) }}
log {{ tensorboard = false }}
"""
    checked = expc.load(text=text).program
    result = run(checked, out=tmp_path / "run", device="cpu", progress=False, data={"given": data})
    model = prepare(checked, "cpu", {"given": data}).task.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    settings = eval(f"dict({SETTINGS.get(name, '')})".replace("true", "True").replace("false", "False"))
    for key in ("weight", "pos_weight"):
        if key in settings:
            settings[key] = torch.tensor(settings[key], dtype=torch.float32)
    outputs = model(data["into"])
    if name == "CTCLoss":
        outputs = outputs.permute(1, 0, 2)
    value = getattr(nn, name)(**settings)(outputs, *(data[field] for field in compared))
    value.backward()
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    optimizer.step()
    found = load_file(result.directory / "final.safetensors")
    assert all(torch.equal(found[key], weight) for key, weight in model.state_dict().items())
    assert any(not torch.equal(found[key], weight) for key, weight in before.items())
    assert result.metrics["train.loss"] == value.item()
