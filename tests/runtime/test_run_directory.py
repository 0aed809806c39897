"""What a run leaves behind, how it is stopped, and that nothing that existed is harmed."""

import dataclasses
import errno
import fcntl
import io
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import warnings
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from fake_runs import SPAN, accuracy, fake_run, network, program, use, watch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from expc.compiler.library.schedules import schedules
from expc.compiler.program import GroupPlan, SchedulePart
from expc.runtime.errors import RunError
from expc.runtime.progress import Progress
from expc.runtime.records import Records
from expc.runtime.rundir import RunDirectory
from expc.spec.sections import Log
from expc.spec.values import Quantity

CONFUSION = "classification.MulticlassConfusionMatrix"


def test_a_run_directory_holds_all_that_a_run_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checked = program(measured=(accuracy(),), best=watch("val.accuracy", "max"), log=Log(every=Quantity(2, "step")))
    first = fake_run(checked, None, command=["expc", "run", "net.exp"])
    second = fake_run(checked, None)
    assert first.directory != second.directory
    assert first.directory.parent == Path("runs")
    assert first.directory.name.startswith("net-2")
    assert {path.name for path in first.directory.iterdir()} == {
        ".lock",
        "sources",
        "resolved.yaml",
        "run.json",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "best.safetensors",
        "final.safetensors",
    }
    assert (first.directory / "sources" / "net.exp").read_text() == checked.source.text
    assert "seed" in (first.directory / "resolved.yaml").read_text()
    facts = json.loads((first.directory / "run.json").read_text())
    assert facts["status"] == "finished"
    assert facts["started"] <= facts["ended"]
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["command"] == ["expc", "run", "net.exp"]
    assert facts["best"].keys() == {"val.accuracy", "step"}
    assert facts["metrics"] == first.metrics
    assert {"train.loss", "val.loss", "val.accuracy", "test.loss", "test.accuracy"} <= first.metrics.keys()


def test_tensorboard_has_scalars_in_groups_and_the_graph(tmp_path, capfd):
    checked = program(measured=(accuracy(),), log=Log(every=Quantity(2, "step")))
    directory = fake_run(checked, tmp_path / "run").directory
    events = EventAccumulator(str(directory / "tensorboard")).Reload()
    groups = {"train/lr", "train/loss", "train/epoch/loss", "train/accuracy"}
    groups |= {f"{role}/{name}" for role in ("val", "test") for name in ("loss", "accuracy")}
    assert set(events.Tags()["scalars"]) == groups
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6, 8, 10]
    assert [event.step for event in events.Scalars("train/epoch/loss")] == [5, 10]
    assert events.Tags()["graph"]
    assert capfd.readouterr() == ("", "")


def in_tensorboard(row):
    """The numbers of a line of metrics.jsonl, by the tag and the step that TensorBoard has them under."""
    about = {name: row.pop(name) for name in ("step", "epoch", "phase", "over")}
    for name, value in row.items():
        inner = "epoch/" if about["over"] == "epoch" and about["phase"] == "train" and name == "loss" else ""
        yield (f"{about['phase']}/{inner}{name}", about["step"]), value


def test_metrics_jsonl_has_the_numbers_of_tensorboard_one_by_one(tmp_path):
    groups = (GroupPlan("4.*", ("4.weight", "4.bias"), {"lr": 0.02}, SPAN),)
    schedule = (SchedulePart(use(schedules(), "LinearLR", start_factor=0.25, total_iters=Quantity(8, "step")), None),)
    matrix = dataclasses.replace(accuracy("taken_for"), torchmetrics_class=CONFUSION, arguments={"num_classes": 4})
    matrix = dataclasses.replace(matrix, is_matrix=True, higher_is_better=None)
    checked = program(
        measured=(accuracy(), matrix), log=Log(every=Quantity(5, "step")), groups=groups, schedule=schedule, epochs=3
    )
    directory = fake_run(checked, tmp_path / "run").directory
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    tables = [row.pop("taken_for") for row in rows if "taken_for" in row]
    written = {}
    for place, value in (pair for row in rows for pair in in_tensorboard(row)):
        assert written.setdefault(place, value) == value
    events = EventAccumulator(str(directory / "tensorboard")).Reload()
    drawn = {(tag, e.step): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag)}
    assert drawn == {place: pytest.approx(value, rel=1e-6) for place, value in written.items()}
    assert {"train/lr", "train/lr/4.*"} <= set(events.Tags()["scalars"])
    assert [written["train/lr/4.*", step] for step in (5, 10)] == pytest.approx([0.02 * 0.625, 0.02])
    assert events.Tags()["images"] == ["train/taken_for", "val/taken_for", "test/taken_for"]
    assert [sum(map(sum, table)) for table in tables] == [70, 33] * 3 + [29]
    correct = [sum(table[i][i] for i in range(4)) / sum(map(sum, table)) for table in tables[1::2]]
    assert [written["val/accuracy", step] for step in (5, 10, 15)] == pytest.approx(correct)


def test_what_is_not_finite_is_null_in_valid_json(tmp_path):
    matrices = {"taken_for": torch.tensor([[0.5, math.nan], [0.0, 1.0]])}
    with (
        closing(RunDirectory.create("net", tmp_path)) as directory,
        closing(Records(directory, tensorboard=True, graph=False)) as records,
    ):
        records.write("val", 1, 1, {"loss": math.inf, "auroc": math.nan}, over="epoch", matrices=matrices)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "epoch": 1,
        "phase": "val",
        "over": "epoch",
        "loss": None,
        "auroc": None,
        "taken_for": [[0.5, None], [0.0, 1.0]],
    }
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    drawn = [events.Scalars(f"val/{name}")[0].value for name in ("loss", "auroc")]
    assert drawn == pytest.approx([math.inf, math.nan], nan_ok=True)


def test_hyperparameters_stand_in_the_same_events_with_what_was_measured(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    checked = program(measured=(accuracy(),), log=Log(every=Quantity(2, "step")))
    origins = {"train.seed": "file", "data.batch": "--set"}
    checked = dataclasses.replace(checked, experiment=dataclasses.replace(checked.experiment, origins=origins))
    directory = fake_run(checked, tmp_path / "run").directory
    assert len([path for path in (directory / "tensorboard").rglob("*") if path.is_file()]) == 1
    events = EventAccumulator(str(directory / "tensorboard")).Reload()
    found = {tag.rpartition("/")[2]: HParamsPluginData() for tag in events.PluginTagToContent("hparams")}
    for tag, content in events.PluginTagToContent("hparams").items():
        found[tag.rpartition("/")[2]].ParseFromString(content)
    settings = found["session_start_info"].session_start_info.hparams
    assert settings["optimizer"].string_value == "SGD"
    values = {name: value.number_value for name, value in settings.items() if name != "optimizer"}
    assert values == {"data.batch": 16, "train.seed": 3, "optimizer.lr": 0.1}
    compared = [info.name.tag for info in found["experiment"].experiment.metric_infos]
    last = {tag: events.Scalars(tag)[-1].value for tag in compared}
    assert set(last) == {"train/epoch/loss", "train/accuracy"} | {
        f"{role}/{name}" for role in ("val", "test") for name in ("loss", "accuracy")
    }
    run = json.loads((directory / "run.json").read_text())["metrics"]
    assert last == pytest.approx({tag: run[tag.replace("/epoch/", "/").replace("/", ".")] for tag in last})


def test_histograms_are_of_the_weights_and_the_gradients_of_a_step(tmp_path):
    log = Log(every=None, histograms=True, graph=False)
    checked = program(log=log, roles=(("train", 64),), steps=120, clip=("norm", 0.01))
    directory = fake_run(checked, tmp_path / "run", model=lambda: nn.Linear(8, 4)).directory
    events = EventAccumulator(str(directory / "tensorboard"), size_guidance={"histograms": 0}).Reload()
    names = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in ("weight", "bias")}
    assert set(events.Tags()["histograms"]) == names
    assert [event.step for event in events.Histograms("weights/weight")] == [1, *range(3, 121, 3)]
    torch.manual_seed(3)
    first = events.Histograms("weights/weight")[0].histogram_value
    start = nn.Linear(8, 4).weight
    assert (first.min, first.max, first.num) == pytest.approx((start.min().item(), start.max().item(), 32))
    squares = sum(events.Histograms(f"gradients/{name}")[0].histogram_value.sum_squares for name in ("weight", "bias"))
    assert squares == pytest.approx(0.01**2, rel=1e-3)  # after clipping


def test_drawing_the_graph_changes_nothing_and_may_fail(tmp_path):
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            if torch.jit.is_tracing():
                warnings.warn("traced", stacklevel=1)
                raise TypeError("not traceable")
            return self.net(x)

    plain = fake_run(program(), tmp_path / "a", model=Untraceable)
    drawn = fake_run(program(log=Log()), tmp_path / "b", model=Untraceable)
    a, b = (load_file(r.directory / "final.safetensors") for r in (plain, drawn))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("there", ["run.json", "notes.txt", None])
def test_a_folder_that_holds_something_is_refused_and_untouched(tmp_path, there):
    out = tmp_path / "precious"
    if there is None:
        out.write_text("a file")
    else:
        out.mkdir()
        (out / there).write_text("mine")
    with pytest.raises(RunError) as raised:
        fake_run(program(), out)
    assert raised.value.problem.code == "E0808"
    assert str(out) in raised.value.problem.message
    assert out.read_text() == "a file" if there is None else [p.read_text() for p in out.iterdir()] == ["mine"]


def test_an_empty_folder_is_used_as_it_is(tmp_path):
    assert fake_run(program(epochs=1), tmp_path).directory == tmp_path


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(RunError) as raised:
            fake_run(program(), out)
        assert raised.value.problem.code == "E0804"


@pytest.mark.parametrize("victim", ["resolved.yaml", "checkpoints", "best.safetensors", "final.safetensors"])
def test_a_full_disk_ends_the_run_with_a_message(tmp_path, victim):
    real_open = Path.open

    def full(self, mode="r", *args, **kwargs):
        if "w" in mode and victim in str(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_open(self, mode, *args, **kwargs)

    with patch.object(Path, "open", full), pytest.raises(RunError) as raised:
        fake_run(program(), tmp_path / "run")
    assert raised.value.problem.code == "E0805"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_a_missing_device_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(RunError) as raised:
        fake_run(program(), tmp_path / "run", device="cuda:99")
    assert raised.value.problem.code == "E0601"
    assert not (tmp_path / "run").exists()


def test_f16_needs_a_gpu_and_bf16_does_not(tmp_path):
    with pytest.raises(RunError) as raised:
        fake_run(program(precision="f16"), tmp_path / "run")
    assert raised.value.problem.code == "E0602"
    assert fake_run(program(precision="bf16", epochs=6), tmp_path / "b").metrics["val.loss"] < 0.6


def test_determinism_is_asked_for_and_given_back(tmp_path):
    seen = []

    class Net(nn.Linear):
        def forward(self, x):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().forward(x)

    fake_run(program(deterministic=True), tmp_path / "run", model=lambda: Net(8, 4))
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()


def test_lines_without_bars_where_nobody_watches(tmp_path, capsys):
    fake_run(program(measured=(accuracy(),)), tmp_path / "run", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:6] == [
        "net",
        "  model   Net: 244 parameters",
        "  data    70 train, 33 val, 29 test samples; batches of 16 samples",
        "  path    train, val, test made batch by batch: these are tensors",
        "  length  10 steps: 2 epochs of 5",
        "  device  cpu, 1 thread, f32",
    ]
    assert lines[6] == f"  run     {tmp_path / 'run'}"
    assert lines[7].startswith("epoch 1/2  train loss ")
    assert "val loss" in lines[7]
    assert lines[9].startswith("test  loss ")
    assert len(lines) == 10
    assert "\r" not in err


def test_a_line_now_and_then_where_nobody_watches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("expc.runtime.progress.QUIET_SECONDS", 0.0)
    fake_run(program(measured=(accuracy(),), epochs=1), tmp_path / "a", progress=True)
    lines = capsys.readouterr().err.splitlines()[7:]
    assert [line.partition("  loss")[0] for line in lines[:2]] == ["epoch 1/1  step 2/5", "epoch 1/1  step 4/5"]
    assert re.search(r"step 4/5  loss [\d.]+  accuracy [\d.]+  lr 0.1  ·  [\d,]+ samples/s$", lines[1])
    assert lines[2].startswith("epoch 1/1  train loss")
    monkeypatch.setattr("expc.runtime.progress.QUIET_SECONDS", 3600)
    monkeypatch.setattr("expc.runtime.progress.ALIVE_SECONDS", 0.0)
    fake_run(program(epochs=1, log=Log(every=None, tensorboard=False)), tmp_path / "b", progress=True)
    lines = capsys.readouterr().err.splitlines()[7:]
    assert re.fullmatch(r"epoch 1/1  step 1/5  ·  [\d,]+ samples/s", lines[0])
    assert sum("val  step" in line for line in lines) == 3


def test_bars_with_loss_and_metrics_on_a_terminal(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    with patch.object(sys, "stderr", terminal), patch.dict(os.environ, {"COLUMNS": "200", "LINES": "40"}):
        fake_run(program(measured=(accuracy(),)), tmp_path / "run", progress=True)
    shown = terminal.getvalue()
    for pattern in (
        r"epochs:.*2/2.*loss [\d.]+ accuracy [\d.]+",
        r"train: 3/5.* [\d,]+ samples/s, loss [\d.]+ accuracy [\d.]+ lr 0.1",
        r"val:.*3/3",
    ):
        assert re.search(pattern, shown), pattern


@pytest.mark.parametrize(("lines", "columns", "bars"), [(40, 80, True), (0, 0, False), (0, 80, False), (2, 80, False)])
def test_a_terminal_without_room_for_bars_gets_lines(lines, columns, bars):
    one, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    with os.fdopen(one), os.fdopen(other, "w") as terminal, patch.dict(os.environ, {"TERM": "xterm"}):
        assert Progress(shown=True, stream=terminal).has_bars is bars


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from fake_runs import fake_run, network, program, nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()
    def forward(self, x):
        time.sleep(0.02)
        return self.net(x)

result = fake_run(program(epochs=1000), {out!r}, model=Slow, progress=True)
print(result.status, result.signal, result.steps)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_what_was_learnt(tmp_path, number):
    out = tmp_path / "run"
    script = SCRIPT.format(folder=str(Path(__file__).parent), out=str(out))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (out / "best.safetensors").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    status, received, steps = stdout.split()
    assert (status, int(received)) == ("interrupted", number)
    assert "Traceback" not in stderr
    assert f"stopped by {number.name} after step {steps} of 5,000" in stderr
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    last = load_file(out / "checkpoints" / f"step-{int(steps):06d}" / "model.safetensors")
    final = load_file(out / "final.safetensors")
    assert all(torch.equal(last[key], final[key]) for key in final)
    assert final["net.1.num_batches_tracked"] == int(steps)


def test_a_second_signal_ends_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)

    class Stubborn(nn.Linear):
        def forward(self, x):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("went on")

    with pytest.raises(KeyboardInterrupt):
        fake_run(program(), tmp_path / "run", model=lambda: Stubborn(8, 4))
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"


def test_outside_the_main_thread_runs_need_no_handlers(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fake_run, program(), tmp_path / "run").result().status == "finished"


def test_the_same_seed_gives_the_same_run(tmp_path):
    runs = [fake_run(program(seed=seed), tmp_path / str(n)) for n, seed in enumerate((5, 5, 6))]
    a, b, c = (load_file(r.directory / "final.safetensors") for r in runs)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["0.weight"], c["0.weight"])
