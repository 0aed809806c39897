"""When a run ends before its last step: it gets no better, or its time is over."""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from by_hand import by_hand, plain, program, same, trained

from expc.compiler.program import Watch
from expc.runtime import loop
from expc.runtime.distributed import world
from expc.runtime.watch import Watcher


def keras_stops(values, mode, patience, min_delta, baseline):
    """After which of `values` Keras's `EarlyStopping` would stop; its own lines, in the order of its own.

    It never stops at a value that is the best so far, even where the baseline was out of reach for too long; we do.
    """
    sign = 1 if mode == "max" else -1
    wait, best = 0, None

    def is_improvement(value, reference):
        return reference is None or sign * (value - reference) > min_delta

    for epoch, current in enumerate(values):
        wait += 1
        if is_improvement(current, best):
            best = current
            if baseline is None or is_improvement(current, baseline):
                wait = 0
            continue
        if wait >= patience:
            return epoch
    return None


@pytest.mark.parametrize("seed", range(40))
def test_patience_is_that_of_keras_but_at_values_that_are_the_best(seed):
    draw = random.Random(seed)
    values = [round(draw.gauss(0, 1) * 0.9**i, 1) for i in range(30)]
    mode, patience = draw.choice(["min", "max"]), draw.randint(1, 5)
    settings = {"patience": patience, "min_delta": draw.choice([0, 0.25]), "baseline": draw.choice([None, 0.0, 9.0])}
    watcher = Watcher(Watch("val.x", mode, {k: v for k, v in settings.items() if v is not None}, None))
    stopped = None
    for index, value in enumerate(values):
        better = watcher.improved({"val.x": value}, index)
        if watcher.lost_patience and not better:
            stopped = index
            break
    assert stopped == keras_stops(values, mode, **settings)


def test_a_baseline_that_is_not_reached_in_time_ends_a_run_that_gets_better():
    watcher = Watcher(Watch("val.loss", "min", {"patience": 3, "baseline": 0.5}, None))
    for step, value in enumerate((1.0, 0.9, 0.8)):
        assert not watcher.lost_patience
        assert watcher.improved({"val.loss": value}, step)
    assert watcher.lost_patience
    assert watcher.best == 0.8


def test_what_is_not_a_number_is_never_better():
    watcher = Watcher(Watch("val.loss", "min", {"patience": 2}, None))
    assert [watcher.improved({"val.loss": value}, 0) for value in (math.nan, 1.0, math.nan)] == [False, True, False]
    assert watcher.waited == 1


@pytest.mark.parametrize(("limit", "steps"), [("4 s", 4), ("0.1 min", 6), ("1 h", 9)])
def test_a_run_ends_when_its_time_is_over_as_if_that_had_been_its_last_step(tmp_path, monkeypatch, limit, steps):
    clock, learn = [1e6], loop.learn

    def for_a_second(run, batch):
        clock[0] += 1
        learn(run, batch)

    monkeypatch.setattr(loop, "learn", for_a_second)
    monkeypatch.setattr(world, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    checked = program(f"epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), max_time = {limit}")
    found, directory = trained(checked, tmp_path / "run")

    def start(model):
        return (torch.optim.SGD(model.parameters(), lr=0.1),)

    taken = [0]

    def step(model, optimizers, batch):
        taken[0] += 1
        if taken[0] <= steps:
            plain(None)[1](model, optimizers, batch)

    same(found, by_hand(checked, 3, start, step))
    told = json.loads((directory / "run.json").read_text())
    assert (told["status"], told["steps"]) == ("finished", steps)
    assert told["stopped"] == ("max_time" if steps < 9 else None)
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["phase"] == "val"
    assert rows[-1]["step"] == steps
