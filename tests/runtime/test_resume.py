"""A run that stopped at any step and goes on is, bit for bit, the run that never stopped."""

import json
import os
import signal
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from by_hand import GAN, NET, program
from safetensors.torch import load_file
from test_checkpoint import rewritten

from expc.runtime import loop, rundir
from expc.runtime.errors import RunError, option_span
from expc.runtime.lock import Lock
from expc.runtime.resuming import Resume, last_run
from expc.runtime.run import run

DATA = """
data {
  all = FakeData(size=44, image_size=[1, 4, 4], num_classes=4)
  train, val = all -> split(0.75) -> RandomCrop(4, padding=1) -> ToTensor
  test = FakeData(size=11, image_size=[1, 4, 4], num_classes=4, random_offset=44) -> ToTensor
  batch = 9
}
checkpoint { every = 1 steps, keep = 3 }
log { every = 3 steps, graph = false, histograms = true, images = 2 }
"""
BASE = "epochs = 3, loss = CrossEntropyLoss, deterministic = true"
CASES = {
    "a chain of schedules": "optimizer = AdamW(lr=1e-2), clip = norm(0.5)\n"
    "schedule = LinearLR(start_factor=0.1) for 3 steps -> OneCycleLR(max_lr=0.1)",
    "a plateau and an average": "optimizer = RMSprop(lr=1e-2, momentum=0.5), ema = 0.7, metrics = [Accuracy, AUROC]\n"
    "schedule = ReduceLROnPlateau(val.loss, factor=0.5, patience=0)",
    "early stopping": "optimizer = SGD(lr=0.0), early_stop = min(val.loss, patience=1)",
    "line search": "optimizer = LBFGS(lr=0.1, max_iter=3, history_size=4)",
    "frozen for a while": 'optimizer = Adam(lr=1e-2, amsgrad=true), freeze = ["body.*", "norm.*"] for 5 steps',
    "optimizers of groups": 'optimizer = AdamW(lr=1e-2)\ngroup "*.bias" { schedule = CosineAnnealingWarmRestarts(2) }\n'
    'group "body.weight" { optimizer = Muon(lr=0.02) }',
    "parts and half precision": "optimizer = Adagrad(lr=0.1), accumulate = 3, precision = bf16, metrics = [F1Score]",
    "cycles": 'optimizer = SGD(lr=0.1, momentum=0.9, nesterov=true), recompute = ["norm"]\n'
    "schedule = CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=2) for 4 steps -> MultiStepLR([1], gamma=0.5)",
}
TURNS = """epochs = 3, deterministic = true
group "d.*" { loss = mean(relu(1 - real)) + mean(relu(1 + fake)), optimizer = Adam(lr=0.01) }
group "g.*" { loss = 0 - mean(fake), optimizer = RMSprop(lr=0.01) }
"""


def plain(train="", net=NET, data=DATA):
    """Small steps, with other values."""
    return program(f"{BASE}, optimizer = SGD(lr=0.1)\n{train}", net, data)


class Killed(Exception):
    """Stands for what ends a run between two steps."""


def killed(checked, out, after, resume=None):
    """A run that ends when it has learnt from `after` batches."""
    taken, learn = [], loop.learn

    def learning(*arguments):
        if len(taken) == after:
            raise Killed
        taken.append(learn(*arguments))

    with patch.object(loop, "learn", learning), pytest.raises(Killed):
        run(checked, out=None if resume else out, device="cpu", progress=False, resume=resume)


def left(out):
    """What must be the same: weights, and what was measured; what TensorBoard shows."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = {name: (out / name).read_bytes() for name in ("final.safetensors", "best.safetensors", "metrics.jsonl")}
    events = sorted((out / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    points = [
        (value.tag, event.step, value.tensor.SerializeToString())
        for path in events
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if "hparams" not in value.tag
    ]
    last = max((out / "checkpoints").glob("step-*"))
    state = {path.name: path.read_bytes() for path in last.glob("*.safetensors") if path.name != "sums.safetensors"}
    return files, points, state


def assert_same(one, other):
    (files, points, state), (files_too, points_too, state_too) = left(one), left(other)
    for name, content in (files | state).items():
        assert content == (files_too | state_too)[name], name
    assert points == points_too


@pytest.mark.parametrize("name", [*CASES, "turns"])
def test_a_run_goes_on_as_if_it_had_never_stopped(name, tmp_path):
    """Killed in the first epoch, resumed, killed in the second between two log points, and resumed again."""
    checked = program(TURNS, GAN, DATA) if name == "turns" else program(f"{BASE}\n{CASES[name]}", NET, DATA)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = run(checked, out=whole, device="cpu", progress=False)
    killed(checked, parts, 2)
    torch.rand(3)
    if result.steps > 8:
        killed(checked, parts, 5, Resume(parts))
    again = run(checked, device="cpu", progress=False, resume=Resume(parts))
    assert again == type(again)(**{**vars(result), "directory": parts})
    assert_same(whole, parts)


def problem_of(checked, out, **options):
    with pytest.raises(RunError) as raised:
        run(checked, device="cpu", progress=False, resume=Resume(out, **options))
    return raised.value.problem


def tree(out):
    return {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.name != ".lock"}


def test_the_newest_whole_checkpoint_is_used_and_the_damaged_are_put_aside(tmp_path, capsys):
    checked, whole, parts = plain(), tmp_path / "whole", tmp_path / "parts"
    run(checked, out=whole, device="cpu", progress=False)
    killed(checked, parts, 6)
    (parts / "checkpoints" / "step-000006" / "model.safetensors").write_bytes(b"nonsense")
    (parts / "checkpoints" / "step-000005" / "state.json").unlink()
    (parts / "checkpoints" / ".step-000007.1.partial").mkdir()
    (parts / "best.safetensors").write_bytes(b"of a step that is not yet taken")
    run(checked, device="cpu", progress=True, resume=Resume(parts))
    said = capsys.readouterr().err
    assert "checkpoint step-000006 is damaged and is not used: model.safetensors has 8 bytes" in said
    assert "checkpoint step-000005 is damaged and is not used: 'state.json' is missing" in said
    assert "going on from step 4 of 12 (step-000004)" in said
    assert (parts / "checkpoints" / "damaged-step-000006-1" / "model.safetensors").read_bytes() == b"nonsense"
    assert not list(parts.rglob("*.partial"))
    assert_same(whole, parts)
    assert [entry["step"] for entry in json.loads((parts / "run.json").read_text())["resumed"]] == [4]


def test_what_nothing_can_be_made_of_is_refused_and_left_as_it_is(tmp_path):
    checked, out = plain(), tmp_path / "run"
    killed(checked, out, 2)
    for folder in (out / "checkpoints").glob("step-*"):
        (folder / "random.safetensors").unlink()
    before = tree(out)
    problem = problem_of(checked, out)
    assert problem.code == "E0832"
    assert "step-000002: 'random.safetensors' is missing; step-000001: " in problem.message
    assert tree(out) == before
    assert problem_of(checked, tmp_path / "none").code == "E0830"
    (tmp_path / "empty").mkdir()
    assert problem_of(checked, tmp_path / "empty").code == "E0830"
    (out / "sources" / "link").symlink_to("/etc")
    assert "is a link" in problem_of(checked, out).message


def test_before_the_first_checkpoint_a_run_begins_again(tmp_path):
    checked, whole, parts = plain(data=DATA.replace("1 steps", "none")), tmp_path / "whole", tmp_path / "parts"
    run(checked, out=whole, device="cpu", progress=False)
    killed(checked, parts, 5)
    assert not (parts / "checkpoints").exists()
    assert (parts / "metrics.jsonl").read_bytes()
    run(checked, device="cpu", progress=False, resume=Resume(parts))
    assert_same(whole, parts)


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        (lambda: plain("clip = norm(1.0)"), "E0833", "train.clip is norm(1.0), and was none"),
        (lambda: plain("seed = 7"), "E0833", "train.seed is 7, and was 0"),
        (lambda: plain(net=NET.replace("ReLU", "GELU")), "E0833", "model is another: `%4 = 3: GELU("),
        (lambda: plain(net=NET.replace("Linear(8)", "Linear(9)")), "E0833", "model is another"),
        (lambda: plain(data=DATA.replace("keep = 3", "keep = 2").replace("3 steps", "none")), None, ""),
        (lambda: plain(data=DATA + "distributed { strategy = ddp, timeout = 1 min }\n"), None, ""),
        (
            lambda: plain(data=DATA + "distributed { sync_batchnorm = true }\n"),
            "E0833",
            "distributed.sync_batchnorm is true, and was false",
        ),
    ],
)
def test_an_experiment_that_has_changed_is_told_by_its_values(changed, code, words, tmp_path):
    out = tmp_path / "run"
    killed(plain(), out, 2)
    before = tree(out)
    if code is None:
        assert run(changed(), device="cpu", progress=False, resume=Resume(out)).status == "finished"
        return
    problem = problem_of(changed(), out)
    assert problem.code == code
    assert words in problem.message
    assert tree(out) == before


def test_other_shapes_are_never_gone_on_from(tmp_path):
    out = tmp_path / "run"
    killed(plain(), out, 2)
    before = tree(out)
    for net in (NET.replace("Linear(8)", "Linear(9)"), NET.replace("head:", "tail:")):
        problem = problem_of(plain(net=net), out, allow_changed=True)
        assert problem.code == "E0834"
        assert (
            "`body.weight` is float32[9, 16], and was float32[8, 16]" in problem.message or "`head" in problem.message
        )
        assert tree(out) == before


def test_with_leave_a_changed_experiment_goes_on_as_it_says_now(tmp_path, capsys):
    """Half the rate from step 6 on: by hand, what the two parts do one after the other."""
    out = tmp_path / "run"
    killed(plain(), out, 6)
    at_six = load_file(out / "checkpoints" / "step-000006" / "model.safetensors")
    changed = program(f"{BASE}, optimizer = SGD(lr=0.0)", NET, DATA)
    run(changed, device="cpu", progress=True, resume=Resume(out, allow_changed=True))
    assert "changed: train.optimizer is SGD(lr=0.0), and was SGD(lr=0.1)" in capsys.readouterr().err
    final = load_file(out / "final.safetensors")
    assert all(torch.equal(final[key], at_six[key]) for key in final if "running" not in key and "num_" not in key)
    rates = [json.loads(line).get("lr") for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {rate for rate in rates if rate is not None} == {0.1, 0.0}
    assert "SGD(lr=0.0)" in (out / "resolved.yaml").read_text()


def test_a_finished_run_stays_as_it_is_and_a_longer_one_goes_on(tmp_path):
    out = tmp_path / "run"
    first = run(plain(), out=out, device="cpu", progress=False)
    before = tree(out)
    assert run(plain(), device="cpu", progress=False, resume=Resume(out)) == first
    assert tree(out) == before
    longer = program(f"{BASE}, optimizer = SGD(lr=0.1)".replace("epochs = 3", "epochs = 4"), NET, DATA)
    assert run(longer, device="cpu", progress=False, resume=Resume(out, allow_changed=True)).steps == 16
    run(longer, out=tmp_path / "whole", device="cpu", progress=False)
    name = "final.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_longer_run_takes_along_what_a_schedule_has_seen(tmp_path, capsys):
    """Its rate has fallen to a hundredth by measurements, which nothing but the checkpoint knows."""
    train = "{}, loss = CrossEntropyLoss, optimizer = SGD(lr=0.0)\nschedule = ReduceLROnPlateau(val.loss, {}patience=0)"
    out = tmp_path / "run"
    run(program(train.format("epochs = 3", "factor=0.1, "), NET, DATA), out=out, device="cpu", progress=False)
    going_on = Resume(out, allow_changed=True)
    run(program(train.format("epochs = 5", "factor=0.1, "), NET, DATA), device="cpu", resume=going_on)
    assert "starts anew" not in capsys.readouterr().err
    states = [json.loads((path / "state.json").read_text()) for path in sorted((out / "checkpoints").glob("step-*"))]
    assert states[-1]["schedules"]["chains"][0]["current"]["last_epoch"] == 5
    run(program(train.format("epochs = 6", "factor=0.5, "), NET, DATA), device="cpu", resume=going_on)
    assert "a schedule has made of measurements: it starts anew" in capsys.readouterr().err


def test_a_checkpoint_that_is_whole_and_of_something_else_is_refused(tmp_path):
    out = tmp_path / "run"
    killed(plain(), out, 2)
    last = out / "checkpoints" / "step-000002"
    state = json.loads((last / "state.json").read_text())
    lost = {"body.bias": {"momentum_buffer": {"$tensor": "none"}}}
    wrong = [
        ("schedules", {}),
        ("schedules", {"chains": [{"part": "x", "done": [], "rates": 3, "current": 0}]}),
        ("optimizers", [{"kind": "SGD", "state": lost, "groups": []}]),
        ("step", "second"),
        ("window", {"sums": 3, "samples": "many"}),
        ("random", {"torch": {}, "python": 1, "numpy": {}}),
        ("records", {"bytes": "all"}),
        ("values_of_experiment", None),
    ]
    for key, value in wrong:
        (last / "state.json").write_text(json.dumps({**state, key: value}))
        rewritten(last)
        problem = problem_of(plain(), out)
        assert problem.code == "E0835", (key, problem.message)


def test_one_process_at_a_time_writes_to_a_run(tmp_path):
    """A process holds the lock, and has a child that outlives it: the lock goes with the process."""
    out = tmp_path / "run"
    killed(plain(), out, 2)
    reader, writer = os.pipe()
    if (owner := os.fork()) == 0:
        held = Lock(out, option_span("--out", str(out)))
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        os.write(writer, b"locked")
        time.sleep(60)
        held.close()
    assert os.read(reader, 6) == b"locked"
    try:
        problem = problem_of(plain(), out)
        assert problem.code == "E0831"
        assert f"({owner} on " in problem.message
        with pytest.raises(RunError) as raised:
            run(plain(), out=tmp_path / "run", device="cpu", progress=False)
        assert raised.value.problem.code == "E0808"
    finally:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
    assert run(plain(), device="cpu", progress=False, resume=Resume(out)).status == "finished"


def test_two_runs_that_start_in_one_folder_do_not_share_it(tmp_path):
    out, real = tmp_path / "run", rundir.refuse_used

    def quicker(path):
        """Another process makes a run of its own just after this one has looked."""
        rundir.refuse_used = real
        real(path)
        out.mkdir()
        (out / "run.json").write_text("{}")

    with patch.object(rundir, "refuse_used", quicker), pytest.raises(RunError) as raised:
        rundir.RunDirectory.create("net", out)
    assert raised.value.problem.code == "E0808"
    assert (out / "run.json").read_text() == "{}"


def test_auto_is_the_last_run_of_this_file_that_is_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checked = plain()
    assert last_run(checked, None) is None
    assert last_run(checked, tmp_path / "run") is None
    finished = run(checked, device="cpu", progress=False)
    assert last_run(checked, None) is None
    killed(checked, None, 2)
    (open_run,) = set(Path("runs").iterdir()) - {finished.directory}
    assert last_run(checked, None) == open_run
    assert run(checked, device="cpu", progress=False, resume=Resume(open_run)).directory == open_run
    assert last_run(checked, None) is None
    killed(checked, tmp_path / "run", 2)
    assert last_run(checked, tmp_path / "run") == tmp_path / "run"
