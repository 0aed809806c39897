"""How long a training step takes in expc and in what people would use instead.

    python benchmarks/train.py [--case mlp|mnist|gpt|small] [--threads 1|2] [--launches N] [--rounds N]
                               [--without NAME ...]

Every rival (`benchmarks/rivals`, one short file each) is a process of its own that trains the same network from the
same weights, on the same batches in the same order, with AdamW in f32. After a warm-up they take turns: a round is one
chunk of steps of each, and the order of a round is another one each time. Whatever else the machine does meets all
alike, and what is compared is the ratio to the tuned loop's chunk of the same round. Where a process happens to get its
memory makes it faster or slower for as long as it lives, by more than what is to be seen: so all are launched anew
again and again, in another order each time. What is printed is the median over the launches of the median of their
rounds, and the middle half of the launches (with one launch, of its rounds). Processor time is what a busy machine
changes least. Start-up is not in it. The losses of every chunk must agree with the tuned loop's.

Lightning, accelerate and Keras come from the package index into an environment of their own, `build/rivals-venv`.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import torch
from safetensors.torch import save_file

from expc.compiler.session import check_text
from expc.runtime.data.randomness import ORDER, permutation
from expc.runtime.prepare import prepare

ROOT = Path(__file__).parents[1]
RIVALS = ROOT / "benchmarks" / "rivals"
ENVIRONMENT = ROOT / "build" / "rivals-venv"
FRAMEWORKS = ("lightning==2.6.6", "accelerate==1.15.0", "keras==3.15.1")
TUNED = "plain_tuned"
NAMES = {
    TUNED: "a tuned plain loop",
    "with_expc": "expc",
    "plain_usual": "the usual plain loop",
    "with_accelerate": "accelerate",
    "with_lightning": "Lightning",
    "with_keras": "Keras on torch",
}
TOLERANCE = 1e-6
"""How far the mean loss of a chunk may be from the tuned loop's."""
ROUNDED = {"plain_usual": 1e-6, "with_keras": 0.05}
"""The same for rivals whose AdamW is another one: not fused, or with its epsilon elsewhere."""
FIRST = 4
"""How many chunks of theirs are compared: training makes much of small differences."""

DIGITS = """
data {
  train = MNIST("data") -> ToTensor -> Normalize([0.1307], [0.3081])
  batch = 64
}
"""
TEXT = """
data {
  train = Text("tinyshakespeare.txt", tokens="char", vocab=vocab, window=context)
  batch = 64
}
"""
MLP = """
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
  Flatten -> Linear(512) -> ReLU -> Linear(512) -> ReLU -> Linear(10)
}
"""
SMALL = """
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(32) -> ReLU -> Linear(10) }
"""
TRAIN = """
train {{
  steps     = {steps}
  loss      = {loss}
  optimizer = AdamW(lr={lr})
  seed      = 1
}}
checkpoint {{ every = none }}
log {{ every = {chunk} steps }}
"""
CASES = {
    "mlp": ("an MLP on digits", 25),
    "mnist": ("`mnist.exp`'s network", 5),
    "gpt": ("a 4 x 128 GPT", 2),
    "small": ("one hidden layer of 32", 125),
}
"""What each case is called, and the steps of a chunk: they divide an epoch, since expc logs no mean over two epochs."""


def experiment(case: str, chunk: int, chunks: int) -> str:
    """The text of a case. Networks are those of the examples; the GPT has the size of nanoGPT's README for a CPU."""
    setting = {"steps": chunk * chunks + 1, "chunk": chunk, "lr": "1e-3", "loss": "CrossEntropyLoss"}
    if case in ("mlp", "small"):
        return DIGITS + (MLP if case == "mlp" else SMALL) + TRAIN.format(**setting)
    if case == "mnist":
        text = (ROOT / "examples" / "mnist.exp").read_text("utf-8")
        return DIGITS + re.search(r"^model .*?^}\n", text, re.MULTILINE | re.DOTALL)[0] + TRAIN.format(**setting)
    text = (ROOT / "examples" / "gpt.exp").read_text("utf-8")
    for name, size in {"context": 64, "width": 128, "heads": 4, "depth": 4, "p": 0.0}.items():
        text = re.sub(rf"^let {name} .*$", f"let {name} = {size}", text, flags=re.MULTILINE)
    before, network = re.search(r"^(let .*?)^data {.*?^}\n(.*?)^train {", text, re.MULTILINE | re.DOTALL).groups()
    setting["loss"] = "cross_entropy(output -> flatten(0, 1), target -> flatten)"
    return before + TEXT + network + TRAIN.format(**setting)


def write_case(case: str, chunks: int, threads: int, folder: Path) -> None:
    """What the rivals read. Samples, order and first weights are expc's own."""
    chunk = CASES[case][1]
    text = experiment(case, chunk, chunks)
    os.environ["EXPC_DATA"] = str(ROOT / "examples")
    (folder / "case.exp").write_text(text, "utf-8")
    plain = check_text(text, str(folder / "case.exp"), ["data.shuffle=false"])
    assert not plain.has_errors, plain.problems
    prepared = prepare(plain.program, "cpu")
    loader = prepared.loaders["train"]
    x, y = (torch.cat(parts) for parts in zip(*(batch.values() for batch in loader.epoch(0)), strict=True))
    epochs = -(-(chunk * chunks + 1) // len(loader))
    order = [permutation(len(x), seed=1, epoch=epoch, purpose=ORDER) for epoch in range(epochs)]
    orders = torch.stack([torch.from_numpy(rows).long() for rows in order])
    save_file({"x": x, "y": y, "order": orders}, folder / "data.safetensors")
    weights = {key: value.clone() for key, value in prepared.task.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    values = {"name": case, "batch": 64, "lr": 1e-3, "seed": 1, "chunk": chunk, "threads": threads}
    output = prepared.task.model(x[:2]).shape[1:]
    values |= {"input": x.shape[1:], "dtype": str(x.dtype).removeprefix("torch."), "output": output}
    values["images"] = str(ROOT / "examples" / "data")
    (folder / "case.json").write_text(json.dumps(values), "utf-8")


class Rival:
    """A process that trains a chunk whenever it is told to."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name = name
        foreign = name in ("with_lightning", "with_accelerate", "with_keras")
        python = ENVIRONMENT / "bin" / "python" if foreign else sys.executable
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._log = (folder / f"{name}.log").open("w+")
        self._process = subprocess.Popen(
            [python, RIVALS / f"{name}.py", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self._answer()

    def chunk(self) -> dict[str, float]:
        """Train a chunk: seconds, processor seconds, mean loss."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            sys.exit(f"{self.name} ended:\n{self._log.read()}")
        return json.loads(line)

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(case: str, names: list[str], rounds: int, threads: int) -> dict[str, list[dict[str, float]]]:
    """The answers of each rival, round by round. Stops where a loss is another one than the tuned loop's."""
    warm_up = 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_case(case, warm_up + rounds, threads, folder)
        rivals = [Rival(name, folder, threads) for name in names]
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(warm_up + rounds):
            first = turn % len(rivals)
            for rival in rivals[first:] + rivals[:first]:
                answers[rival.name].append(rival.chunk())
        for rival in rivals:
            rival.end()
    for name, given in answers.items():
        pairs = list(zip(given, answers[TUNED], strict=True))[: FIRST if name in ROUNDED else None]
        far = max(abs(mine["loss"] - tuned["loss"]) for mine, tuned in pairs)
        what = f"the mean losses of {len(pairs)} chunks are within {far:.1e} of the tuned loop's"
        print(f"{case}, {NAMES[name]}: {what}", file=sys.stderr)
        if not far <= ROUNDED.get(name, TOLERANCE):
            sys.exit(f"{name} trains something else")
    return {name: given[warm_up:] for name, given in answers.items()}


def table(case: str, launches: list[dict[str, list[dict[str, float]]]]) -> None:
    print(
        f"\n| {CASES[case][0]} | ms a step | least | of the tuned loop | middle half | processor time | middle half |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in launches[0]:
        milliseconds = [answer["seconds"] / CASES[case][1] * 1000 for answers in launches for answer in answers[name]]
        cells = [NAMES[name], f"{median(milliseconds):.2f}", f"{min(milliseconds):.2f}"]
        for what in ("seconds", "processor"):
            of_launches = [ratios(answers, name, what) for answers in launches]
            spread = [median(of_rounds) for of_rounds in of_launches] if len(launches) > 1 else of_launches[0]
            low, middle, high = quantiles(spread, n=4)
            cells += [f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        print(f"| {' | '.join(cells)} |")


def ratios(answers: dict[str, list[dict[str, float]]], name: str, what: str) -> list[float]:
    """Round by round, what a rival took of what the tuned loop took."""
    return [mine[what] / tuned[what] for mine, tuned in zip(answers[name], answers[TUNED], strict=True)]


def make_environment(*more: str) -> None:
    """With packages that `more` names, and without torchvision: beside a CPU torch it breaks `import lightning`."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    wanted = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", "torch", *FRAMEWORKS, *more]
    subprocess.run(wanted, check=True, stderr=subprocess.DEVNULL)


def machine() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    processor = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {processor}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--launches", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--without", choices=NAMES, nargs="*", default=[])
    asked = parser.parse_args()
    names = [name for name in NAMES if name not in asked.without or name == TUNED]
    if {"with_lightning", "with_accelerate", "with_keras"} & set(names):
        make_environment()
    for case in asked.case or CASES:
        turned = [names[turn % len(names) :] + names[: turn % len(names)] for turn in range(asked.launches)]
        launches = [measure(case, order, asked.rounds, asked.threads) for order in turned]
        table(case, [{name: answers[name] for name in names} for answers in launches])
    threads = f"{asked.threads} thread{'s' if asked.threads > 1 else ''}"
    print(f"\n{machine()}, {threads}, {asked.launches} launches of {asked.rounds} rounds.")


if __name__ == "__main__":
    main()
