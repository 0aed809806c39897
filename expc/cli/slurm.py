"""The text of a batch file that runs an experiment under Slurm, and takes its place in the queue again.

What `sbatch` and `srun` do with it: https://slurm.schedmd.com/sbatch.html. Slurm warns the batch shell before the time
is over; the shell tells `srun`, which tells every process of the run, and these end with the status `PREEMPTED` once
everything is saved. A job that is cancelled gets SIGTERM instead, of which the shell only takes note: its steps get it
from Slurm.
"""

import re
import shlex
from typing import Final

from expc.cli import PREEMPTED
from expc.frozen import dataclass

WARNED: Final = 120
"""So many seconds before its time is over a job is told: for the step being taken, and a checkpoint."""

_PORTS: Final = 10_000, 20_000
"""The first port that a job may take, and how many there are: below those that a kernel gives to whoever asks."""

_TEXT: Final = """\
#!/bin/bash
{options}

# Submit it with `sbatch` in the folder from which expc is to run. The run directory is named after the job, so that
# a job that was stopped goes on where it was, as often as its time is over.

{rendezvous}srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task={cpus} \\
  {command} &
run=$!

# Slurm sends USR1 {warned} s before the time is over. What was cancelled does not come back.
cancelled=
trap 'told=1; kill -USR1 "$run"' USR1
trap 'told=1; cancelled=1' TERM

status=
until [ "$status" ]; do
  told=
  wait "$run"
  status=$?
  # A signal ends `wait`, but not what it waits for.
  if [ "$told" ] && [ "$status" -gt 128 ]; then status=; fi
done

if [ "$status" -eq {preempted} ] && [ -z "$cancelled" ]; then
  scontrol requeue "$SLURM_JOB_ID" && exit 0
fi
exit "$status"
"""

_RENDEZVOUS: Final = """\
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$(({first} + SLURM_JOB_ID % {count}))
"""


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm, for the run of a file."""

    file: str
    overrides: tuple[str, ...]
    nodes: int
    gpus: int
    """On each node."""
    cpus: int
    """On each node."""
    time: str | None
    partition: str | None


def batch_file(job: Job) -> str:
    """The text of the batch file."""
    name = _name(job.file)
    options = {
        "job-name": name,
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": job.gpus,
        "cpus-per-task": job.cpus,
        "time": job.time,
        "partition": job.partition,
        "signal": f"B:USR1@{WARNED}",
        "requeue": "",
        "open-mode": "append",
        "output": "%x-%j.out",
    }
    said = {key: value for key, value in options.items() if value is not None}
    lines = [f"#SBATCH --{key}={value}" if value != "" else f"#SBATCH --{key}" for key, value in said.items()]
    several = job.nodes > 1
    return _TEXT.format(
        options="\n".join(lines),
        rendezvous=_RENDEZVOUS.format(first=_PORTS[0], count=_PORTS[1]) if several else "",
        cpus=job.cpus,
        command=_command(job, name),
        warned=WARNED,
        preempted=PREEMPTED,
    )


def _command(job: Job, name: str) -> str:
    sets = [word for override in job.overrides for word in ("--set", shlex.quote(override))]
    devices = ["--gpus", "all"]
    if job.nodes > 1:
        devices += ["--nodes", str(job.nodes), "--rdzv", '"$first:$port"']
    file = ["--", shlex.quote(job.file)] if job.file.startswith("-") else [shlex.quote(job.file)]
    out = f'"runs/{name}-$SLURM_JOB_ID"'
    return " ".join(["expc run", *sets, *devices, "--out", out, "--resume", "auto", *file])


def _name(file: str) -> str:
    """What the job is called after a file: letters, digits, dots and dashes, since Slurm and the shell read it."""
    stem = file.replace("\\", "/").rpartition("/")[2].removesuffix(".exp")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("-_.") or "experiment"
