"""`expc launch slurm`: the batch file as text, and what bash does with it where `srun` and `scontrol` are others."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from expc.cli import invoke

MNIST = str(Path(__file__).parents[3] / "examples" / "mnist.exp")

SRUN = """\
#!/bin/bash
printf '%s\\0' "$@" > srun.args
trap 'exit 75' USR1
touch ready
for ((i = 0; i < $ROUNDS; i++)); do sleep 0.05; done
exit $STATUS
"""
SCONTROL = """\
#!/bin/bash
if [ "$1" = show ]; then printf 'gpu%s\\n' 08 09; exit; fi
echo "$@" > scontrol.args
exit $REFUSES
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with an `srun` that waits and a `scontrol` that takes note."""
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    more = {
        "SLURM_JOB_ID": "20049999",
        "SLURM_JOB_NODELIST": "gpu[08-09]",
        "STATUS": "0",
        "ROUNDS": "0",
        "REFUSES": "0",
    }
    for name, value in ({"PATH": f"{programs}:{os.environ['PATH']}"} | more).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def written(capsys: pytest.CaptureFixture[str], *options: str, file: str = MNIST) -> str:
    assert invoke(["launch", "slurm", *options, "--", file]) == 0
    return capsys.readouterr().out


def started(batch: str) -> subprocess.Popen[bytes]:
    Path("batch.sh").write_text(batch)
    return subprocess.Popen(["bash", "batch.sh"])


def given_to_srun() -> list[str]:
    return Path("srun.args").read_text().split("\0")[:-1]


def test_what_slurm_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--nodes", "2", "--gpus-per-node", "4", "--time", "2-00:00:00", "--partition", "a100,h100")
    text = written(capsys, *options, "--set", "data.workers=3")
    asked = {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH ")}
    assert asked == {
        *("job-name=mnist", "nodes=2", "ntasks-per-node=1", "gpus-per-node=4", "cpus-per-task=16", "time=2-00:00:00"),
        *("partition=a100,h100", "signal=B:USR1@120", "requeue", "open-mode=append", "output=%x-%j.out"),
    }
    first = text.index("srun")
    assert text.startswith("#!/bin/bash\n#SBATCH ")
    assert text.rindex("#SBATCH") < first
    assert "--time" not in written(capsys)


@pytest.mark.parametrize(
    "name", ["plain.exp", 'it\'s $(touch owned) `a`; "b".exp', "two\nlines #.exp", "-x.exp", "ü.exp"]
)
def test_every_name_of_a_file_reaches_the_run(name: str, cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text(Path(MNIST).read_text())
    batch = written(capsys, "--nodes", "2", "--set", "train.epochs=1 + 1", file=name)
    subprocess.run(["bash", "-n"], input=batch, text=True, check=True)
    assert started(batch).wait(timeout=20) == 0
    arguments = given_to_srun()
    arguments = arguments[arguments.index("expc") :]
    stem = arguments[arguments.index("--out") + 1].removeprefix("runs/").removesuffix("-20049999")
    assert arguments == [
        *("expc", "run", "--set", "train.epochs=1 + 1", "--gpus", "all", "--nodes", "2", "--rdzv", "gpu08:19999"),
        *("--out", f"runs/{stem}-20049999", "--resume", "auto", *(["--"] if name.startswith("-") else []), name),
    ]
    assert stem.replace("_", "").replace("-", "").replace(".", "").isalnum()
    assert not (cluster / "owned").exists()
    assert not (cluster / "scontrol.args").exists()


def test_one_node_needs_no_meeting_place(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert started(written(capsys)).wait(timeout=20) == 0
    assert given_to_srun()[-8:] == ["run", "--gpus", "all", "--out", "runs/mnist-20049999", "--resume", "auto", MNIST]


@pytest.mark.parametrize(
    ("ends_with", "refuses", "status", "requeued"),
    [("0", "0", 0, False), ("1", "0", 1, False), ("75", "0", 0, True), ("75", "1", 75, True), ("137", "0", 137, False)],
)
def test_what_was_stopped_to_make_room_queues_anew(
    ends_with: str,
    refuses: str,
    status: int,
    requeued: bool,
    cluster: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STATUS", ends_with)
    monkeypatch.setenv("REFUSES", refuses)
    assert started(written(capsys)).wait(timeout=20) == status
    note = cluster / "scontrol.args"
    assert (note.read_text() if note.exists() else None) == ("requeue 20049999\n" if requeued else None)


@pytest.mark.parametrize(("number", "status", "requeued"), [(signal.SIGUSR1, 0, True), (signal.SIGTERM, 75, False)])
def test_the_run_is_told_before_its_time_is_over(
    number: signal.Signals,
    status: int,
    requeued: bool,
    cluster: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGUSR1 reaches `srun`, which ends with 75. A job that is cancelled (SIGTERM) is told once, and stays away."""
    monkeypatch.setenv("ROUNDS", "600" if requeued else "10")
    monkeypatch.setenv("STATUS", "75")
    job = started(written(capsys))
    try:
        deadline = time.monotonic() + 20
        while not (cluster / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        job.send_signal(number)
        assert job.wait(timeout=20) == status
    finally:
        job.kill()
    assert (cluster / "scontrol.args").exists() == requeued


def test_nothing_is_written_over_and_nothing_wrong_is_queued(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["launch", "slurm", MNIST, "--out-file", "batch.sh"]) == 0
    text = Path("batch.sh").read_text()
    assert text == written(capsys)
    assert invoke(["launch", "slurm", MNIST, "--nodes", "3", "--out-file", "batch.sh"]) == 2
    assert "stays as it is" in capsys.readouterr().err
    assert Path("batch.sh").read_text() == text
    Path("wrong.exp").write_text(Path(MNIST).read_text().replace("AdamW", "AdamWW"))
    Path("model.exp").write_text("model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }")
    Path("alone.exp").write_text(Path(MNIST).read_text() + "\ndistributed { strategy = none }\n")
    assert written(capsys, file="alone.exp")
    for file, said in (
        ("wrong.exp", "AdamW"),
        ("model.exp", "nothing to run"),
        ("alone.exp", "2 GPUs share nothing: write `strategy = auto`"),
    ):
        assert invoke(["launch", "slurm", file, "--gpus-per-node", "2", "--out-file", "other.sh"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert not Path("other.sh").exists()


@pytest.mark.parametrize(
    "options",
    [("--nodes", "0"), ("--gpus-per-node", "0"), ("--time", "1:2:3:4"), ("--time", "1\n#"), ("--partition", "a b")],
)
def test_what_slurm_would_not_understand(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["launch", "slurm", MNIST, *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Invalid value" in err
