"""What can go wrong where a run has several processes."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class LaunchVariables(Problem):
    """The environment variables that tell a process its place among others are incomplete, or contradict each other.

    `torchrun` sets `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `GROUP_WORLD_SIZE`, `MASTER_ADDR` and
    `MASTER_PORT`; `srun` sets `SLURM_PROCID`, `SLURM_NTASKS` and others. With wrong ones the processes would wait for
    each other for ever, or do the same work twice. Left over from another program, they are taken away with
    `env -u RANK -u WORLD_SIZE -u LOCAL_RANK expc run ...`, or `env -u SLURM_PROCID expc run ...`.

    ```exp wrong
    # RANK=4 WORLD_SIZE=4 expc run net.exp
    distributed { strategy = ddp }
    ```

    ```exp right
    # torchrun --nproc-per-node 4 -m expc run net.exp
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0606"
    name: ClassVar[str] = "launch-variables"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class LaunchedAlready(Problem):
    """`--gpus`, `--cpus` or `--nodes` asks for processes where another launcher has started the processes already.

    Under `torchrun`, or with one task of `srun` for each GPU, write neither: the run takes the processes that there
    are. One task of `srun` for each node may start the processes of its node, with `--nodes` and `--rdzv`.

    ```exp wrong
    # torchrun --nproc-per-node 4 -m expc run net.exp --gpus 4
    distributed { strategy = ddp }
    ```

    ```exp right
    # torchrun --nproc-per-node 4 -m expc run net.exp
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0607"
    name: ClassVar[str] = "launched-already"
    template: ClassVar[str] = "`{option}` starts processes, and {launcher} has started this one, as {rank} of {size}"

    option: str
    launcher: str
    rank: int
    size: int


@dataclass(frozen=True, kw_only=True)
class TooFewGpus(Problem):
    """A run asks for more GPUs than this machine has, or than the environment variable `CUDA_VISIBLE_DEVICES` shows.

    Nothing was started. `--gpus all` takes as many as there are; `--cpus N` runs N processes on the CPU, to try out
    what several devices will do.

    ```exp wrong
    # expc run net.exp --gpus 8
    distributed { strategy = ddp }
    ```

    ```exp right
    # expc run net.exp --gpus all
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0608"
    name: ClassVar[str] = "too-few-gpus"
    template: ClassVar[str] = "`--gpus {asked}`: {found}"

    asked: int | str
    found: str
    """In words: `this machine has 2 GPUs`."""
