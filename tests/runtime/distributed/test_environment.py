"""Which process of a run this is: what torchrun and srun really set, and what they never set together."""

import subprocess
import sys

import pytest

from expc.diagnostics import text
from expc.runtime.distributed.environment import Place, place_of, refuse_launched, refuse_too_few
from expc.runtime.errors import RunError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "3",
    "SLURM_NTASKS": "7",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
    "SLURM_STEP_NODELIST": "gpu[08-10,12]",
}
BATCH = {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "8", "SLURM_NODELIST": "a"}


def test_a_plain_process():
    assert place_of({}) is None
    assert place_of({"MASTER_ADDR": "somewhere", "MASTER_PORT": "1", "OMP_NUM_THREADS": "4"}) is None
    assert place_of(BATCH) is None  # the script itself, whatever its job asks for
    assert place_of(BATCH | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert place_of({name: value for name, value in SRUN.items() if name != "SLURM_PROCID"}) is None


def test_torchrun():
    assert place_of(TORCHRUN) == Place(5, 8, 1, 4, 2, "10.0.0.1", 29500, "torchrun")


def test_what_torchrun_sets():
    """The launcher itself, with two processes."""
    code = "import os; from expc.runtime.distributed.environment import place_of; print(place_of(os.environ))"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    command += [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert "Place(rank=0, size=2, local_rank=0, local_size=2, nodes=1, " in done.stdout
    assert "Place(rank=1, size=2, local_rank=1, local_size=2, nodes=1, " in done.stdout


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({}, Place(6, 7, 0, 1, 4, "gpu08", 14711, "srun")),
        ({"SLURM_NODEID": "2", "SLURM_LOCALID": "1"}, Place(6, 7, 1, 2, 4, "gpu08", 14711, "srun")),
        ({"SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "a1,b[2-9]"}, Place(6, 7, 0, 1, 4, "a1", 14713, "srun")),
        ({"SLURM_STEP_NODELIST": "a[3-4]x[1,2],b"}, Place(6, 7, 0, 1, 4, "a3x1", 14711, "srun")),
        ({"SLURM_JOB_ID": "20049999"}, Place(6, 7, 0, 1, 4, "gpu08", 19999, "srun")),
        ({"MASTER_ADDR": "ib0", "MASTER_PORT": "77"}, Place(6, 7, 0, 1, 4, "ib0", 77, "srun")),
        (
            {"SLURM_STEP_TASKS_PER_NODE": "", "SLURM_NTASKS_PER_NODE": "2"},
            Place(6, 7, 0, 2, 4, "gpu08", 14711, "srun"),
        ),
    ],
)
def test_srun(changed, place):
    assert place_of(SRUN | changed) == place


def test_torchrun_as_a_task_of_srun():
    agents = SRUN | {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "1"}
    agents |= {"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    assert place_of(agents | TORCHRUN) == place_of(TORCHRUN)
    every = SRUN | {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"}
    assert place_of(every | TORCHRUN) == place_of(TORCHRUN)  # a batch file that sets RANK=$SLURM_PROCID
    assert place_of(BATCH | TORCHRUN) == place_of(TORCHRUN)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RANK": "0"}, "`RANK=0`: `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`"),
        (TORCHRUN | {"MASTER_PORT": ""}, "`RANK=5`, `WORLD_SIZE=8` and `LOCAL_RANK=1`: `MASTER_PORT` is not set"),
        (TORCHRUN | {"RANK": "one"}, "`RANK=one`: this must be a whole number of at least 0"),
        (TORCHRUN | {"RANK": "-1"}, "`RANK=-1`: this must be a whole number of at least 0"),
        (TORCHRUN | {"WORLD_SIZE": "0"}, "`WORLD_SIZE=0`: this must be a whole number of at least 1"),
        (TORCHRUN | {"WORLD_SIZE": "8.0"}, "`WORLD_SIZE=8.0`: this must be a whole number"),
        (TORCHRUN | {"RANK": "8"}, "`RANK=8` and `WORLD_SIZE=8`: ranks go from 0 to 7"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, "`LOCAL_RANK=4` and `LOCAL_WORLD_SIZE=4`: ranks go from 0 to 3"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "9"}, "a part is greater than the whole"),
        (TORCHRUN | {"GROUP_WORLD_SIZE": "1"}, "on one machine, and only there, all processes are local"),
        (TORCHRUN | {"MASTER_PORT": "65536"}, "`MASTER_PORT=65536`: ports go from 1 to 65535"),
        (TORCHRUN | {"MASTER_PORT": "0"}, "`MASTER_PORT=0`: this must be a whole number of at least 1"),
        (SRUN | {"SLURM_PROCID": "7"}, "`SLURM_PROCID=7` and `SLURM_STEP_NUM_TASKS=7`: ranks go from 0 to 6"),
        (SRUN | {"SLURM_PROCID": "x"}, "`SLURM_PROCID=x`: this must be a whole number"),
        (SRUN | {"SLURM_LOCALID": "1"}, "`SLURM_LOCALID=1` and `SLURM_STEP_TASKS_PER_NODE=2(x3),1`: local ranks go"),
        (SRUN | {"SLURM_LOCALID": ""}, "`SLURM_LOCALID` is not set"),
        (SRUN | {"SLURM_NODEID": "4"}, "`SLURM_NODEID=4`: these do not add up"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "2(x4)"}, "these do not add up"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "2x3"}, "`SLURM_STEP_TASKS_PER_NODE=2x3`: counts of tasks are such as"),
        (SRUN | {"SLURM_STEP_NODELIST": "", "SLURM_NODEID": ""}, "`SLURM_JOB_NODELIST` is not set"),
        (SRUN | {"MASTER_PORT": "99999"}, "`MASTER_PORT=99999`"),
        (
            SRUN | TORCHRUN | {"SLURM_NODEID": "0"},
            "torchrun says process 5 of 8, srun says 6 of 7",
        ),
        (
            SRUN | TORCHRUN | {"SLURM_STEP_TASKS_PER_NODE": "1(x7)", "GROUP_WORLD_SIZE": "8"},
            "torchrun says process 5 of 8, srun says 6 of 7",
        ),
    ],
)
def test_one_problem_for_variables_that_contradict_each_other(environ, said):
    with pytest.raises(RunError) as raised:
        place_of(environ)
    problem = raised.value.problem
    assert problem.code == "E0606"
    assert said in problem.message
    assert problem.notes
    assert "environment" in text.render(problem, colour=False)


def test_processes_are_started_once():
    torchrun, task = place_of(TORCHRUN), place_of(SRUN)
    refuse_launched(None, "--gpus 4")
    refuse_launched(task, "--gpus 4", is_for_node=True)
    for place, is_for_node in ((torchrun, False), (torchrun, True), (task, False)):
        with pytest.raises(RunError) as raised:
            refuse_launched(place, "--gpus 4", is_for_node=is_for_node)
        assert raised.value.problem.code == "E0607"
        assert "`--gpus 4` starts processes" in raised.value.problem.message
    with pytest.raises(RunError, match="srun has started this one, as 6 of 7"):
        refuse_launched(place_of(SRUN | {"SLURM_NODEID": "2"}), "--gpus 4", is_for_node=True)


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        (4, 2, "`--gpus 4`: this machine has 2 GPUs"),
        (4, 1, "`--gpus 4`: this machine has 1 GPU"),
        (1, 0, "`--gpus 1`: this machine has no GPU that torch can use"),
        ("all", 0, "`--gpus all`: this machine has no GPU that torch can use"),
    ],
)
def test_more_gpus_than_there_are(asked, found, said):
    with pytest.raises(RunError) as raised:
        refuse_too_few(asked, found)
    assert raised.value.problem.code == "E0608"
    assert raised.value.problem.message == said


def test_as_many_gpus_as_there_are():
    refuse_too_few(2, 2)
    refuse_too_few("all", 1)
