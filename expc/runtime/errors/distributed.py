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


@dataclass(frozen=True, kw_only=True)
class BackendUnfit(Problem):
    """The backend that the file asks for does not carry data between devices of this kind.

    `nccl` is for GPUs, `gloo` for the CPU. `auto` takes the one that fits where the run starts.

    ```exp wrong
    # expc run net.exp --cpus 4
    distributed { backend = nccl }
    ```

    ```exp right
    # expc run net.exp --cpus 4
    distributed { backend = auto }
    ```
    """

    code: ClassVar[str] = "E0610"
    name: ClassVar[str] = "backend-unfit"
    template: ClassVar[str] = "`{backend}` does not carry data between processes on `{device}`: write `backend = auto`"

    backend: str
    device: str


@dataclass(frozen=True, kw_only=True)
class NotMet(Problem):
    """The processes or machines of a run did not find each other, or have lost where they meet.

    Each needs to reach the first one's address, and all must come within `distributed.timeout`; machines must be
    started within a minute of the one where they meet. A firewall between machines, another address in one of them, or
    a process that has ended before may be to blame.

    ```exp wrong
    # expc run net.exp --gpus 4 --nodes 2 --rdzv login-node:29400
    distributed { timeout = 1 s }
    ```

    ```exp right
    # expc run net.exp --gpus 4 --nodes 2 --rdzv first-node:29400
    distributed { timeout = 10 min }
    ```
    """

    code: ClassVar[str] = "E0611"
    name: ClassVar[str] = "not-met"
    template: ClassVar[str] = "{who} the others at {address}: {reason}"

    who: str
    """And what it did: `process 1 of 4 did not meet`."""
    address: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NotShared(Problem):
    """The file says that nothing is shared between devices, and the run was started as several processes.

    Take `--gpus`, `--cpus` or the launcher away, or let the processes share the work.

    ```exp wrong
    # expc run net.exp --gpus 4
    distributed { strategy = none }
    ```

    ```exp right
    # expc run net.exp --gpus 4
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0612"
    name: ClassVar[str] = "not-shared"
    template: ClassVar[str] = "`strategy = none` shares nothing between {size} processes: write `strategy = auto`"

    size: int


@dataclass(frozen=True, kw_only=True)
class OtherCheckpoints(Problem):
    """The processes of a run that goes on do not see the same checkpoint.

    The run directory must lie where every machine sees the same files: on a disk that they share.

    ```exp wrong
    # expc run net.exp --gpus 4 --nodes 2 --rdzv first-node:29400 --resume /tmp/run
    checkpoint { every = 1 epochs }
    ```

    ```exp right
    # expc run net.exp --gpus 4 --nodes 2 --rdzv first-node:29400 --resume /shared/run
    checkpoint { every = 1 epochs }
    ```
    """

    code: ClassVar[str] = "E0613"
    name: ClassVar[str] = "other-checkpoints"
    template: ClassVar[str] = (
        "the processes see other checkpoints in {path}, process by process: those of steps {steps}"
    )

    path: str
    steps: str


@dataclass(frozen=True, kw_only=True)
class PeerLost(Problem):
    """A process waited for another one, which has died, or does not go on.

    A process that was killed, a machine that is gone, or one that hangs: the run ends, and goes on from its last
    checkpoint with `expc resume`. How long a process waits is `distributed.timeout`.

    ```exp wrong
    # a process was stopped in the middle of a step
    distributed { timeout = 10 s }
    ```

    ```exp right
    distributed { timeout = 10 min }
    ```
    """

    code: ClassVar[str] = "E0614"
    name: ClassVar[str] = "peer-lost"
    template: ClassVar[str] = "process {rank} of {size} lost another one {where}: {reason}"

    rank: int
    size: int
    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ProcessEnded(Problem):
    """A process of the run was killed, or ended without a word.

    The system may have needed its memory (signal 9), or code that is not Python has failed (signal 11). The other
    processes are ended too. `--max-restarts 3` lets torch's launcher start all of them again, from the last checkpoint.

    ```exp wrong
    # kill -9 PID
    checkpoint { every = none }
    ```

    ```exp right
    # expc run net.exp --gpus 4 --max-restarts 3
    checkpoint { every = 1 epochs }
    ```
    """

    code: ClassVar[str] = "E0615"
    name: ClassVar[str] = "process-ended"
    template: ClassVar[str] = "process {rank} {how}{where}"

    rank: int
    how: str
    where: str
    """How far it was: ` after step 12, training`."""


@dataclass(frozen=True, kw_only=True)
class ProcessStalled(Problem):
    """A process of the run did not go on, and the others waited for it as long as `distributed.timeout` says.

    It may have been stopped, wait for a disk or a network that does not answer, or be in code that never ends. All
    processes were ended. The line is that of what it was at.

    ```exp wrong
    # kill -STOP PID
    distributed { timeout = 10 s }
    ```

    ```exp right
    # kill -CONT PID, within
    distributed { timeout = 10 min }
    ```
    """

    code: ClassVar[str] = "E0616"
    name: ClassVar[str] = "process-stalled"
    template: ClassVar[str] = "process {rank} did not go on{where}; the others waited for {waited}"

    rank: int
    where: str
    waited: str
