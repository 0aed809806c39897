"""Gradients of a batch in parts against those of the batch at once, for random losses, in double precision.

python benchmarks/accumulate.py --losses 1000 --seed 0

Loss `n` of a seed is always the same. It prints how many losses were added up part by part, and how many went through
the outputs of all parts. Exit status 1 says that some gradient was another.
"""

import argparse
import math
import os
import sys
from collections import Counter
from pathlib import Path
from random import Random

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "runtime"))

import torch
from test_accumulate import learnt, program, samples, way_of

from expc.experiment import CheckError

COLUMNS = ("values[:, 0]", "y[:, 1]", "w[:, 2]")
FUNCTIONS = ("tanh", "sigmoid", "square", "exp", "abs", "relu")
LOSSES = ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")
CLASSES = (
    "cross_entropy(steps -> flatten(0, 1), tokens -> flatten)",
    "cross_entropy(logits, label, ignore_index=1)",
    'cross_entropy(steps -> permute(0, 2, 1), tokens, reduction="sum")',
)


class Writer:
    """Writes random losses: tensors of a row for each sample, columns, and numbers."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def rows(self, depth: int) -> str:
        """`[N, 3]`, the samples of which may meet."""
        if depth <= 0:
            return self.one("values", "y", "w", "values")
        a, b = self.rows(depth - 1), self.rows(depth - 1)
        axis = self.one("0", "1")
        return self.one(
            f"({a} {self.one(*'+-*')} {b})",
            f"{self.one(*FUNCTIONS)}({a})",
            f"({a} {self.one(*'*+')} {self.one('2', '0.5', '-1.5')})",
            f"where(mask, {a}, {b})",
            f"softmax(tanh({a}), {self.one('0', '1', '-1', '-2')})",
            f"({a} - {self.number(depth - 1)})",
            f"cumsum({a}, {axis})",
            f"({a} * {self.one('values[:, 0:1]', 'y[:, 1:2]')})",
            f"({a} / N)",
            f"({a} - mean({b}, {axis}, keepdim=true))",
            f"flip({a}, [{axis}])",
            f'mse_loss({a}, {b}, reduction="none")',
        )

    def column(self, depth: int) -> str:
        """`[N]`."""
        if depth <= 0:
            return self.one(*COLUMNS)
        a = self.rows(depth - 1)
        return self.one(
            f"sum({a}, {self.one('1', '-1')})",
            f"amax({a}, 1)",
            'cross_entropy(logits, label, reduction="none")',
            f"({self.column(depth - 1)} {self.one(*'+-*')} {self.column(depth - 1)})",
        )

    def number(self, depth: int) -> str:
        """A scalar."""
        if depth <= 0:
            return self.one("mean(values)", "sum(y)", "mse_loss(values, y)", "sum(values) / N", *CLASSES[:2])
        a, b = self.rows(depth - 1), self.rows(depth - 1)
        s, t = self.number(depth - 1), self.number(depth - 1)
        column = self.column(depth - 1)
        return self.one(
            *(f"mean({a})", f"sum({a})", f"mean({column})", f"mean(sum({a}, 0))"),
            f"sum({column}) / {self.one('N', '(2 * N)', '(N * N)', '(N + 1)', '3')}",
            *(f"({s} {self.one(*'+-')} {t})", f"{self.one('2', '-0.5')} * {s}", f"({s} / N)"),
            *(f"({s} * {t})", f"({s} / (2.0 + square({t})))", f"{self.one('tanh', 'square')}({s})"),
            f"sum({a} * mask) / (1.0 + sum(mask))",
            f"{self.one(*LOSSES)}({a}, {b})",
            f'{self.one(*LOSSES)}({a}, {b}, reduction="sum")',
            f"mse_loss({a}, y, weight=w)",
            self.one(*CLASSES),
            'l2(weights("*.bias"))',
            f"mean(abs({self.one('values', 'y')}[:, 0:1] - {self.one('values[:, 1]', 'y[:, 0]')}))",
        )


def agrees(loss: str, count: int, parts: int, seed: int) -> bool:
    batch = samples(count, seed)
    found, expected = learnt(program(loss, parts), batch), learnt(program(loss, 1), batch, whole=True)
    total = expected[0]["loss"]
    same = math.isnan(total) or math.isclose(found[0]["loss"], total, rel_tol=1e-6, abs_tol=1e-6)
    for key, grad in expected[1].items():
        ours = found[1][key]
        nothing = torch.zeros(())
        grad, ours = nothing if grad is None else grad, nothing if ours is None else ours  # noqa: PLW2901
        if bool(grad.isfinite().all()):
            same = same and torch.allclose(ours.expand_as(grad), grad, rtol=1e-6, atol=1e-9)
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--losses", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seen: Counter[str] = Counter()
    for number in range(asked.losses):
        random = Random(f"{asked.seed}.{number}")
        loss = Writer(random).number(random.randrange(1, 5))
        count, parts = random.choice((1, 2, 5, 9, 13)), random.choice((2, 3, 4, 13))
        try:
            way = way_of(program(loss, 4)).__name__
        except CheckError:
            seen["refused by the checker"] += 1
            continue
        seen[way] += 1
        if not agrees(loss, count, parts, number):
            seen["wrong"] += 1
            print(f"{way} differs for {count} samples in {parts} parts: {loss}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    return 1 if seen["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
