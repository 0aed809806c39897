"""A step of each optimizer of torch by each of its ways to compute: parameter by parameter, `foreach` and `fused`.

    python benchmarks/optimizers.py [ROUNDS]

On one core, with many small parameters, those of a GPT of 4 layers of 128, and a few large ones. The ways take turns,
round by round, and the median is printed, in microseconds. What `expc/runtime/fused.py` chooses follows from these.
"""

import sys
import time
from inspect import signature
from statistics import median

import torch

LAYER = [(128,), (128,), (384, 128), (384,), (128, 128), (128,), (128,), (128,), (512, 128), (512,), (128, 512), (128,)]
MODELS = {
    "60 of 64x64": [(64, 64)] * 60,
    "gpt, 4 of 128": [(65, 128), (64, 128), *4 * LAYER],
    "12 of 1024x1024": [(1024, 1024)] * 12,
}
KINDS = (
    "SGD",
    "Adam",
    "AdamW",
    "Adagrad",
    "RMSprop",
    "Adadelta",
    "Adamax",
    "NAdam",
    "RAdam",
    "ASGD",
    "Rprop",
    "Adafactor",
)


def made(kind: str, shapes: list[tuple[int, ...]], **how: bool) -> torch.optim.Optimizer:
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(0.1 * torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = 0.01 * torch.randn(parameter.shape, generator=generator)
    return getattr(torch.optim, kind)(parameters, lr=1e-3, **({"momentum": 0.9} if kind == "SGD" else {}), **how)


def seconds(optimizer: torch.optim.Optimizer, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    for model, shapes in MODELS.items():
        steps = 5 if "1024" in model else 20
        for kind in KINDS:
            ways = {"alone": {"foreach": False}, "foreach": {"foreach": True}}
            if "fused" in signature(getattr(torch.optim, kind)).parameters:
                ways["fused"] = {"fused": True}
            optimizers = {way: made(kind, shapes, **how) for way, how in ways.items()}
            for optimizer in optimizers.values():
                seconds(optimizer, 2)
            times = {way: [] for way in ways}
            for _ in range(rounds):
                for way, optimizer in optimizers.items():
                    times[way].append(seconds(optimizer, steps))
            least = median(times["alone"])
            row = (f"{way} {1e6 * median(found):8,.0f} ({median(found) / least:.2f})" for way, found in times.items())
            print(f"{model:16} {kind:10} {'   '.join(row)}", flush=True)


if __name__ == "__main__":
    main()
