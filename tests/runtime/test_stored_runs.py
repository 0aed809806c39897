"""What a run left behind is used again: run once more, measured, loaded, asked for predictions."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import expc
from expc.cli import invoke
from expc.diagnostics import Problem
from expc.runtime.errors import RunError
from expc.runtime.stored import open_run
from expc.runtime.testing import measure_run

DATA = Path(__file__).parents[2] / "examples" / "data"

PARTS = """
block Body(x: f32[N, 784], width: int) { Linear(width) -> Twice -> ReLU -> Dropout(0.2) }
extern layer Twice(): f32[N, C] -> f32[N, C] = "twice:Twice"
"""

PYTHON = """
from torch import nn

class Twice(nn.Module):
    def forward(self, x):
        return 2 * x
"""

DIGITS = """
from "lib/parts.exp" import Body
let width = 16
let prepare = ToTensor -> Normalize([0.1307], [0.3081])

data {
  fit, held = MNIST("data", train=false) -> split(0.9)
  train = fit -> RandomCrop(28, padding=2) -> prepare
  val   = held -> prepare
  test  = held -> prepare
  batch = 64
}

model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Body(width) -> Linear(10) }

train {
  epochs = 2, optimizer = AdamW(lr=2e-3), metrics = [Accuracy, F1Score], seed = 5, ema = 0.9
  loss = CrossEntropyLoss(label_smoothing=0.1)
  init "*.weight" = load("start.safetensors")
  group "*.bias" { weight_decay = 0 }
}
log { every = 2 steps, tensorboard = false }
"""

SET = {"width": 8, "train.steps": 7, "train.epochs": None, "train.optimizer": "SGD(lr=0.1, momentum=0.9)"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The folder of an experiment of several files, with its data and the weights that it starts from."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "lib").mkdir()
    (folder / "digits.exp").write_text(DIGITS)
    (folder / "lib" / "parts.exp").write_text(PARTS)
    (folder / "lib" / "twice.py").write_text(PYTHON)
    (folder / "data").symlink_to(DATA)
    generator = torch.Generator().manual_seed(1)
    start = {"1.0.weight": torch.randn(8, 784, generator=generator) / 28, "2.weight": torch.randn(10, 8) / 3}
    save_file(start, folder / "start.safetensors")
    return folder


@pytest.fixture(scope="module")
def run(project, tmp_path_factory):
    """A run of it, which nobody changes."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    result = expc.load(project / "digits.exp", set=SET).run(out=out, device="cpu")
    assert result.status == "finished"
    return out


@pytest.fixture
def copy(run, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def weights(folder, name="final"):
    return load_file(folder / f"{name}.safetensors")


def losses(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def refused(call) -> Problem:
    with pytest.raises(RunError) as raised:
        call()
    return raised.value.problem


# -------------------------------------------------------------------------------------------------------- once more


def test_a_run_is_repeated_bit_for_bit_though_its_files_have_changed(project, run, tmp_path, monkeypatch):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = {path: path.read_text() for path in (project / "digits.exp", project / "lib" / "twice.py")}
    monkeypatch.chdir(tmp_path)  # the paths of the file start where they did
    try:
        (project / "digits.exp").write_text("model Other(x: f32[N, 2]) -> f32[N, 1] { Linear(1) }")
        (project / "lib" / "twice.py").write_text(PYTHON.replace("2 * x", "3 * x"))
        assert invoke(["run", str(run / "resolved.yaml"), "--out", "again", "--device", "cpu"]) == 0
        assert invoke(["run", "again/resolved.yaml", "--out", "third", "--device", "cpu"]) == 0
    finally:
        for path, text in changed.items():
            path.write_text(text)
    for name in ("best", "final"):
        assert same(weights(run, name), weights(Path("again"), name))
        assert same(weights(run, name), weights(Path("third"), name))
    assert losses(run) == losses(Path("again")) == losses(Path("third"))
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    resolved, again = (yaml.safe_load((folder / "resolved.yaml").read_text()) for folder in (run, Path("again")))
    assert (
        resolved["set"]
        == again["set"]
        == [
            "width=8",
            "train.steps=7",
            "train.epochs=none",
            "train.optimizer=SGD(lr=0.1, momentum=0.9)",
        ]
    )
    assert resolved["home"] == again["home"] == str(project / "digits.exp")


def test_a_value_that_was_changed_counts_and_so_do_options(copy):
    path = copy / "resolved.yaml"
    path.write_text(path.read_text().replace("seed: {value: 5", "seed: {value: 6"))
    train = expc.load(path).program.experiment.train
    assert (train.seed, train.steps) == (6, 7)
    train = expc.load(path, set={"train.seed": 8, "train.steps": 3}).program.experiment.train
    assert (train.seed, train.steps) == (8, 3)


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("seed: {value: 5", "seed: {value: many", "E0207", "seed: {value: many"),
        ("seed: {value: 5", "seed: {value: -5", "E0205", "seed: {value: -5"),
        ("  seed: {value: 5", "  sead: {value: 5", "E0201", "sead:"),
        ("value: 5, from", "value: !!python/object/apply:os.system [ls], from", "E0830", "!!python"),
        ("name: digits", "- name: digits", "E0830", "file:"),
        ("width: {value: 8", "width: &a {value: 8", "E0830", "&a"),
        ("width: {value: 8", f"width: {'[' * 3000}", "E0830", "width:"),
        ("weight_decay: {value: 0", "weight_decay: {value: 1", "E0830", "weight_decay:"),
        ("file: sources/digits.exp", "file: ../digits.exp", "E0830", "name:"),
        ("file: sources/digits.exp", "file: sources/none.exp", "E0830", "name:"),
        ("log:", "logs:", "E0830", "every:"),
        ("seed: {value: 5", "seed: {valve: 5", "E0830", "valve"),
        ("seed: {value: 5,", "seed: {value: 5", "E0830", "seed:"),
    ],
)
def test_a_resolved_yaml_that_makes_no_sense_is_refused_at_its_line(copy, capsys, old, new, code, line):
    path = copy / "resolved.yaml"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    problem = expc.check(path)[0]
    assert problem.code == code, problem
    assert problem.span.source.name == str(path)
    assert line in problem.span.source.line(problem.span.line)
    assert invoke(["run", str(path), "--out", str(copy / "never")]) == 1
    assert code in capsys.readouterr().err
    assert not (copy / "never").exists()


def test_a_precision_that_was_measured_stays(copy):
    path = copy / "resolved.yaml"
    auto = path.read_text().replace("precision: {value: f32", "precision: {value: auto")
    path.write_text(
        auto.replace("set:\n", "set:\n- train.precision=auto\n").replace("precision: f32", "precision: bf16")
    )
    assert open_run(copy).program.experiment.train.precision == "bf16"
    assert expc.load(path, set={"train.precision": "f32"}).program.experiment.train.precision == "f32"


@pytest.mark.parametrize("text", ["", "- a\n", "digits\n", "{}\n", "\0", "a: b: c", "? [a]\n: b\n"])
def test_what_is_no_resolved_yaml_is_refused(tmp_path, text):
    path = tmp_path / "resolved.yaml"
    path.write_text(text)
    (problem,) = expc.check(path)
    assert problem.code == "E0830"


# -------------------------------------------------------------------------------------------------------- measured


def test_a_test_finds_what_the_run_found(run, copy, tmp_path):
    facts = json.loads((run / "run.json").read_text())["metrics"]
    measured = measure_run(copy, device="cpu", progress=False)
    assert measured.file == copy / "test.json"
    assert measured.samples == 200
    assert measured.metrics == {name: value for name, value in facts.items() if name.startswith("test.")}
    written = json.loads(measured.file.read_text())
    assert written["metrics"] == measured.metrics

    final = measure_run(copy, role="val", weights="final", device="cpu", progress=False, out=tmp_path / "val.json")
    network = expc.load_run(copy, weights="final")
    network.load_state_dict(weights(run))
    batch = next(iter(_batches(copy, "val", 200)))
    with torch.no_grad():
        output = network(batch["image"])
    loss = torch.nn.functional.cross_entropy(output, batch["label"], label_smoothing=0.1)
    assert final.metrics["val.loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert final.metrics["val.accuracy"] == pytest.approx((output.argmax(1) == batch["label"]).float().mean().item())
    assert final.metrics["val.loss"] != facts["val.loss"]  # which is that of the running average


def _batches(folder, role, size):
    from expc.runtime.data.loader import Loader
    from expc.runtime.prepare import root_of

    program = open_run(folder).program
    return Loader(program.data[role], root=root_of(program), seed=5, batch=size, shuffle=False).epoch(0)


def test_the_same_question_is_answered_again_and_nothing_else_is_replaced(copy, tmp_path, capsys):
    notes = tmp_path / "notes.json"
    notes.write_text("mine")
    for _ in range(2):
        assert invoke(["test", str(copy), "--device", "cpu"]) == 0
    assert invoke(["test", str(copy), "--device", "cpu", "--data", "val", "--weights", "final"]) == 0
    out = capsys.readouterr().out
    assert "test.f1_score 0." in out
    assert {path.name for path in copy.glob("*.json")} >= {"test.json", "val-final.json"}
    for arguments in (["--out", str(notes)], ["--out", str(copy / "test.json"), "--data", "val"]):
        before = Path(arguments[1]).read_text()
        assert invoke(["test", str(copy), "--device", "cpu", *arguments]) == 1
        assert Path(arguments[1]).read_text() == before
    assert "E0804" in capsys.readouterr().err


def test_a_network_is_loaded_with_what_it_learnt(run, project):
    start = project / "start.safetensors"
    moved = start.rename(start.with_suffix(".gone"))  # what it started from is not needed any more
    try:
        network = expc.load_run(run)
    finally:
        moved.rename(start)
    assert not network.training
    assert same(network.state_dict(), weights(run, "best"))
    assert not same(weights(run, "best"), weights(run, "final"))


def test_what_is_no_run_or_has_no_whole_weights_is_refused(copy, tmp_path):
    problem = refused(lambda: open_run(tmp_path / "nothing"))
    assert problem.code == "E0831"
    assert refused(lambda: open_run(copy / "run.json")).code == "E0831"
    assert str(copy) in refused(lambda: open_run(tmp_path)).notes[0]

    best = copy / "best.safetensors"
    whole = best.read_bytes()
    best.write_bytes(whole[:-100])
    assert refused(lambda: expc.load_run(copy)).code == "E0833"
    for broken in ({"2.weight": torch.zeros(10, 9)}, {"3.weight": torch.zeros(1)}):
        save_file({**load_file(copy / "final.safetensors"), **broken}, best)
        problem = refused(lambda: expc.load_run(copy))
        assert problem.code == "E0833"
        assert next(iter(broken)) in problem.message
    best.unlink()
    problem = refused(lambda: expc.load_run(copy))
    assert problem.code == "E0832"
    assert "--weights final" in problem.message
    (copy / "final.safetensors").unlink()
    facts = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**facts, "status": "failed", "error": "the lights went out"}))
    assert "the lights went out" in refused(lambda: measure_run(copy, device="cpu")).message


def test_data_that_the_run_does_not_have_is_refused(tmp_path):
    text = """
let fake = FakeData(size=8, image_size=[1, 4, 4])
data { train = fake -> ToTensor, val = fake -> ToTensor, batch = 4 }
model Net(x: f32[N, 1, 4, 4]) -> f32[N, 10] { Flatten -> Linear(10) }
train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
log { tensorboard = false }
"""
    expc.load(text=text).run(out=tmp_path / "run", device="cpu")
    problem = refused(lambda: measure_run(tmp_path / "run", device="cpu"))
    assert problem.code == "E0834"
    assert "--data val" in problem.message
