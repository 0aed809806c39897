"""Examples with one small change: the checker refuses exactly those that torch, or a rule of the language, refuses.

A share of `benchmarks/mutants.py`, chosen once: the whole of it takes minutes.
"""

import random
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import mutants  # noqa: E402
from oracle import verdict  # noqa: E402

SHARE = {"mnist": 20, "vae": 30, "unet": 15, "alexnet": 20, "dcgan_generator": 20, "two_towers": 15}
"""How many mutants of each file: those whose runs take least."""
PATHS = {path.stem: path for path in mutants.FILES}


@pytest.mark.parametrize("name", SHARE)
def test_the_checker_says_what_torch_says(name):
    every = mutants.mutants(PATHS[name])
    judged = list(mutants.judge_all(random.Random(20).sample(every, SHARE[name]), jobs=1))
    original = PATHS[name].read_text("utf-8")
    refused = {"torch", "language"}
    equal = {*refused, "accepted", "lint", "unreadable"}
    wrong = [mutants.difference(entry, original) for entry in judged if entry.outcome not in equal]
    assert not wrong, "\n".join(wrong)
    found = {entry.outcome for entry in judged}
    assert found & refused
    assert "accepted" in found


@pytest.mark.parametrize(
    ("program", "kind", "rule"),
    [
        ("model M(x: f32[N, 8]) -> f32[N, 3] { Linear(4) }", "language", "type"),
        ("model M(x: f32[N, 8]) { Linear(8, 4) }", "language", "positional"),
        ("model M(x: f32[N, 8]) { y = Linear(4); x }", "language", "unused"),
        ("model M(x: f32[N, 8]) { Linear(4); x -> Linear(2) }", "language", "unused flow"),
        ("model M(x: f32[N, 8]) { a: Linear(8) -> a: Linear(8) }", "language", "label twice"),
        ("model M(x: f32[N, T, C]) { Linear(4) }", "language", "undecided"),
        ("model M(x: f32[N, 8]) { Conv2d(4, 3) }", "torch", "RuntimeError"),
        ("model M(x: f32[N, 3, H, W]) { flow + (MaxPool2d(2) -> Upsample(scale_factor=2)) }", "torch", "RuntimeError"),
        (
            "model M(x: f32[N, 5, T]) { flow + (arange(T) -> Embedding(99, 5) -> transpose(0, 1)) }",
            "torch",
            "IndexError",
        ),
        ("model M(x: f32[N, 3, H, W]) { Conv2d(4, 2000) }", "right", ""),
        ("model M(x: f32[N, 5, 8]) { LSTM(4, dropout=0.5, batch_first=true) }", "right", ""),
        ("model M(x: f32[N, 8]) { buffer at: f32[2, 8] = arange(16) -> reshape(2, 8) -> f32; x + at[0] }", "right", ""),
        ("model M(x: f32[N, 8]) { buffer a: f32[8] = eye(8)[0]; buffer b: f32[8] = a * 2; x + b }", "right", ""),
        ("model M(x: f32[N, 8]) { buffer at: f32[8] = arange(8); x + at }", "language", "type"),
        ("model M(x: f32[N, 8]) { buffer at: f32[8] = x[0]; x + at }", "language", "not known yet"),
        (
            "model M(x: f32[N, 8]) { buffer at: f32[1, 8] = ones(1, 8) -> Linear(8); x + at }",
            "language",
            "not known yet",
        ),
        ("model M(x: f32[N, 8]) { buffer at: f32[8] = arange(N)[0] * ones(8); x + at }", "language", "undecided"),
        ("model M(x: f32[N, 8]) { Linear(4", "syntax", "E0102"),
    ],
)
def test_the_oracle_says_why(program, kind, rule):
    found = verdict(program)
    assert (found.kind, found.rule) == (kind, rule), found
