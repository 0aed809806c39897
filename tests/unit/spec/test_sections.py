"""The schema itself: what every field must have, and that legal values come through unchanged."""

import dataclasses
import json
import subprocess
import sys

import pytest
from evaluated import tables
from pydantic import ValidationError

from expc.diagnostics import Report
from expc.spec.binding import bind
from expc.spec.experiment import Experiment
from expc.spec.fields import words
from expc.spec.sections import SECTIONS, Settings, Train, keys
from expc.spec.values import Quantity, Table, show

# One legal value for each key, other than its default, as a file writes it.
LEGAL = {
    "data": {
        "train": 'MNIST("data") -> ToTensor',
        "val": "FakeData",
        "test": "FakeData(size=3)",
        "predict": "FakeData",
        "batch": "128",
        "shuffle": "false",
        "workers": "2",
        "drop_last": "true",
        "pin_memory": "true",
        "persistent_workers": "true",
        "prefetch_factor": "4",
        "timeout": "30 s",
        "multiprocessing_context": "spawn",
        "sampler": 'WeightedRandomSampler("balanced")',
        "path": "workers",
        "memory": "0.5",
    },
    "train": {
        "epochs": "5",
        "loss": "CrossEntropyLoss(label_smoothing=0.1)",
        "optimizer": "AdamW(lr=0.002)",
        "schedule": "LinearLR(start_factor=0.1) for 100 steps -> CosineAnnealingLR",
        "metrics": "[Accuracy, F1Score]",
        "precision": "bf16",
        "accumulate": "4",
        "clip": "norm(1)",
        "early_stop": "min(val.loss, patience=5, min_delta=0.001)",
        "max_time": "1.5 h",
        "ema": "0.999",
        "compile": "true",
        "recompute": '["layer3.*"]',
        "freeze": '["conv1.*"] for 2 epochs',
        "seed": "42",
        "deterministic": "true",
    },
    "distributed": {
        "strategy": "none",
        "backend": "gloo",
        "find_unused_parameters": "true",
        "sync_batchnorm": "true",
        "static_graph": "true",
        "bucket_cap_mb": "10",
        "gradient_as_bucket_view": "true",
        "shard": '["layer3.*"]',
        "timeout": "90 s",
    },
    "checkpoint": {"every": "30 min", "keep": "2", "best": "max(val.accuracy)", "async": "false"},
    "log": {"every": "2 epochs", "tensorboard": "false", "graph": "false", "histograms": "true", "images": "8"},
    "quantize": {"mode": "static", "backend": "x86", "targets": '["fc.*"]', "calibrate": "8"},
    "prune": {
        "method": "ln_structured",
        "amount": "0.3",
        "targets": '["*.weight"]',
        "n": "1",
        "dim": "1",
        "every": "2 epochs",
    },
    "export": {"onnx": '"net.onnx"', "pt2": '"net.pt2"', "opset": "18", "weights": "final"},
}
NEEDED = {"epochs": "1", "loss": "MSELoss", "optimizer": "SGD"}
ELSEWHERE = {"steps", "group", "init"}
"""Keys of `train` that tests of their own write."""


def written(section: str) -> str:
    return f"{section} {{\n" + "\n".join(f"{key} = {text}" for key, text in LEGAL[section].items()) + "\n}"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_has_a_description_and_a_name_for_what_it_takes(section):
    for name, field in SECTIONS[section].model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert words(field), name


def test_the_legal_values_below_cover_every_key():
    for section, model in SECTIONS.items():
        assert LEGAL[section].keys() | (ELSEWHERE if section == "train" else set()) == keys(model).keys()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_takes_its_legal_value_and_prints_as_written(section):
    report = Report()
    settings = getattr(bind("net", tables(written(section)), report), section)
    assert report.problems == ()
    for key, field in keys(SECTIONS[section]).items():
        if key in LEGAL[section]:
            value = getattr(settings, field)
            assert value != SECTIONS[section].model_fields[field].default, key
            assert LEGAL[section][key] in ((value, show(value)) if isinstance(value, str) else (show(value),)), key


def test_groups_and_inits_are_kept_in_order():
    text = 'train { epochs = 1, loss = MSELoss, optimizer = SGD, group "a" { lr = 1 }; group "b" { lr = 2 } }'
    report = Report()
    train = bind("net", tables(text), report).train
    assert not report.problems
    assert [group.selector for group in train.groups] == ["a", "b"]
    assert all(isinstance(group, Table) for group in train.groups)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_schema_can_be_written_down(section):
    schema = SECTIONS[section].model_json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["properties"].keys() == keys(SECTIONS[section]).keys()
    assert schema["additionalProperties"] is False


def test_an_experiment_holds_each_section_under_its_name():
    assert {field.name for field in dataclasses.fields(Experiment)} == {"name", "origins", "places", *SECTIONS}


def test_settings_are_strict_and_frozen():
    with pytest.raises(ValidationError):
        Train(epochs=True)
    with pytest.raises(ValidationError):
        Train(epochs="5")
    with pytest.raises(ValidationError):
        SECTIONS["log"](every=Quantity(4, "GiB"))
    train = Train(epochs=5)
    with pytest.raises(ValidationError):
        train.epochs = 6
    assert all(issubclass(model, Settings) for model in SECTIONS.values())


def test_the_schema_needs_neither_torch_nor_a_validator_to_be_imported():
    code = (
        "import sys; from expc.spec import sections as s; "
        "print('torch' in sys.modules, [m.__pydantic_complete__ for m in s.SECTIONS.values()])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", *str([False] * len(SECTIONS)).split()]
