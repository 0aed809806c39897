"""Runs that are killed again and again, and what comes of them: the run that was never killed, byte for byte.

    python benchmarks/faults.py --kills 200                        # mnist.exp's network with augmentation and dropout
    python benchmarks/faults.py --kills 200 --model gpt --set train.accumulate=4 --set train.precision=bf16
    python benchmarks/faults.py --kills 60 --set data.workers=2 --set data.path=workers
    python benchmarks/faults.py --overhead                         # what a checkpoint every 50 steps costs

A life begins with `expc run FILE --out DIR --resume auto` in a process of its own, forked from one that has imported
torch already (`--fresh` starts a new interpreter each time), and ends with SIGKILL: a third of them while a checkpoint
is written, pruned or pointed at, a third at any moment since the life began, a third at any moment of training and
evaluation. After each, no checkpoint may be damaged. The last life is let live. Then weights, best weights,
`metrics.jsonl`, the tensors of the last checkpoint and TensorBoard's points must be those of the run that was never
killed.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from expc.cli import invoke
from expc.frozen import dataclass, field

ROOT = Path(__file__).parents[1]
COMMON = """
checkpoint { every = EVERY steps, keep = 2 }
log { every = 7 steps, graph = false }
"""
MNIST = """
data {
  fit, held, _ = MNIST("data") -> split(0.12, 0.04)
  train = fit -> RandomCrop(28, padding=2) -> RandomErasing(p=0.3) -> ToTensor -> Normalize([0.1307], [0.3081])
  val   = held -> ToTensor -> Normalize([0.1307], [0.3081])
  test  = MNIST("data", train=false) -> ToTensor -> Normalize([0.1307], [0.3081])
  batch = 16
}

model LeNet(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
  repeat 2 as i {
    Conv2d(WIDTH * 2 ** i, 3, padding=1, bias=false) -> BatchNorm2d -> ReLU -> MaxPool2d(2)
  }
  Flatten -> Dropout(0.25)
  Linear(32) -> ReLU
  Linear(10)
}

train {
  steps     = STEPS
  loss      = CrossEntropyLoss(label_smoothing=0.1)
  optimizer = AdamW(lr=2e-3, weight_decay=0.01)
  schedule  = LinearLR(start_factor=0.1) for 20 steps -> CosineAnnealingLR
  metrics   = [Accuracy, AUROC]
  clip      = norm(1.0)
  ema       = 0.98
  seed      = 42
  deterministic = true
}
"""
GPT = """
let width = WIDTH * 8
data {
  fit, held = Text("tinyshakespeare.txt", tokens="char", vocab=VOCAB, window=32) -> split(0.9, shuffle=false)
  train = fit
  val   = held
  batch = 16
}

block Attention(x: f32[N, T, C]) {
  q, k, v = Linear(3 * C) -> rearrange("n t (three h d) -> three n h t d", three=3, h=2) -> unbind(0)
  scaled_dot_product_attention(q, k, v, is_causal=true, dropout_p=0.1)
  rearrange("n h t d -> n t (h d)") -> Linear(C) -> Dropout(0.1)
}

block Layer(x: f32[N, T, C]) {
  flow + (LayerNorm -> Attention)
  flow + (LayerNorm -> Linear(4 * C) -> GELU -> Linear(C) -> Dropout(0.1))
}

model GPT(tokens: i64[N, T]) -> f32[N, T, VOCAB] where T <= 32 {
  positions = arange(T)
  (tokens -> wte: Embedding(VOCAB, width)) + (positions -> wpe: Embedding(32, width)) -> Dropout(0.1)
  repeat 2 { Layer }
  LayerNorm
  head: Linear(VOCAB, bias=false, weight=wte.weight)
}

train {
  steps     = STEPS
  loss      = cross_entropy(output -> flatten(0, 1), target -> flatten)
  optimizer = AdamW(lr=1e-3, betas=[0.9, 0.99])
  group "*.bias" { weight_decay = 0 }
  schedule  = LinearLR(start_factor=0.01) for 20 steps -> CosineAnnealingLR(eta_min=1e-4)
  clip      = norm(1.0)
  seed      = 7
  deterministic = true
}
"""


@dataclass
class Found:
    """What a campaign has seen."""

    kills: Counter[str] = field(default_factory=Counter)
    steps: list[int] = field(default_factory=list)
    """The steps that lives went on from."""
    different: list[str] = field(default_factory=list)


def experiment(folder: Path, model: str, steps: int, every: int, width: int) -> Path:
    """The file of a campaign, and its data, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = {"mnist": MNIST, "gpt": GPT}[model] + COMMON
    read = shakespeare()[:40_000]
    for name, value in {"STEPS": steps, "EVERY": every, "WIDTH": width, "VOCAB": len(set(read))}.items():
        text = text.replace(name, str(value))
    path = folder / f"{model}.exp"
    path.write_text(text)
    link = folder / "data"
    if not link.exists():
        link.symlink_to(ROOT / "examples" / "data")
    text_file = folder / "tinyshakespeare.txt"
    if model == "gpt" and not text_file.exists():
        text_file.write_bytes(read)
    return path


def shakespeare() -> bytes:
    """The text that the GPT learns: the well-known one where it lies about, else one of the same characters."""
    for path in (ROOT.parent / "shared" / "data" / "tinyshakespeare.txt", ROOT / "examples" / "tinyshakespeare.txt"):
        if path.is_file():
            return path.read_bytes()
    letters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(random.Random(0).choices(letters, k=200_000)).encode()


def life(arguments: list[str], log: Path, fresh: bool) -> int:
    """Begin `expc` with these arguments in another process; its id."""
    if fresh:
        with log.open("ab") as stream:
            return subprocess.Popen([sys.executable, "-m", "expc", *arguments], stdout=stream, stderr=stream).pid
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with log.open("ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        status = invoke(arguments)
    finally:
        os._exit(status)


def ended(child: int) -> int | None:
    """The exit status of a life that is over: negative where a signal ended it."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def wait(child: int, until: Callable[[], bool]) -> bool:
    """Wait until something is so; false where the life is over before."""
    while not until():
        if ended(child) is not None:
            return False
        time.sleep(0.001)
    return True


def saving(out: Path) -> bool:
    """Whether a checkpoint is being written, or removed."""
    try:
        return any(entry.name.startswith(".step-") for entry in os.scandir(out / "checkpoints"))
    except FileNotFoundError:
        return False


def end_life(child: int, how: str, out: Path, log: Path, begun: int, draw: random.Random) -> bool:
    """Kill a life in one of the three ways; false where it was over before."""

    def trains() -> bool:
        said = log.read_bytes()[begun:]
        return b"\n  run  " in said or b"going on from" in said

    if how == "while starting":
        time.sleep(draw.random() * 1.5)
    elif not wait(child, trains):
        return False
    elif how == "while saving":
        for _ in range(draw.randint(0, 2)):
            if not (wait(child, lambda: saving(out)) and wait(child, lambda: not saving(out))):
                return False
        if not wait(child, lambda: saving(out)):
            return False
        time.sleep(draw.random() * 0.01)
    else:
        time.sleep(draw.random() * 0.6)
    if ended(child) is not None:
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def points(out: Path) -> list[tuple[str, int, list[float]]]:
    """What TensorBoard shows, in the order in which it was written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted((out / "tensorboard").glob("events*"), key=lambda path: int(path.name.split(".")[3]))
    return [
        (value.tag, event.step, list(value.tensor.float_val))
        for path in files
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if "hparams" not in value.tag
    ]


def differences(whole: Path, parts: Path) -> list[str]:
    """What is not the same in two runs."""
    last = max(path.name for path in (whole / "checkpoints").glob("step-*"))
    names = ["final.safetensors", "best.safetensors", "metrics.jsonl"]
    names += [f"checkpoints/{last}/{name}.safetensors" for name in ("model", "optimizer", "random")]
    found = [
        name
        for name in names
        if (whole / name).exists() != (parts / name).exists()
        or ((whole / name).exists() and (whole / name).read_bytes() != (parts / name).read_bytes())
    ]
    return found + (["tensorboard"] if sorted(points(whole)) != sorted(points(parts)) else [])


def campaign(folder: Path, path: Path, settings: list[str], kills: int, seed: int, fresh: bool) -> Found:
    """Kill one run `kills` times, let it end, and compare."""
    from expc.runtime.checkpoint.loading import newest

    found, draw = Found(), random.Random(seed)
    whole, out, log = folder / "whole", folder / "killed", folder / "log"
    options = ["--device", "cpu", *(part for one in settings for part in ("--set", one))]
    log.write_bytes(b"")
    child = life(["run", str(path), "--out", str(whole), *options], log, fresh)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(log.read_text())
    while True:
        begun = len(log.read_bytes())
        child = life(["run", str(path), "--out", str(out), "--resume", "auto", *options], log, fresh)
        if sum(found.kills.values()) == kills:
            _, status = os.waitpid(child, 0)
            break
        how = ("while saving", "while starting", "at any moment")[sum(found.kills.values()) % 3]
        if not end_life(child, how, out, log, begun, draw):
            status = 0  # it came to its end: there was nothing left to kill
            break
        found.kills[how] += 1
        search = newest(out / "checkpoints") if (out / "checkpoints").exists() else None
        if search is not None:
            found.different += [f"after a kill {how}: {name} {reason}" for name, reason in search.damaged]
            found.steps.append(0 if search.saved is None else search.saved.step)
        sys.stderr.write(f"\r{sum(found.kills.values())} kills, step {found.steps[-1] if found.steps else 0} ")
    said = log.read_text()
    # Workers whose run was killed may complain, in Python's own words, before they go.
    if status or "mistake in expc" in said:
        found.different.append(f"a life failed: {said[-3000:]}")
    else:
        found.different += differences(whole, out)
    return found


CLOCKS = {
    "wall": time.perf_counter,
    "CPU of training": time.thread_time,
    "CPU of all threads": time.process_time,
}


def overhead(folder: Path, model: str, rounds: int, width: int, steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a training step with a checkpoint every 50 steps, beside and within training, and with none.

    By three clocks: wall time is that of everybody on the machine; the CPU time of the thread that trains has what it
    waits with copying, and that of all threads the whole work. Rounds take turns; what counts is the median.
    """
    cases = {"none": ("none", "true"), "beside training": ("50 steps", "true"), "within it": ("50 steps", "false")}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    path = experiment(folder, model, steps, 50, width)
    # Training alone: nothing is held back for validation.
    text = re.sub(r"(?m)^  fit, held.*= (.*) -> split.*$", r"  fit = \1", path.read_text())
    path.write_text(re.sub(r"(?m)^  (val|test) .*\n", "", text))
    for number in range(rounds):
        for name, (every, beside) in cases.items():
            out, log = folder / f"{name}-{number}", folder / "log"
            sets = [f"checkpoint.every={every}", f"checkpoint.async={beside}", "log.tensorboard=false"]
            arguments = [part for one in sets for part in ("--set", one)]
            if (child := os.fork()) == 0:
                timed_life(["run", str(path), "--out", str(out), "--device", "cpu", *arguments], log, folder / "time")
            if os.waitpid(child, 0)[1]:
                raise SystemExit(log.read_text())
            seconds = json.loads((folder / "time").read_text())
            taken[name].append({clock: second / steps * 1000 for clock, second in seconds.items()})
    return {
        name: {clock: statistics.median(times[clock] for times in found) for clock in CLOCKS}
        for name, found in taken.items()
    }


def timed_life(arguments: list[str], log: Path, result: Path) -> None:
    """Run `expc`, write how long the training loop took, and exit."""
    from expc.runtime import run

    train = run.train

    def timed(training: Any) -> None:
        begun = {name: clock() for name, clock in CLOCKS.items()}
        train(training)
        training.keeping.writer.finish()
        result.write_text(json.dumps({name: clock() - begun[name] for name, clock in CLOCKS.items()}))

    run.train = timed
    status = 1
    try:
        with log.open("ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        status = invoke(arguments)
    finally:
        os._exit(status)


def import_all() -> None:
    """Import what every life needs, once."""
    import_module("expc.compiler.lower.torchvision").import_torchvision()
    for name in ("expc.runtime.run", "torchmetrics.classification", "torch.utils.tensorboard.writer"):
        import_module(name)


def main() -> None:
    """Run a campaign as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--model", choices=("mnist", "gpt"), default="mnist")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--every", type=int, default=5, help="steps between two checkpoints")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for each life")
    parser.add_argument("--overhead", action="store_true", help="measure what checkpoints cost instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    if not options.fresh:
        import_all()
    if options.overhead:
        found = overhead(folder, options.model, options.rounds, options.width, options.steps)
        for name, times in found.items():
            columns = [f"{clock} {times[clock]:.3f} ms, {times[clock] / found['none'][clock]:.3f}" for clock in CLOCKS]
            print(f"checkpoints {name:16} a step: {'; '.join(columns)}")
        return
    begun = time.monotonic()
    path = experiment(folder, options.model, options.steps, options.every, options.width)
    found = campaign(folder, path, options.settings, options.kills, options.seed, options.fresh)
    ways = ", ".join(f"{count} {how}" for how, count in found.kills.items())
    which = " ".join([options.model, *options.settings])
    print(f"{which}: {sum(found.kills.values())} kills ({ways}) in {time.monotonic() - begun:.0f} s")
    print(f"lives went on from {len(set(found.steps))} different steps")
    for what in found.different:
        print(f"DIFFERENT: {what}")
    if not found.different:
        print("weights, best weights, metrics.jsonl, optimizer, generators and TensorBoard: the same, byte for byte")
    sys.exit(bool(found.different))


if __name__ == "__main__":
    main()
