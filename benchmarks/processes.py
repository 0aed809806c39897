"""The examples by one, two and four processes, in double precision: how far apart their losses are at any step.

`python benchmarks/processes.py` takes the digits in `examples/data` and the text beside it, and trains the network for
digits, the GPT and the VAE of `examples/` with batches that do not divide, in parts (`accumulate`), with gradients that
are clipped, noise and augmentation, with `ddp` and with `fsdp`. `tests/runtime/distributed/test_equality.py` does the
same with less of everything, and with more kinds of experiments.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "runtime" / "distributed"))

from cases import COMMON, sharded  # noqa: E402
from together import Done, Job, together  # noqa: E402

TEXT: Final = 30_000
"""Characters of text that the GPT reads."""
SOME: Final = 'sampler = WeightedRandomSampler("balanced", num_samples=1011)'
"""What an epoch of digits has: the last of 5 batches of 250 samples is one of 11."""


def jobs(folder: Path) -> list[Job]:
    """The runs by one process."""
    text = (ROOT / "examples" / "tinyshakespeare.txt").read_text()[:TEXT]
    (folder / "some.txt").write_text(text)
    digits = f'MNIST("{ROOT / "examples" / "data"}"'
    mnist, gpt, vae = ((ROOT / "examples" / f"{name}.exp").read_text() for name in ("mnist", "gpt", "vae"))
    mnist = mnist.replace("split(0.9)", "split(0.98)").replace("test  = MNIST", "# test  = MNIST")
    mnist, vae = (each.replace('MNIST("data"', digits).replace("batch = 128", SOME) for each in (mnist, vae))
    few = {**COMMON, "train.epochs": 4, "train.accumulate": 3}
    digits_too = {**few, "data.batch": 250}
    warm = {"train.schedule": "LinearLR(start_factor=0.1) for 5 steps -> CosineAnnealingLR"}
    small = {"vocab": len(set(text)), "context": 64, "width": 32, "heads": 4, "depth": 3}
    less = {"train.steps": None, "data.batch": 90, "train.precision": "f32"}
    gpt = gpt.replace("tinyshakespeare.txt", str(folder / "some.txt"))
    return [
        Job("mnist", mnist, {**digits_too, **warm, "distributed.sync_batchnorm": True}),
        Job("vae", vae, {**digits_too, "train.clip": "norm(1.0)"}),
        Job("gpt", gpt, {**few, **small, **warm, **less}),
    ]


def main() -> None:
    """Print the table."""
    print("| experiment | processes | steps | losses | validation | weights | samples | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for job in jobs(Path(name)):
            one = row(1, job, Path(name))
            for size in (2, 4):
                for several in (job, sharded(job)):
                    row(size, several, Path(name), one)


def row(size: int, job: Job, folder: Path, one: Done | None = None) -> Done:
    """Print a row of the table: how far a run is from that of `one` process."""
    started = time.monotonic()
    (found,) = together(size, [job], folder / f"{size} {job.name}", seconds=1200).values()
    differences = ["", "", "", ""]
    if one is not None:
        validation = farthest(measured(found), measured(one))
        weights = max((found.weights[key] - value).abs().max().item() for key, value in one.weights.items())
        differences = [f"{each:.1e}" for each in (farthest(found.losses, one.losses), validation, weights)]
        differences.append("the same" if found.samples() == one.samples() else "others")
    cells = [job.name, str(size), str(len(found.losses)), *differences, f"{time.monotonic() - started:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    return found


def measured(run: Done) -> list[float]:
    """All that was measured on validation data."""
    return [value for line in run.values("val", "epoch") for value in line.values() if isinstance(value, float)]


def farthest(found: list[float], expected: list[float]) -> float:
    """The greatest difference of two lists of numbers."""
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))


if __name__ == "__main__":
    main()
