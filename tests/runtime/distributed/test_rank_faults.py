"""A share of what `benchmarks/rank_faults.py` does at length: processes of a run that are killed, or fail alone."""

import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from by_hand import program

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from rank_faults import Life, begin, experiment, same, steps_in, undisturbed  # noqa: E402

from expc.runtime.distributed.launch import GRACE, _failed  # noqa: E402
from expc.runtime.distributed.reports import PHASES  # noqa: E402

LONGEST = 90
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes as Linux shows them")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of the runs, and the run to which nothing happens."""
    file = experiment(tmp_path_factory.mktemp("faults"), epochs=2)
    return file, undisturbed(file, 2)[0]


def learning(file: Path, out: Path, *options: str) -> Life:
    """A run in two processes that has begun to learn."""
    life = begin(file, 2, out, *options)
    end = time.monotonic() + LONGEST
    while not steps_in(out):
        assert life.process.poll() is None, life.output.read_text()
        assert time.monotonic() < end, "it does not begin"
        time.sleep(0.02)
    assert len(life.ranks()) == 2
    return life


def ended(life: Life) -> tuple[int, str]:
    """How a run ends, and what it has said; nothing of it may be left."""
    try:
        status = life.process.wait(LONGEST)
        time.sleep(0.2)
        assert not life.left()
    finally:
        life.end()
    return status, life.output.read_text()


def test_a_process_that_is_killed_is_started_again_to_the_same_end(calm: tuple[Path, Path], tmp_path: Path) -> None:
    file, undisturbed_run = calm
    life = learning(file, tmp_path / "out", "--max-restarts", "1")
    os.kill(life.ranks()[1], signal.SIGKILL)
    status, said = ended(life)
    assert status == 0, said
    assert same(tmp_path / "out", undisturbed_run)


def test_nothing_outlives_its_launcher(calm: tuple[Path, Path], tmp_path: Path) -> None:
    life = learning(calm[0], tmp_path / "out")
    os.kill(life.ranks()[0], signal.SIGSTOP)
    os.kill(life.process.pid, signal.SIGKILL)
    assert ended(life)[0] == -signal.SIGKILL


@pytest.mark.parametrize(
    ("does", "code", "line"),
    [("raise 1 val", "process 1: error[E0701", 'ToTensor -> Faulty("val")'), ("nan 1 train", "error[E0809", "loss")],
)
def test_what_fails_in_one_process_ends_all_with_one_message(
    calm: tuple[Path, Path], tmp_path: Path, does: str, code: str, line: str
) -> None:
    file, _ = calm
    life = learning(file, tmp_path / "out")
    trigger = file.parent / "trigger"
    trigger.write_text(does)
    status, said = ended(life)
    assert not trigger.exists(), "nothing has failed"
    assert status == 1
    assert said.count("error[") == 1
    assert code in said
    assert line in said
    assert "Traceback" not in said


def test_a_signal_to_one_process_ends_all_at_the_same_step(calm: tuple[Path, Path], tmp_path: Path) -> None:
    life = learning(calm[0], tmp_path / "out")
    os.kill(life.ranks()[1], signal.SIGUSR1)
    status, said = ended(life)
    assert status == 75, said
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert (tmp_path / "out" / "checkpoints" / f"step-{facts['steps']:06}").is_dir()


@pytest.mark.parametrize(("silence", "note"), [(20.0, "no sign of life for 20 s"), (0.5, "it was alive")])
def test_a_process_that_does_not_go_on_is_named_with_its_step_and_its_line(
    tmp_path: Path, silence: float, note: str
) -> None:
    """Its launcher kills it half a minute after another one has waited in vain: that is not waited for here."""
    checked = program("epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)")
    at = float(int(time.time()))  # torch notes whole seconds
    for rank, (step, alive) in enumerate([(7, at), (6, at - silence)]):
        beat = struct.pack("<qqddq", step, list(PHASES).index("training"), at - 40, alive, os.getpid())
        (tmp_path / f"{rank}.beat").write_bytes(beat)
    lost = {"time": at - GRACE, "text": "lost another one", "is_echo": True}
    (tmp_path / "0.error").write_text(json.dumps(lost))
    told = _failed(
        tmp_path,
        {
            0: SimpleNamespace(exitcode=1, timestamp=int(at - GRACE)),
            1: SimpleNamespace(exitcode=-signal.SIGKILL, timestamp=int(at)),
        },
        checked,
    )
    (problem,) = told.problems
    assert not told.failures
    assert problem.code == "E0616"
    assert problem.message.startswith("process 1 did not go on after step 6, training; the others waited for")
    assert problem.span.text == "CrossEntropyLoss"
    assert note in problem.notes[0]
