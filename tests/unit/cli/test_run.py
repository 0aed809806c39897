"""`expc run` and the Python API, from text to a run directory."""

import json
from pathlib import Path

import pytest
import torch

import expc
from expc.cli import invoke

TINY = """\
data {
  train = FakeData(size=16, image_size=[3, 8, 8], num_classes=4) -> ToTensor
  val   = FakeData(size=8, image_size=[3, 8, 8], num_classes=4, random_offset=16) -> ToTensor
  batch = 8
}

model Net(x: f32[N, 3, 8, 8]) -> f32[N, 4] { Flatten -> Linear(4) }

train {
  epochs    = 1
  loss      = CrossEntropyLoss
  optimizer = SGD(lr=0.1)
  metrics   = [Accuracy]
}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.exp"
    path.write_text(TINY, "utf-8")
    return path


def test_run(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert invoke(["run", str(tiny), "--out", str(out), "--device", "cpu"]) == 0
    printed, progress = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[-1] == str(out)
    assert any(line.startswith("val.accuracy ") for line in lines)
    assert "no problems" in progress
    assert json.loads((out / "run.json").read_text("utf-8"))["status"] == "finished"

    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert invoke(["run", str(tiny), "--out", str(out), "--device", "cpu"]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "--> --out" in said
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_data_that_is_not_there_is_told_like_a_mistake_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "absent.exp"
    there = "FakeData(size=16, image_size=[3, 8, 8], num_classes=4)"
    path.write_text(TINY.replace(there, 'ImageFolder("no/such", classes=4) -> Resize([8, 8])'), "utf-8")
    assert invoke(["run", str(path), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "error[E0801 data-not-found]" in said
    assert f"--> {path}:2:" in said
    assert "Traceback" not in said


def test_check_from_python(tiny: Path) -> None:
    assert expc.check(tiny) == ()
    problems = expc.check(text=TINY.replace("SGD", "SDG"))
    assert [problem.span.text for problem in problems] == ["SDG"]
    (problem,) = expc.check(tiny, set={"train.epochs": 0})
    assert problem.span.source.name.startswith("--set")
    with pytest.raises(FileNotFoundError):
        expc.check(tiny.with_name("absent.exp"))
    with pytest.raises(TypeError):
        expc.check()


def test_build_and_run_from_python(tiny: Path, tmp_path: Path) -> None:
    experiment = expc.load(tiny, set={"train.optimizer": "Adam(lr=0.01)"})
    first, second = experiment.build(), experiment.build()
    assert list(first.state_dict()) == ["1.weight", "1.bias"]
    assert first(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    result = experiment.run(out=tmp_path / "run", device="cpu")
    assert (result.status, result.steps) == ("finished", 2)


def test_an_experiment_with_errors_does_nothing_but_say_so() -> None:
    experiment = expc.load(text="model Net(x: f32[N, 8]) -> f32[N, 10] { Linear(12) }")
    assert len(experiment.problems) == 1
    for act in (experiment.build, experiment.run, experiment.summary):
        with pytest.raises(expc.CheckError, match="error\\[E") as raised:
            act()
        assert raised.value.problems == experiment.problems


def test_without_a_model_there_is_nothing_to_build() -> None:
    experiment = expc.load(text="let a = 1\n")
    with pytest.raises(ValueError, match="no model"):
        experiment.build()
