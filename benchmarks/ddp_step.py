"""How long a step takes in several processes of expc, and in a loop around `DistributedDataParallel` written by hand.

    python benchmarks/ddp_step.py [--processes 2] [--rounds 5] [--steps 600]

Both train an MLP on the digits, with the same global batch of 64 in the same order, AdamW, f32, over gloo, one thread
each. Each is run with few steps and with many, and a step takes the difference of both times by the difference of the
steps: starting up is not in it. They take turns; printed are the medians of the rounds. The last loss of both must
agree.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
TEXT = """
data {{
  train = MNIST("{data}") -> ToTensor -> Normalize([0.1307], [0.3081])
  batch = 64
}}
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] {{
  Flatten -> Linear(512) -> ReLU -> Linear(512) -> ReLU -> Linear(10)
}}
train {{ steps = {steps}, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3), seed = 1 }}
checkpoint {{ every = none }}
log {{ every = {steps} steps, tensorboard = false }}
"""
BY_HAND = """
import json, os, sys
import torch, torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
folder, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
data = load_file(f"{folder}/data.safetensors")
net = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
net.load_state_dict(load_file(f"{folder}/weights.safetensors"))
model = DistributedDataParallel(net)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
criterion = nn.CrossEntropyLoss()
x, y, order = data["x"], data["y"], data["order"]
total, first = torch.zeros(()), (steps - 1) // (len(x) // 64) * (len(x) // 64)
for step in range(steps):
    rows = order[step * 64 : (step + 1) * 64]
    rows = rows[len(rows) * rank // size : len(rows) * (rank + 1) // size]
    loss = criterion(model(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step >= first:  # a run of expc writes down the mean since the epoch began
        total += loss.detach()
dist.all_reduce(total)
if rank == 0:
    print(json.dumps(float(total) / size / (steps - first)), flush=True)
dist.destroy_process_group()
os._exit(0)  # torch 2.13 now and then aborts where the reducer is freed at exit
"""


def prepare(folder: Path, steps: int) -> None:
    """The samples in order, and the first weights, that a run of expc has."""
    import torch
    from safetensors.torch import save_file

    from expc.compiler.session import check_text
    from expc.runtime.data.randomness import ORDER, permutation
    from expc.runtime.prepare import prepare as prepared

    text = TEXT.format(data=ROOT / "examples" / "data", steps=steps)
    run = prepared(check_text(text, str(folder / "case.exp"), ["data.shuffle=false"]).program, "cpu")
    x, y = (torch.cat(parts) for parts in zip(*(b.values() for b in run.loaders["train"].epoch(0)), strict=True))
    epochs = -(-steps // len(run.loaders["train"]))
    order = [
        torch.from_numpy(permutation(len(x), seed=1, epoch=epoch, purpose=ORDER)).long() for epoch in range(epochs)
    ]
    save_file({"x": x, "y": y, "order": torch.cat(order)}, folder / "data.safetensors")
    weights = {key.replace("Net.", ""): value.clone() for key, value in run.task.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")


def by_expc(folder: Path, steps: int, processes: int) -> tuple[float, float]:
    """Seconds of a run, and its mean loss."""
    (folder / "case.exp").write_text(TEXT.format(data=ROOT / "examples" / "data", steps=steps), "utf-8")
    out = folder / f"run-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "expc", "run", str(folder / "case.exp"), "--cpus", str(processes), "--out", out]
    seconds, _ = timed(command)
    rows = [json.loads(row) for row in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return seconds, next(row["loss"] for row in rows if row["over"] == "steps")


def by_hand(folder: Path, steps: int, processes: int) -> tuple[float, float]:
    """The same by a script under torchrun."""
    (folder / "by_hand.py").write_text(BY_HAND, "utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    seconds, said = timed([*launcher, folder / "by_hand.py", folder, str(steps)])
    return seconds, json.loads(said.splitlines()[-1])


def timed(command: list[str]) -> tuple[float, str]:
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.monotonic() - begun, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    few, many = asked.steps // 6, asked.steps
    ways = {"by hand": by_hand, "expc": by_expc}
    steps: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, many)
        for turn in range(asked.rounds):
            losses = []
            for name, way in list(ways.items())[:: 1 if turn % 2 else -1]:
                short, _ = way(folder, few, asked.processes)
                long, loss = way(folder, many, asked.processes)
                steps[name].append((long - short) / (many - few) * 1000)
                losses.append(loss)
            if abs(losses[0] - losses[1]) > 1e-3:
                sys.exit(f"they train something else: losses {losses}")
    ratios = [mine / hand for mine, hand in zip(steps["expc"], steps["by hand"], strict=True)]
    print(f"{asked.processes} processes, {asked.rounds} rounds, load {os.getloadavg()[0]:.1f}\n")
    print("| | ms a step | of the loop by hand |\n|---|---|---|")
    for name, taken in steps.items():
        print(f"| {name} | {median(taken):.2f} | {median(ratios) if name == 'expc' else 1:.3f} |")


if __name__ == "__main__":
    main()
