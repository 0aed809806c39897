"""An epoch of the data of `examples/mnist.exp`, without a model: batches of 128, augmentation included.

    python benchmarks/data_path.py

Rivals are torchvision's own MNIST with transforms sample by sample in a `DataLoader`. All take turns, an epoch each, so
that whatever else the machine does meets all alike; a ratio is that of two epochs of one round. `made anew` is expc
without samples that live decoded. The last lines are the validation data, whose transforms draw nothing and so are done
once.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.session import check_file
from expc.runtime.data.loader import Loader
from expc.runtime.data.memory import Memory

ROOT = Path(__file__).parents[1]
MNIST = ROOT / "examples" / "mnist.exp"
BATCH = 128
ROUNDS = 15
LIMIT = 8.0

Epoch = Callable[[int], Iterable[object]]


def ours(role: str, **path: Any) -> Epoch:
    return loader(role, **path).epoch


def loader(role: str, **path: Any) -> Loader:
    program = check_file(MNIST).program
    assert program is not None
    return Loader(program.data[role], root=MNIST.parent, seed=0, batch=BATCH, shuffle=role == "train", **path)


def torchvisions(role: str, workers: int, version: str) -> Epoch:
    """The same samples, in an order of torch's own."""
    vision = import_torchvision()
    from torchvision.transforms import v2

    means = [0.1307], [0.3081]
    if version == "v2":
        ends = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*means)]
        crop = v2.RandomCrop(28, padding=2)
    else:
        ends = [vision.transforms.ToTensor(), vision.transforms.Normalize(*means)]
        crop = vision.transforms.RandomCrop(28, padding=2)
    train = role == "train"
    chain = vision.transforms.Compose([crop, *ends] if train else ends)
    whole = vision.datasets.MNIST(str(ROOT / "examples" / "data"), train=True, transform=chain)
    some = Subset(whole, range(loader(role).samples))
    batches = DataLoader(some, batch_size=BATCH, shuffle=train, num_workers=workers, persistent_workers=workers > 0)
    return lambda _: batches


def seconds(epoch: Epoch, number: int) -> float:
    started = time.perf_counter()
    for _ in epoch(number):
        pass
    return time.perf_counter() - started


def table(cases: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    """The ratios of every case to the first, after printing all."""
    for epoch in cases.values():
        seconds(epoch, 0)  # once, so that files are in the cache and processes are there
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, epoch in cases.items():
            taken[name].append(seconds(epoch, number + 1))
    first = taken[next(iter(cases))]
    ratios = {name: [a / b for a, b in zip(times, first, strict=True)] for name, times in taken.items()}
    print(f"{'':44} {'ms an epoch':>12}  {'ratio, median':>13}  {'quartiles':>15}")
    for name, times in taken.items():
        low, _, high = quantiles(ratios[name], n=4)
        print(f"{name:44} {median(times) * 1e3:12.1f}  {median(ratios[name]):13.2f}  {low:7.2f}{high:8.2f}")
    return ratios


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds\n")
    train = {
        "expc, resident": ours("train", memory=Memory(0.25)),
        "expc, made anew": ours("train"),
        "expc, path = workers, 2 of them": ours("train", workers=2, persistent_workers=True),
        "torchvision v2 by sample, workers = 0": torchvisions("train", 0, "v2"),
        "torchvision v2 by sample, workers = 2": torchvisions("train", 2, "v2"),
        "torchvision v1 by sample, workers = 0": torchvisions("train", 0, "v1"),
        "torchvision v1 by sample, workers = 2": torchvisions("train", 2, "v1"),
    }
    print(f"training data: {loader('train').samples:,} samples")
    ratios = table(train, ROUNDS)
    print(f"\nvalidation data: {loader('val').samples:,} samples")
    table(
        {
            "expc, resident": ours("val", memory=Memory(0.25)),
            "expc, made anew": ours("val"),
            "torchvision v2 by sample, workers = 0": torchvisions("val", 0, "v2"),
        },
        ROUNDS,
    )
    least = min(median(times) for name, times in ratios.items() if name.startswith("torchvision"))
    print(f"\nthe quickest rival takes {least:.1f} times as long (at least {LIMIT:g} are promised)")
    sys.exit(0 if least >= LIMIT else 1)


if __name__ == "__main__":
    main()
