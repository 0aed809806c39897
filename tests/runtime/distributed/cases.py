"""Experiments whose losses, weights and metrics are those of one process, however many there are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from together import Job

ROOT = Path(__file__).parents[3]
COMMON = {
    "log.every": "1 steps",
    "log.tensorboard": False,
    "train.deterministic": True,
    "checkpoint.every": None,
}
POINTS = """
data {
  train = Tensors("train") -> as (x: f32[6], label: class(5), tokens: i64[3], y: f32[3], up: f32[5])
  val   = Tensors("val")   -> as (x: f32[6], label: class(5), tokens: i64[3], y: f32[3], up: f32[5])
  batch = 13
}
"""
NET = """
model Net(x: f32[N, 6]) -> (logits: f32[N, 5], steps: f32[N, 3, 5], values: f32[N, 3]) {
  h = (body: { Linear(8) -> Tanh -> Dropout(0.2) })
  logits = (h -> Linear(5))
  steps = (h -> Linear(15) -> reshape([N, 3, 5]))
  values = (h -> Linear(3))
}
"""
REDUCED = """
model Net(x: f32[N, 6]) -> (rows: f32[3 * N, 5], logits: f32[N, 5], centre: f32[5]) {
  h = (body: { Linear(15) -> Tanh -> Dropout(0.2) })
  rows = (h -> reshape([N, 3, 5]) -> flatten(0, 1))
  logits = (h -> Linear(5))
  centre = mean(logits, 0)
}
"""
SCALED = """
block Head(x: f32[N, 8]) -> f32[N, 8] { return x / sqrt(mean(square(x), 1, keepdim=true)) }
model Net(x: f32[N, 6]) -> f32[N, 5] { Linear(8, bias=false) -> BatchNorm1d -> Head -> Linear(5) }
"""
ONE = "model Net(x: f32[N, 6]) -> f32[N] { Linear(8) -> Tanh -> Linear(1) -> flatten }\n"
LOGITS = """
model Net(x: f32[N, 6]) -> f32[N, 5] { body: { Linear(8) -> BatchNorm1d -> Tanh -> Dropout(0.2) } -> head: Linear(5) }
"""
CONTRASTIVE = """
block NTXent(p: f32[N, C], q: f32[N, C], temperature: float) -> f32[] {
  z = cat([p, q], dim=0) -> normalize(dim=1)
  scores = z @ transpose(z, 0, 1) / temperature -> masked_fill(eye(2 * N) == 1, -1e9)
  cross_entropy(scores, cat([arange(N, 2 * N), arange(N)]))
}
model Two(x: f32[N, 6], up: f32[N, 5]) -> (p: f32[N, 4], q: f32[N, 4]) {
  p = (x -> Linear(8, bias=false) -> BatchNorm1d -> ReLU -> Linear(4))
  q = (up -> Linear(8, bias=false) -> BatchNorm1d -> ReLU -> Dropout(0.1) -> Linear(4))
}
"""
GAN = """
model Gan(x: f32[N, 6]) -> (real: f32[N], fake: f32[N]) {
  real = (x -> d: { Linear(8, bias=false) -> BatchNorm1d -> LeakyReLU(0.2) -> Linear(1) -> flatten })
  fake = (randn([N, 3]) -> g: { Linear(8, bias=false) -> BatchNorm1d -> ReLU -> Linear(6) } -> d)
}
block AsReal(scores: f32[N]) -> f32[] { mean(softplus(-scores)) }
block AsFake(scores: f32[N]) -> f32[] { mean(softplus(scores)) }
train {
  epochs = 2, optimizer = Adam(lr=1e-2), accumulate = 2
  group "d.*" { loss = (real -> AsReal) + (fake -> AsFake) }
  group "g.*" { loss = fake -> AsReal }
}
"""
SHARE = """
extern metric Share(): f32[N, K], class(K)[N] -> f32[] = "right:Share"
"""
RIGHT = """
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


def points(train: int = 29, val: int = 31) -> dict[str, dict[str, torch.Tensor]]:
    """Samples of batches of 13: with 29 of them the last batch has 3, fewer than there are processes."""
    return {name: _points(count, seed) for seed, (name, count) in enumerate((("train", train), ("val", val)))}


def _points(count: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, (count, 3), generator=draw)
    tokens[torch.rand(count, 3, generator=draw) < 0.4] = -100
    tokens[:, 0] = 1
    return {
        "x": torch.randn(count, 6, generator=draw),
        "label": torch.randint(5, (count,), generator=draw),
        "tokens": tokens,
        "y": torch.randn(count, 3, generator=draw),
        "up": torch.rand(count, 5, generator=draw).softmax(1),
    }


def digits(count: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 28, 28), generator=draw, dtype=torch.uint8)
    return {"image": images, "label": torch.randint(10, (count,), generator=draw)}


def job(name: str, file: str, data: Any = None, **settings: Any) -> Job:
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return Job(name, file, {**COMMON, **given}, points() if data is None else data)


def learning(train: str, *, net: str = NET, more: str = "") -> str:
    return f"{more}{POINTS}{net}train {{ epochs = 2, optimizer = SGD(lr=0.1, momentum=0.9)\n{train}\n}}\n"


ONLY_DDP = {"turns", "thawed", "searching", "unused", "one graph", "views", "unreached"}
"""What does not go with fsdp, or is about settings of ddp."""
BY_FOUR = {
    "mnist",
    "gpt",
    "vae",
    "weighted",
    "root in parts",
    "contrastive in parts",
    "turns",
    "idle",
    "measured",
    "few in val",
}
"""What four processes do too: some of them have no sample of some parts, or no batch."""
TEXT = (ROOT / "examples" / "tinyshakespeare.txt").read_text()[:900]
MEASURED = """
loss = cross_entropy(output, label), accumulate = 2
metrics {
  share = Share, accuracy = Accuracy, f1 = F1Score(average="macro"), auroc = AUROC, table = ConfusionMatrix
  margin = mean(amax(output, 1)), exact = AUROC(thresholds=none)
}
"""


def write(folder: Path) -> None:
    """What experiments read."""
    (folder / "small.txt").write_text(TEXT)
    (folder / "right.py").write_text(RIGHT)
    (folder / "measured.exp").write_text(learning(MEASURED, net=LOGITS, more=SHARE))


def every(folder: Path = Path()) -> dict[int, list[Job]]:
    """All experiments, by the number of processes that run them; `folder` has what they read."""
    jobs = [*of_examples(folder), *of_losses(), *of_training(), measured(folder), compared(), *of_ddp()]
    by_four = [each for each in jobs if each.name in BY_FOUR]
    return {
        1: jobs,
        2: [*jobs, *(sharded(each) for each in jobs if each.name not in ONLY_DDP)],
        4: [*by_four, *(sharded(each) for each in by_four if each.name in ("root in parts", "few in val"))],
    }


def sharded(job: Job) -> Job:
    """The same with fsdp."""
    return replace(job, name=f"{job.name}, fsdp", settings={**(job.settings or {}), "distributed.strategy": "fsdp"})


def of_examples(folder: Path) -> list[Job]:
    """The examples, on less data and with smaller networks."""
    mnist, gpt, vae = ((ROOT / "examples" / f"{name}.exp").read_text() for name in ("mnist", "gpt", "vae"))
    given = 'Tensors("{}") -> as (image: u8[1, 28, 28], label: class(10))'
    held = f"fit = {given.format('train')}\n  held = {given.format('val')}"
    mnist = mnist.replace('fit, held = MNIST("data", download=true) -> split(0.9)', held)
    mnist = mnist.replace('MNIST("data", train=false, download=true)', given.format("val"))
    vae = vae.replace('MNIST("data", download=true)', given.format("train"))
    vae = vae.replace('MNIST("data", train=false, download=true)', given.format("val"))
    gpt = gpt.replace("tinyshakespeare.txt", str(folder / "small.txt"))
    images = {"train": digits(29, 1), "val": digits(20, 2)}
    short = {"train__epochs": 2, "train__schedule": None, "data__batch": 13}
    small = {"vocab": len(set(TEXT)), "context": 16, "width": 8, "heads": 2, "depth": 2, "train__steps": 5}
    return [
        job("mnist", mnist, images, **short, train__accumulate=2, distributed__sync_batchnorm=True),
        job("gpt", gpt, {}, **small, data__batch=13, train__accumulate=3, train__precision="f32", train__schedule=None),
        job("vae", vae, images, **short, train__accumulate=2, train__clip="norm(0.5)"),
    ]


def of_losses() -> list[Job]:
    """Losses that are added up in one way or another."""
    weighted = "((logits, label) -> CrossEntropyLoss(weight=[1, 2, 1, 3, 0.5], ignore_index=2, label_smoothing=0.2))"
    tokens = "cross_entropy(steps -> flatten(0, 1), tokens -> flatten)"
    rows = "cross_entropy(rows, tokens -> flatten)"
    rest = " + mean(square(values - y))"
    pairs = points(train=30)  # batch norm takes no part of one sample
    twice = CONTRASTIVE + "train { epochs = 2, loss = (p, q) -> NTXent(0.2), optimizer = AdamW(lr=1e-2) }"
    return [
        job("weighted", learning(f'loss = {weighted} + {tokens}{rest} + 0.1 * l2(weights("*.weight"))')),
        job(
            "terms", learning(f"accumulate = 2\nloss {{ a = {weighted}, b = {tokens}, c = mean(square(values - y)) }}")
        ),
        job("root", learning(f"loss = sqrt(mse_loss(values, y)) + {weighted} + {tokens}")),
        job(
            "root in parts",
            learning(
                f'accumulate = 3\nloss = sqrt(mse_loss(values, y)) * {tokens} + {weighted} + l2(weights("*.bias"))'
            ),
        ),
        job(
            "reduced", learning(f"accumulate = 2\nloss = sqrt({rows}) + sum(square(centre)) + {weighted}", net=REDUCED)
        ),
        job("contrastive", POINTS + twice, distributed__sync_batchnorm=True),
        job("contrastive in parts", POINTS + twice, pairs, distributed__sync_batchnorm=True, train__accumulate=2),
        job("idle", learning("loss = cross_entropy(output, label)", net=SCALED), distributed__sync_batchnorm=True),
        job("turns", POINTS + GAN, pairs, distributed__sync_batchnorm=True),
    ]


def of_training() -> list[Job]:
    """Ways to learn."""
    simple = "loss = cross_entropy(logits, label) + mse_loss(values, y)"
    simple += " + cross_entropy(steps -> flatten(0, 1), tokens -> flatten)"
    logits = learning("loss = cross_entropy(output, label), clip = value(0.01)", net=LOGITS)
    sampled = logits.replace("batch = 13", 'batch = 13, sampler = WeightedRandomSampler("balanced")')
    mixed = 'Tensors("train") -> as (x: f32[1, 2, 3], label: class(5)) -> MixUp(num_classes=5)'
    images = {"x": points()["train"]["x"].reshape(-1, 1, 2, 3), "label": points()["train"]["label"]}
    mixing = f"data {{ train = {mixed}\n batch = 13 }}\n"
    mixing += "model Net(x: f32[N, 1, 2, 3]) -> f32[N, 5] { Flatten -> Linear(5) }\n"
    mixing += "train { epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 2 }"
    return [
        job("thawed", learning(f'{simple}\nfreeze = ["body.*"] for 2 steps, ema = 0.9')),
        job(
            "searching",
            learning(f'{simple}\noptimizer = LBFGS(max_iter=4, line_search_fn="strong_wolfe")').replace(
                "optimizer = SGD(lr=0.1, momentum=0.9)\n", ""
            ),
        ),
        job("sampled", sampled, distributed__sync_batchnorm=True),
        job("mixed", mixing, {"train": images}),
        job("recomputed", learning(f'{simple}\nrecompute = ["body"], accumulate = 2')),
        job("few in val", learning(simple), points(train=14, val=5)),
    ]


def measured(folder: Path) -> Job:
    """Metrics of training and of validation."""
    return job("measured", str(folder / "measured.exp"), points(train=30), distributed__sync_batchnorm=True)


def compared() -> Job:
    """Metrics that torchmetrics cannot add up, in several steps."""
    names = ("R2Score", "PearsonCorrCoef", "SpearmanCorrCoef")
    table = ", ".join(f"{name.lower()} = (output, y -> mean(1)) -> {name}" for name in names)
    return job("compared", learning(f"loss = mse_loss(output, y -> mean(1))\nmetrics {{ {table} }}", net=ONE))


def interrupted(folder: Path, name: str, *, stop: int | None = None, on: str | None = None, **settings: Any) -> Job:
    """A run with metrics of training that ends after a step, or goes on; `folder` has what it reads."""
    made = measured(folder)
    given = {"train.epochs": 3, "train.accumulate": 1, "log.every": "2 steps"}
    more = {key.replace("__", "."): value for key, value in settings.items()}
    return replace(made, name=name, settings={**(made.settings or {}), **given, **more}, stop=stop, on=on)


def of_ddp() -> list[Job]:
    """Settings of ddp, and what it must be told of."""
    simple = "loss = cross_entropy(logits, label) + mse_loss(values, y)"
    return [
        job("unreached", learning(f"{simple}\naccumulate = 2")),
        job("unused", learning(simple), distributed__strategy="ddp", distributed__find_unused_parameters=True),
        job(
            "one graph",
            learning("loss = cross_entropy(output, label)", net=LOGITS),
            distributed__static_graph=True,
            distributed__sync_batchnorm=True,
        ),
        job(
            "views",
            learning("loss = cross_entropy(output, label)", net=LOGITS),
            points(train=30),
            distributed__gradient_as_bucket_view=True,
            distributed__bucket_cap_mb=1,
            distributed__sync_batchnorm=True,
            train__accumulate=2,
        ),
    ]
