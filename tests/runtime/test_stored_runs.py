"""What a run left behind is used again: run once more, measured, loaded, asked for predictions."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import expc
from expc.cli import invoke
from expc.diagnostics import Problem
from expc.runtime.errors import RunError
from expc.runtime.predict import predict_run
from expc.runtime.prepare import root_of
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
  epochs = 2, optimizer = AdamW(lr=2e-3), metrics = [Accuracy, F1Score, ConfusionMatrix], seed = 5, ema = 0.9
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
        ("value: 5, from", "value: !!python/object/apply:os.system [ls], from", "E0850", "!!python"),
        ("name: digits", "- name: digits", "E0850", "file:"),
        ("width: {value: 8", "width: &a {value: 8", "E0850", "&a"),
        ("width: {value: 8", f"width: {'[' * 3000}", "E0850", "width:"),
        ("weight_decay: {value: 0", "weight_decay: {value: 1", "E0850", "weight_decay:"),
        ("split(0.9)[0] -> Random", "split(0.8)[0] -> Random", "E0850", "split(0.8)"),
        ("file: sources/digits.exp", "file: ../digits.exp", "E0850", "name:"),
        ("file: sources/digits.exp", "file: sources/none.exp", "E0850", "name:"),
        ("log:", "logs:", "E0850", "every:"),
        ("seed: {value: 5", "seed: {valve: 5", "E0850", "valve"),
        ("seed: {value: 5,", "seed: {value: 5", "E0850", "seed:"),
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


def test_a_run_that_was_moved_finds_its_data_where_it_was(project, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "moved")
    program = open_run("moved").program
    assert root_of(program) == project
    assert program.source.name == "moved/sources/digits.exp"
    assert [source.folder for source in program.sources] == [str(project), str(project / "lib")]
    monkeypatch.setenv("EXPC_DATA", "elsewhere")
    assert root_of(open_run("moved").program) == Path("elsewhere")


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
    assert problem.code == "E0850"


# -------------------------------------------------------------------------------------------------------- measured


def test_a_test_finds_what_the_run_found(run, copy, tmp_path):
    facts = json.loads((run / "run.json").read_text())["metrics"]
    measured = measure_run(copy, device="cpu", progress=False)
    assert measured.file == copy / "test.json"
    assert measured.samples == 200
    assert measured.metrics == {name: value for name, value in facts.items() if name.startswith("test.")}
    written = json.loads(measured.file.read_text())
    assert written["metrics"] == measured.metrics
    matrix = np.array(written["matrices"]["test.confusion_matrix"])
    assert (matrix.sum(), np.trace(matrix) / 200) == (200, pytest.approx(measured.metrics["test.accuracy"]))

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
    assert invoke(["test", str(copy), "--out", str(tmp_path / "none" / "test.json")]) == 1
    for arguments in (["test", ""], ["predict", str(copy), "--input", ""], ["test", str(copy), "--out", ""]):
        assert invoke(arguments) == 2
    assert "it has no name" in capsys.readouterr().err


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
    assert problem.code == "E0851"
    assert refused(lambda: open_run(copy / "run.json")).code == "E0851"
    assert str(copy) in refused(lambda: open_run(tmp_path)).notes[0]

    best = copy / "best.safetensors"
    whole = best.read_bytes()
    best.write_bytes(whole[:-100])
    assert refused(lambda: expc.load_run(copy)).code == "E0853"
    for broken in ({"2.weight": torch.zeros(10, 9)}, {"3.weight": torch.zeros(1)}):
        save_file({**load_file(copy / "final.safetensors"), **broken}, best)
        problem = refused(lambda: expc.load_run(copy))
        assert problem.code == "E0853"
        assert next(iter(broken)) in problem.message
    best.unlink()
    problem = refused(lambda: expc.load_run(copy))
    assert problem.code == "E0852"
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
    assert problem.code == "E0854"
    assert "--data val" in problem.message


# ------------------------------------------------------------------------------------------------------- predictions


@pytest.fixture(scope="module")
def pictures(project, tmp_path_factory):
    """The 200 digits of the run's test data as files, and the batch that the run makes of them."""
    from PIL import Image

    from expc.runtime.data.declared import open_source
    from expc.runtime.data.pipeline import open_pipeline

    folder = tmp_path_factory.mktemp("pictures")
    program = expc.load(project / "digits.exp", set=SET).program
    held = program.data["test"]
    pipeline, chosen = open_pipeline(held, project, 5)
    raw = open_source(held, project, {}).fetch(chosen)
    for number, image in enumerate(raw["image"]):
        place = folder / ("even" if number % 2 == 0 else "odd") / f"{number:03d}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place)
    (folder / "readme.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image either")
    return folder, pipeline.batch(0, chosen)


def table(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_images_is_classified_as_the_network_does(copy, pictures, tmp_path, capsys):
    folder, batch = pictures
    assert invoke(["predict", str(copy), "--input", str(folder), "--device", "cpu", "--top", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(copy / "predictions.csv")]
    assert "through the transforms of `test`" in captured.err
    rows = table(copy / "predictions.csv")
    order = [*range(0, 200, 2), *range(1, 200, 2)]
    assert [row["file"] for row in rows] == [f"{'odd' if n % 2 else 'even'}/{n:03d}.png" for n in order]
    with torch.no_grad():
        chances = expc.load_run(copy)(batch["image"]).softmax(1)[order]
    best = chances.topk(3, dim=1)
    assert [[int(row[f"class{k}"]) for k in ("", "2", "3")] for row in rows] == best.indices.tolist()
    found = torch.tensor([[float(row[f"probability{k}"]) for k in ("", "2", "3")] for row in rows])
    assert torch.allclose(found, best.values, atol=1e-6)

    one = predict_run(copy, folder / "odd" / "001.png", out=tmp_path / "one.csv", device="cpu", progress=False)
    assert (one.samples, one.role) == (1, "test")
    (row,) = table(one.file)
    assert (row["file"], row["class"]) == ("001.png", str(best.indices[100, 0].item()))

    predict_run(copy, folder, out=tmp_path / "all.npz", device="cpu", progress=False, weights="final")
    with np.load(tmp_path / "all.npz") as arrays, torch.no_grad():
        assert arrays["file"].tolist() == [row["file"] for row in rows]
        expected = expc.load_run(copy, weights="final")(batch["image"][order])
        assert torch.allclose(torch.from_numpy(arrays["output"]), expected, atol=1e-5)


def test_arrays_go_through_the_same_transforms(copy, pictures, tmp_path):
    _, batch = pictures
    pixels = ((batch["image"] * 0.3081 + 0.1307) * 255).round().byte()
    np.savez(tmp_path / "digits.npz", image=pixels.numpy())
    predicted = predict_run(copy, tmp_path / "digits.npz", out=tmp_path / "out.csv", device="cpu", progress=False)
    with torch.no_grad():
        best = expc.load_run(copy)(batch["image"]).argmax(1)
    rows = table(predicted.file)
    assert [int(row["row"]) for row in rows] == list(range(200))
    assert [int(row["class"]) for row in rows] == best.tolist()


def test_input_that_does_not_fit_is_refused_and_named(copy, tmp_path):
    from PIL import Image

    good = tmp_path / "good.csv"
    good.write_text("file,class,probability\na.png,1,0.5\n")
    folder = tmp_path / "images"
    folder.mkdir()

    def refusal(given):
        problem = refused(lambda: predict_run(copy, given, out=good, device="cpu", progress=False))
        assert good.read_text() == "file,class,probability\na.png,1,0.5\n"
        assert not list(tmp_path.glob(".*"))
        assert problem.code == "E0855", problem
        return problem.message

    assert "no image is in this folder" in refusal(folder)
    assert "there is no such" in refusal(tmp_path / "none.png")
    (tmp_path / "notes.txt").write_text("words")
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    (tmp_path / "table.csv").write_text("image\n1\n")
    assert "learnt from `MNIST`" in refusal(tmp_path / "table.csv")
    Image.new("L", (28, 28)).save(folder / "a.png")
    Image.new("RGBA", (30, 28)).save(folder / "b.png")
    assert "b.png: `image` is 1 x 28 x 30" in refusal(folder)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)).save(folder / "b.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:400])
    assert "b.png: it is not a whole image" in refusal(folder)
    np.savez(tmp_path / "x.npz", image=np.zeros((0, 1, 28, 28), np.uint8))
    assert "no samples" in refusal(tmp_path / "x.npz")
    (folder / "b.png").unlink()
    assert predict_run(copy, folder, out=good, device="cpu", progress=False).samples == 1
    assert good.read_text().startswith("file,class,probability\na.png,")


def test_predictions_replace_nothing_but_predictions(copy, pictures, tmp_path):
    folder, _ = pictures
    mine = tmp_path / "labels.csv"
    mine.write_text("file,label\n001.png,3\n")
    (tmp_path / "mine.npz").write_bytes(b"mine")
    for out, code in (
        (mine, "E0804"),
        (tmp_path / "mine.npz", "E0804"),
        (tmp_path / "none" / "out.csv", "E0804"),
        (tmp_path / "out.txt", "E0857"),
    ):
        before = out.read_bytes() if out.exists() else None
        assert refused(lambda out=out: predict_run(copy, folder, out=out, device="cpu", progress=False)).code == code
        assert before == (out.read_bytes() if out.exists() else None)


TABLES = """
data {
  train = Csv("flowers.csv", label="kind", classes=["rose", "tulip", "lily"])
    -> as (x: f32[2], size: f32, label: class(3))
  batch = 4
}
model Flowers(x: f32[N, 2]) -> (kind: f32[N, 3], size_is: f32[N, 1], twice: f32[N, 2]) {
  kind = Linear(3)
  size_is = x -> Linear(1)
  twice = 2 * x
}
train {
  epochs = 1, optimizer = SGD(lr=0.1)
  loss { kind = cross_entropy(kind, label), size = mse_loss(size_is, size -> unsqueeze(1)) }
}
log { tensorboard = false }
"""


def test_tables_need_only_the_columns_of_the_inputs(tmp_path):
    (tmp_path / "flowers.csv").write_text("a,b,size,kind\n" + "0.1,0.2,1.0,rose\n0.3,0.4,2.0,lily\n" * 4)
    (tmp_path / "flowers.exp").write_text(TABLES)
    run = expc.load(tmp_path / "flowers.exp").run(out=tmp_path / "run", device="cpu").directory
    (tmp_path / "new.csv").write_text("a,b\n0.5,0.6\n-1,2\n")
    (tmp_path / "whole.csv").write_text("size,kind,a,b\n?,?,0.5,0.6\n?,?,-1,2\n")
    x = torch.tensor([[0.5, 0.6], [-1, 2]])
    with torch.no_grad():
        expected = expc.load_run(run)(x)
    for name in ("new", "whole"):
        predicted = predict_run(run, tmp_path / f"{name}.csv", device="cpu", progress=False)
        assert predicted.role == "train"
        rows = table(predicted.file)
        assert list(rows[0]) == ["row", "kind.class", "kind.probability", "size_is", "twice[0]", "twice[1]"]
        names = ["rose", "tulip", "lily"]
        assert [row["kind.class"] for row in rows] == [names[i] for i in expected["kind"].argmax(1).tolist()]
        found = [[float(row[name]) for name in ("size_is", "twice[0]", "twice[1]")] for row in rows]
        assert torch.equal(torch.tensor(found), torch.cat([expected["size_is"], 2 * x], dim=1))
    (tmp_path / "short.csv").write_text("a\n0.5\n")
    assert refused(lambda: predict_run(run, tmp_path / "short.csv", device="cpu", progress=False)).code == "E0803"
    assert refused(lambda: predict_run(run, device="cpu", progress=False)).code == "E0854"


PICTURES = """
let small = Resize([8, 8]) -> ToTensor
data {
  train = ImageFolder("photos", classes=2) -> small
  test  = ImageFolder("photos", classes=2) -> RandomHorizontalFlip -> small
  predict = ImageFolder("photos", classes=2) -> small
  batch = 2
}
model Net(x: f32[N, 3, 8, 8]) -> f32[N, 2] { Flatten -> Linear(2) }
train { epochs = 1, optimizer = SGD(lr=0.1), loss = CrossEntropyLoss }
log { tensorboard = false }
"""


def test_classes_have_names_and_random_transforms_are_not_taken(tmp_path):
    from PIL import Image

    for number, kind in enumerate(("cat", "dog", "dog")):
        (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9 + number, 12), (80 * number, 0, 9)).save(tmp_path / "photos" / kind / f"{number}.jpg")
    (tmp_path / "photos.exp").write_text(PICTURES)
    run = expc.load(tmp_path / "photos.exp").run(out=tmp_path / "run", device="cpu").directory
    predicted = predict_run(run, device="cpu", progress=False)
    assert (predicted.role, predicted.samples) == ("predict", 3)
    rows = table(predicted.file)
    assert [Path(row["file"]).parts[-2:] for row in rows] == [("cat", "0.jpg"), ("dog", "1.jpg"), ("dog", "2.jpg")]
    assert {row["class"] for row in rows} <= {"cat", "dog"}

    only_random = PICTURES.replace("train = ImageFolder", "val = ImageFolder").replace("  predict", "  train  ")
    only_random = only_random.replace("-> small", "-> RandomHorizontalFlip -> small")
    (tmp_path / "photos.exp").write_text(only_random)
    run = expc.load(tmp_path / "photos.exp").run(out=tmp_path / "random", device="cpu").directory
    problem = refused(lambda: predict_run(run, tmp_path / "photos", device="cpu", progress=False))
    assert problem.code == "E0856"
    assert "`test` and `val` and `train`" in problem.message


def test_what_is_no_row_goes_to_arrays(tmp_path):
    text = """
data { train = FakeData(size=6, image_size=[1, 8, 8]) -> ToTensor, batch = 4 }
model Net(image: f32[N, 1, 8, 8]) -> (again: f32[N, 1, 8, 8], yes: f32[N]) {
  again = Conv2d(1, 3, padding=1)
  yes = image -> Flatten -> Linear(1) -> squeeze(1)
}
train {
  epochs = 1, optimizer = SGD(lr=0.1)
  loss { again = mse_loss(again, image), yes = binary_cross_entropy_with_logits(yes, label / 9) }
}
log { tensorboard = false }
"""
    run = expc.load(text=text).run(out=tmp_path / "run", device="cpu").directory
    np.savez(tmp_path / "in.npz", image=np.zeros((6, 1, 8, 8), np.uint8))
    problem = refused(lambda: predict_run(run, tmp_path / "in.npz", device="cpu", progress=False))
    assert problem.code == "E0857"
    assert "`again` is 1 x 8 x 8" in problem.message
    assert not (run / "predictions.csv").exists()
    predict_run(run, tmp_path / "in.npz", out=tmp_path / "out.npz", device="cpu", progress=False)
    with np.load(tmp_path / "out.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays.files} == {"again": (6, 1, 8, 8), "yes": (6,)}
