"""Python code of an `extern`, built and run: taken from beside the file, and held to its declaration."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import expc
from expc.diagnostics import ProblemError

LAYERS = """
import torch
from torch import nn
from .helpers import factor

class Widen(nn.Module):
    def __init__(self, times, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(times))
        self.bias = nn.Parameter(torch.zeros(())) if bias else None

    def forward(self, x):
        return torch.cat([x * w * factor for w in self.weight], dim=-1)

def pair(a, b, scale):
    return {"difference": (a - b) * scale, "sum": a + b}

def wrong(x):
    return x[:, 1:]

def fails(size):
    raise ValueError("no size is good")

number = 3
"""

NET = """
extern layer Widen(times: int, bias: bool = true): f32[N, T, C] -> f32[N, T, times * C] = "mine.layers:Widen"
extern layer Pair(scale: float): f32[*S], f32[*S] -> (sum: f32[*S], difference: f32[*S]) = "mine.layers:pair"

model Net(x: f32[N, T, 2]) -> f32[N, T, 6] {
  wide: Widen(3, bias=false)
  a, b = (flow, 2 * flow) -> Pair(0.5)
  init "wide.weight" = constant(2.0)
  return a + b
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "layers.py").write_text(LAYERS)
    (package / "helpers.py").write_text("factor = 2.0\n")
    return tmp_path


def load(folder: Path, text: str) -> expc.Experiment:
    path = folder / "net.exp"
    path.write_text(text)
    return expc.load(path)


def refused(folder: Path, layer: str, body: str) -> tuple[str, str]:
    """The code and the message of what building a model of one `extern`, and calling it, raises."""
    text = f"extern layer {layer}\nmodel Net(x: f32[N, T, 2]) -> f32[N, T, 2] {{ {body} }}\n"
    with pytest.raises(ProblemError) as found:
        load(folder, text).build()(torch.ones(3, 4, 2))
    return found.value.problem.code, found.value.problem.message


def test_layers_are_made_and_run_as_declared(folder: Path) -> None:
    before = list(sys.path)
    net = load(folder, NET).build(seed=0)
    assert sys.path == before
    assert list(net.state_dict()) == ["wide.weight"]
    x = torch.rand(3, 4, 2)
    wide = torch.cat([4 * x] * 3, dim=-1)
    assert torch.equal(net(x), 3 * wide - 0.5 * wide)
    assert {code[0] for code in load(folder, NET).program.python} == {"mine.layers"}
    saved = io.BytesIO()
    torch.save(net, saved)
    saved.seek(0)
    assert torch.equal(torch.load(saved, weights_only=False)(x), net(x))
    assert torch.equal(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))


def test_two_folders_may_hold_modules_of_one_name(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = 'extern layer F(): f32[N] -> f32[N] = "own:f"\nmodel Net(x: f32[N]) -> f32[N] { F }\n'
    for factor in (2, 3):
        other = tmp_path_factory.mktemp("other")
        (other / "own.py").write_text(f"def f(x): return x * {factor}\n")
        assert load(other, text).build()(torch.ones(2)).tolist() == [factor, factor]


@pytest.mark.parametrize(
    ("layer", "body", "code", "told"),
    [
        ('F(): f32[N, T, C] -> f32[N, T, C] = "absent.layers:F"', "F", "E0703", "there is no module `absent`"),
        ('F(): f32[N, T, C] -> f32[N, T, C] = "mine.layers:Widden"', "F", "E0703", "did you mean `Widen`?"),
        ('F(): f32[N, T, C] -> f32[N, T, C] = "mine.broken:F"', "F", "E0703", "ZeroDivisionError"),
        ('F(width: int): f32[N, T, C] -> f32[N, T, C] = "mine.layers:Widen"', "F(2)", "E0704", "'times'"),
        ('F(size: int): f32[N, T, C] -> f32[N, T, C] = "mine.layers:fails"', "F(2)", "E0704", "no size is good"),
        ('F(): f32[N, T, C] -> f32[N, T, C] = "mine.layers:number"', "F", "E0705", "is a `int`, not a class"),
        ('F(): f32[N, T, C] -> f32[N, T, C] = "collections:Counter"', "F", "E0705", "makes a `Counter`"),
        (
            'F(): f32[N, T, C] -> f32[N, T, C] = "mine.layers:wrong"',
            "F",
            "E0706",
            "f32[3, 4, 2], but gave f32[3, 3, 2]",
        ),
        ('F(): f32[N, T, C] -> i64[N, T, C] = "torch.nn:ReLU"', "F -> f32", "E0706", "i64[3, 4, 2], but gave f32"),
        ('F(): f32[N, T, C] -> f32[N, T, C] = "torch:min"', "F", "E0706", "gave f32[]"),
        (
            'F(): f32[N, T, C] -> (a: f32[N, T, C], b: f32[N, T, C]) = "torch.nn:ReLU"',
            "a, b = F; a + b",
            "E0706",
            "gave f32[3, 4, 2]",
        ),
    ],
)
def test_code_that_is_not_what_is_declared_is_refused(
    folder: Path, layer: str, body: str, code: str, told: str
) -> None:
    (folder / "mine" / "broken.py").write_text("1 / 0\n")
    found, message = refused(folder, layer, body)
    assert found == code, message
    assert told in message
    assert str(folder) not in sys.path


TRAIN = """
extern loss Smooth(k: float): f32[N, K], class(K)[N] -> f32[] = "learn:smooth"
extern metric Share(): f32[N, K], class(K)[N] -> f32[] = "learn:Share"
extern optimizer Plain(lr: float = 1e-2, momentum: float = 0.0) = "torch.optim:SGD"
extern schedule Stairs(step_size: int, gamma: float = 0.5) = "torch.optim.lr_scheduler:StepLR"

data {
  train = FakeData(size=24, image_size=[1, 4, 4], num_classes=3) -> ToTensor
  val   = FakeData(size=16, image_size=[1, 4, 4], num_classes=3) -> ToTensor
  batch = 8
}
model Net(x: f32[N, 1, 4, 4]) -> f32[N, 3] { Flatten -> Linear(3) }
train {
  epochs = 2, seed = 3
  loss = Smooth(0.1), optimizer = Plain(lr=0.1), schedule = Stairs(2), metrics = [Share, Accuracy]
}
"""

LEARN = """
from torch.nn.functional import cross_entropy

def smooth(output, target, k):
    return cross_entropy(output, target, label_smoothing=k)

class Share:
    def __init__(self):
        self.reset()

    def reset(self):
        self.right = self.seen = 0

    def update(self, output, target):
        self.right += int((output.argmax(1) == target).sum())
        self.seen += len(target)

    def compute(self):
        return self.right / self.seen
"""


def test_an_experiment_of_python_code_learns_as_one_of_torch(tmp_path: Path) -> None:
    (tmp_path / "learn.py").write_text(LEARN)
    own = load(tmp_path, TRAIN).run(out=tmp_path / "own", device="cpu").metrics
    replaced = TRAIN.replace("Smooth(0.1)", "CrossEntropyLoss(label_smoothing=0.1)").replace("= Plain(", "= SGD(")
    same = load(tmp_path, replaced.replace("= Stairs(2)", "= StepLR(2 steps, gamma=0.5)"))
    torchs = same.run(out=tmp_path / "torch", device="cpu").metrics
    assert own == torchs
    sources = {path.name for path in (tmp_path / "own" / "sources").iterdir()}
    assert sources == {"net.exp", "learn.py"}
    assert (tmp_path / "own" / "sources" / "learn.py").read_text() == LEARN
    assert own["val.share"] == pytest.approx(own["val.accuracy"])


def test_checking_imports_nothing_that_a_file_names(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\nf = abs\n")
    path = tmp_path / "net.exp"
    path.write_text('extern layer F(): f32[N] -> f32[N] = "loud:f"\nmodel Net(x: f32[N]) -> f32[N] { F }\n')
    for command in ("check", "summary"):
        subprocess.run(
            [sys.executable, "-m", "expc", command, str(path)], check=True, capture_output=True, cwd=tmp_path
        )
        assert not (tmp_path / "imported").exists()
    assert "F (Python)" in expc.load(path).summary()
    expc.load(path).build()
    assert (tmp_path / "imported").exists()


DATA = """
import random
import numpy as np
import torch

class Faces:
    def __init__(self, count, kind="tuple"):
        self.count, self.kind = count, kind

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.full((3, 4, 4), index, dtype=np.uint8)
        if self.kind == "late" and index == 9:
            raise OSError("the disk is gone")
        if self.kind == "large" and index == 9:
            return image, 7
        if self.kind == "wide":
            return image[:, :, :3], 0
        return {"label": index % 3, "image": image} if self.kind == "dict" else (image, index % 3)

class Noise:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, image):
        drawn = torch.rand(()) + random.random() + np.random.rand()
        return image / 255 + self.scale * drawn.float()

def half(image):
    return image[:, ::2]

def wrong(image):
    return image.double()
"""

FACES = """
extern dataset Faces(count: int, kind: str = "tuple"): (image: u8[3, 4, 4], label: class(3)) * count = "faces:Faces"
extern transform Noise(scale: float): u8[C, H, W] -> f32[C, H, W] = "faces:Noise"
extern transform Half(): f32[C, H, W] -> f32[C, H / 2, W] = "faces:half"
extern transform Wrong(): f32[C, H, W] -> f32[C, H, W] = "faces:wrong"

data {
  train   = Faces(12) -> Noise(0.5) -> Half
  batch   = 4
  workers = 0
}
model Net(x: f32[N, 3, 2, 4]) -> f32[N, 3] { Flatten -> Linear(3) }
train { epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), seed = 1 }
"""


def test_data_of_python_code_is_the_same_whoever_reads_it(tmp_path: Path) -> None:
    (tmp_path / "faces.py").write_text(DATA)
    first = load(tmp_path, FACES).run(out=tmp_path / "a", device="cpu").metrics
    for number, change in enumerate([("workers = 0", "workers = 2"), ("Faces(12)", 'Faces(12, "dict")')]):
        again = load(tmp_path, FACES.replace(*change)).run(out=tmp_path / f"b{number}", device="cpu").metrics
        assert again == first


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("* count", "* 13"), "is declared to give 13 samples, but gave 12"),
        (("Faces(12)", 'Faces(12, "wide")'), "image: u8[3, 4, 4], but gave u8[3, 4, 3] as item 0"),
        (("Faces(12)", 'Faces(12, "large")'), "label: class(3), but gave class 7 as item 9"),
        (("Faces(12)", 'Faces(12, "late")'), "the disk is gone"),
        (("label: class(3)", "label: class(3), name: i64[]"), "a sample (image, label, name), but gave a tuple of 2"),
        (("-> Half", "-> Half -> Wrong"), "declared to give f32[3, 2, 4], but gave f64[3, 2, 4]"),
    ],
)
def test_data_that_is_not_what_is_declared_ends_the_run(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    (tmp_path / "faces.py").write_text(DATA)
    experiment = load(tmp_path, FACES.replace(*change))
    assert not experiment.problems
    with pytest.raises(ProblemError) as found:
        experiment.run(out=tmp_path / "run", device="cpu")
    assert told in found.value.problem.message
