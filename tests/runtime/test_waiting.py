"""Between log points a run does not wait for the device: it asks for no number, nor for what has a size by one.

On the CPU nothing waits. What would wait on a GPU is counted by the operators that are called and, since some ways of
reading a tensor on the CPU are no operator, by the methods of tensors.
"""

import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from expc.compiler.session import check_text
from expc.runtime import loop, measures, run

READING = ("item", "tolist", "cpu", "numpy", "__array__", "__float__", "__int__", "__bool__", "__index__")
ATEN = torch.ops.aten
WAITING = frozenset(
    {
        ATEN._local_scalar_dense,
        ATEN.is_nonzero,
        ATEN.equal,
        ATEN.nonzero,
        ATEN.masked_select,
        ATEN._unique2,
        ATEN.unique_dim,
        ATEN.unique_consecutive,
        ATEN.bincount,
        ATEN.repeat_interleave,
    }
)
PARTS = ("log", "finish_epoch")
"""What of the loop may wait."""


class Waits(TorchDispatchMode):
    """Counts what waits for the device, by the part of the loop that it happens in."""

    def __init__(self):
        super().__init__()
        self.where = "step"
        self.counted = Counter()
        self.calls = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in WAITING or self.by_mask(function, args):
            self.counted[self.where, function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))

    @staticmethod
    def by_mask(function, args):
        """Whether a tensor is indexed by truth values: how many are true decides the shape."""
        if function.overloadpacket not in (ATEN.index, ATEN.index_put, ATEN.index_put_):
            return False
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])

    def watch(self, monkeypatch):
        """Count while a run trains."""
        for name in READING:
            monkeypatch.setattr(torch.Tensor, name, self.reading(name, getattr(torch.Tensor, name)))
        for name in PARTS:
            monkeypatch.setattr(loop, name, self.part(name, getattr(loop, name)))
        train = loop.train

        def watched(training):
            with self:
                train(training)
            self.where = "after"

        monkeypatch.setattr(run, "train", watched)
        self.where = "before"
        monkeypatch.setattr(loop, "learn", self.begun(loop.learn))

    def reading(self, name, method):
        def counted(tensor, *args, **kwargs):
            # Another thread writes what is kept, beside training.
            if threading.current_thread() is threading.main_thread():
                self.counted[self.where, name] += 1
            return method(tensor, *args, **kwargs)

        return counted

    def part(self, name, function):
        def inside(*args):
            before, self.where = self.where, name
            self.calls[name] += 1
            function(*args)
            self.where = before

        return inside

    def begun(self, learn):
        def step(*args):
            self.where = "step"
            learn(*args)

        return step

    def within(self, where):
        """What waited there, by its name."""
        return {name: count for (place, name), count in self.counted.items() if place == where}


EXPERIMENT = """
extern loss Mine(): f32[N, K], class(K)[N] -> f32[] = "waiting:loss"
extern metric Share(): f32[N, K], class(K)[N] -> f32[] = "waiting:Share"
data {{
  images = FakeData(size=80, image_size=[1, 4, 4], num_classes=4) -> ToTensor -> Normalize([0.5], [0.5])
  train = images -> RandomHorizontalFlip
  val   = images
  batch = 8
}}
model Net(image: f32[N, 1, 4, 4]) {{
  Flatten -> Linear(8) -> BatchNorm1d -> ReLU -> Dropout(0.1) -> Linear(4)
}}
train {{
  steps = 20, optimizer = AdamW(lr=1e-3), clip = norm(1.0), ema = 0.9, accumulate = {accumulate}
  schedule = LinearLR(start_factor=0.1) for 5 steps -> CosineAnnealingLR
  {rest}
}}
checkpoint {{ every = none }}
log {{ every = 4 steps, tensorboard = false }}
"""
CODE = """
import torch
from torch.nn.functional import cross_entropy

def loss(output, target):
    loss = cross_entropy(output, target)
    {read}
    return loss

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


def waits(monkeypatch, folder: Path, rest: str, accumulate=1, read="pass") -> Waits:
    (folder / "waiting.py").write_text(CODE.format(read=read))
    text = EXPERIMENT.format(rest=rest, accumulate=accumulate)
    checked = check_text(text, str(folder / "net.exp"))
    assert not checked.has_errors, checked.problems
    counting = Waits()
    with monkeypatch.context() as patched:
        counting.watch(patched)
        patched.setattr(measures, "HELD", 64)  # so that metrics take in what waits for them every other step
        run.run(checked.program, out=folder / "run", device="cpu", progress=False)
    assert counting.calls == {"log": 5, "finish_epoch": 2}
    return counting


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    "loss", ["loss = CrossEntropyLoss", "loss { a = cross_entropy(output, target), b = mean(output ** 2) }"]
)
def test_steps_wait_for_nothing_and_log_points_once(monkeypatch, tmp_path, loss, accumulate):
    found = waits(monkeypatch, tmp_path, f"{loss}, metrics = [Accuracy, F1Score]", accumulate)
    assert found.within("step") == {}
    assert found.within("log") == {"tolist": 5}


@pytest.mark.parametrize(
    ("read", "operator"),
    [
        ("loss.item()", "item"),
        ("float(loss.detach())", "__float__"),
        ("print(end='') if loss > 0 else 1", "__bool__"),
        ("loss.tolist()", "tolist"),
        ("loss.cpu()", "cpu"),
        ("loss.detach().numpy()", "numpy"),
        ("output.nonzero()", "nonzero"),
        ("torch.equal(output, output)", "equal"),
        ("output[output > 0]", "index"),
        ("[0][target[0] * 0]", "__index__"),
        ("torch.ones(3)[loss.long() * 0]", "_local_scalar_dense"),
    ],
)
def test_a_loss_that_waits_is_found(monkeypatch, tmp_path, read, operator):
    found = waits(monkeypatch, tmp_path, "loss = Mine()", read=read)
    assert found.within("step").get(operator) == 20


def test_a_metric_that_waits_is_found(monkeypatch, tmp_path):
    found = waits(monkeypatch, tmp_path, "loss = CrossEntropyLoss, metrics = [Share]")
    assert found.within("step")["__int__"] == 20
