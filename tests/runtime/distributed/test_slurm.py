"""The batch file of `expc launch slurm`, run by two nodes that are only a script: told to end, and queued anew."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from expc.cli import invoke

LIMIT = 100
"""Seconds for one job: what takes longer hangs."""

EXPERIMENT = """
data { train = FakeData(size=17, image_size=[1, 4, 4], num_classes=4) -> ToTensor, batch = 8 }
model Net(x: f32[N, 1, 4, 4]) -> f32[N, 4] { Flatten -> Linear(8) -> Tanh -> Linear(4) }
train { epochs = 60, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), deterministic = true }
checkpoint { every = 5 epochs }
log { tensorboard = false }
"""

# Each task has a session of its own, and a signal for the step reaches every process of it: so does Slurm.
SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_ID=0 SLURM_LOCALID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_TASKS_PER_NODE='1(x2)'
export SLURM_STEP_NODELIST=localhost
SLURM_PROCID=0 SLURM_NODEID=0 setsid "$@" & first=$!
SLURM_PROCID=1 SLURM_NODEID=1 setsid "$@" & second=$!
echo $first $second > tasks
trap 'kill -USR1 -- -$first -$second' USR1
greatest=0
for task in $first $second; do
  while :; do wait $task; status=$?; kill -0 $task 2> /dev/null || break; done
  echo $status >> statuses
  [ $status -gt $greatest ] && greatest=$status
done
exit $greatest
"""
SCONTROL = """\
#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> requeued; fi
"""


def finished(job: subprocess.Popen[bytes], folder: Path) -> int:
    """The exit status of a job; one that hangs is ended, with all that it has started."""
    try:
        return job.wait(timeout=LIMIT)
    finally:
        job.kill()
        for task in (folder / "tasks").read_text().split():
            with suppress(ProcessLookupError):
                os.killpg(int(task), signal.SIGKILL)


@pytest.mark.slow
def test_two_nodes_are_told_to_end_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.exp").write_text(EXPERIMENT)
    (tmp_path / "bin").mkdir()
    expc = f'#!/bin/bash\nexec {sys.executable} -m expc "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("expc", expc)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    job_id = str(os.getpid())
    for name, value in {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": job_id,
        "SLURM_JOB_NODELIST": "localhost",
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert invoke(["launch", "slurm", "net.exp", "--nodes", "2"]) == 0
    batch = capsys.readouterr().out.replace("--gpus all", "--cpus 1")
    (tmp_path / "batch.sh").write_text(batch)
    directory = tmp_path / "runs" / f"net-{job_id}"

    job = subprocess.Popen(["bash", "batch.sh"])
    deadline = time.monotonic() + LIMIT
    while not list(directory.glob("checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert finished(job, tmp_path) == 0
    assert (tmp_path / "statuses").read_text().split() == ["75", "75"]
    assert (tmp_path / "requeued").read_text() == f"requeue {job_id}\n"
    assert json.loads((directory / "run.json").read_text())["status"] == "interrupted"

    assert finished(subprocess.Popen(["bash", "batch.sh"]), tmp_path) == 0
    assert (tmp_path / "statuses").read_text().split() == ["75", "75", "0", "0"]
    assert (tmp_path / "requeued").read_text() == f"requeue {job_id}\n"

    assert invoke(["run", "net.exp", "--device", "cpu", "--out", "alone"]) == 0
    alone, together = (load_file(path / "final.safetensors") for path in (tmp_path / "alone", directory))
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-5, atol=1e-6)
