"""Which process of a run this is, from the environment variables of whoever started it.

`torchrun`, and the launcher of expc, which is torch's too, set `RANK` and its companions; Slurm's `srun` sets
`SLURM_PROCID` and others. Nothing here imports torch.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from expc.frozen import dataclass
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.distributed import LaunchedAlready, LaunchVariables, TooFewGpus

_TORCHRUN: Final = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
)
_CLAIMS: Final = _TORCHRUN[:3]
"""What only a launcher sets: an address alone is exported by many batch files."""
_SLURM_SIZE: Final = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_SLURM_COUNTS: Final = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
_SLURM_NODES: Final = ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST")
_PORTS: Final = 10_000, 20_000
"""The first port of a Slurm job, and among how many: below those that a kernel gives to whoever asks."""
_ADVICE: Final = {
    "torchrun": "torchrun sets all of these; where another program has left them, take them away: "
    "`env -u RANK -u WORLD_SIZE -u LOCAL_RANK expc run ...`",
    "srun": "srun sets all of these; for a run of its own in each task take one away: "
    "`env -u SLURM_PROCID expc run ...`",
    "both": "let srun start torchrun once on each node, `srun --ntasks-per-node=1 torchrun ...`; or let it start every "
    "process, without torchrun",
}
"""What to do where the variables of a launcher are wrong, or those of both."""


@dataclass(frozen=True)
class Place:
    """The place of this process among those of its run."""

    rank: int
    """From 0 on, among all `size` processes."""
    size: int
    local_rank: int
    """From 0 on, among the `local_size` processes of this machine."""
    local_size: int
    nodes: int
    """The number of machines."""
    address: str
    """Where the processes meet: the host, and its port."""
    port: int
    launched_by: Literal["torchrun", "srun"]


def place_of(environ: Mapping[str, str]) -> Place | None:
    """The place that the environment variables give this process; none where nobody started it as one of several.

    Raises `RunError` (E0606) where they are incomplete or contradict each other.
    """
    is_torchrun = any(environ.get(name) for name in _CLAIMS)
    if not _is_task(environ):
        return _by_torchrun(environ) if is_torchrun else None
    task = _Task(environ)
    if not is_torchrun:
        return task.place() if task.size > 1 else None
    place = _by_torchrun(environ)
    if task.size > 1:
        _compare(place, task)
    return place


def refuse_launched(place: Place | None, option: str, *, is_for_node: bool = False) -> None:
    """Raise `RunError` (E0607) where `option`, such as `--gpus 4`, asks for processes and a launcher has started this.

    `is_for_node`: `--nodes` is said too, so that this process may be the one task of `srun` on its machine, which
    starts those that train.
    """
    if place is None or (is_for_node and place.launched_by == "srun" and place.local_size == 1):
        return
    name, _, value = option.partition(" ")
    notes = (f"leave `{name}` out: the run takes the {place.size} processes that there are",)
    problem = LaunchedAlready(
        span=option_span(name, value or name),
        option=option,
        launcher=place.launched_by,
        rank=place.rank,
        size=place.size,
        notes=notes,
    )
    raise RunError(problem)


def refuse_too_few(asked: int | Literal["all"], found: int) -> None:
    """Raise `RunError` (E0608) where fewer GPUs were `found` than `--gpus` asks for, of `all` at least one."""
    if found >= (1 if asked == "all" else asked):
        return
    there = "1 GPU" if found == 1 else f"{found} GPUs" if found else "no GPU that torch can use"
    count = 2 if asked == "all" else asked
    processes = "1 process" if count == 1 else f"{count} processes"
    advice = f"write `--gpus {found}`" if found else f"`--cpus {count}` runs {processes} on the CPU"
    span = option_span("--gpus", str(asked))
    raise RunError(TooFewGpus(span=span, asked=asked, found=f"this machine has {there}", notes=(advice,)))


# ---------------------------------------------------------------------------------------------------- torchrun


def _by_torchrun(environ: Mapping[str, str]) -> Place:
    _require(environ, _TORCHRUN, "torchrun")
    rank, size = _ranks(environ, "RANK", "WORLD_SIZE", "torchrun")
    local_rank, local_size = _ranks(environ, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "torchrun")
    nodes = _number(environ, "GROUP_WORLD_SIZE", "torchrun", least=1)
    counts = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")
    if local_size > size or nodes > size or local_rank > rank:
        names = ("RANK", "LOCAL_RANK", *counts)
        raise _contradiction(environ, names, "a part is greater than the whole", "torchrun")
    if (nodes == 1) != (local_size == size):
        raise _contradiction(environ, counts, "on one machine, and only there, all processes are local", "torchrun")
    address, port = environ["MASTER_ADDR"], _port(environ)
    return Place(rank, size, local_rank, local_size, nodes, address, port, "torchrun")


def _port(environ: Mapping[str, str]) -> int:
    port = _number(environ, "MASTER_PORT", "torchrun", least=1)
    if port > 65535:
        raise _contradiction(environ, ("MASTER_PORT",), "ports go from 1 to 65535", "torchrun")
    return port


# ---------------------------------------------------------------------------------------------------- Slurm


def _is_task(environ: Mapping[str, str]) -> bool:
    """Whether `srun` started this process. A batch script has a `SLURM_PROCID` too, but is no step of its job."""
    rank = environ.get("SLURM_PROCID")
    return bool(rank) and (rank != "0" or any(name.startswith("SLURM_STEP") for name in environ))


class _Task:
    """A task of a Slurm step. Raises `RunError` (E0606) for variables that contradict each other."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.size_name = _first(environ, _SLURM_SIZE)
        _require(environ, (self.size_name,), "srun")
        self.rank, self.size = _ranks(environ, "SLURM_PROCID", self.size_name, "srun")

    def place(self) -> Place:
        environ, nodes = self.environ, _first(self.environ, _SLURM_NODES)
        _require(environ, ("SLURM_LOCALID", nodes, "SLURM_JOB_ID"), "srun")
        local_rank = _number(environ, "SLURM_LOCALID", "srun")
        local_size, machines = self.sizes()
        if local_rank >= local_size:
            names = ("SLURM_LOCALID", self.local_name)
            raise _contradiction(environ, names, f"local ranks go from 0 to {local_size - 1}", "srun")
        address = environ.get("MASTER_ADDR") or _first_host(environ[nodes])
        if environ.get("MASTER_PORT"):
            port = _port(environ)
        else:
            job = _number(environ, "SLURM_JOB_ID", "srun")
            step = _number(environ, "SLURM_STEP_ID", "srun") if environ.get("SLURM_STEP_ID") else 0
            port = _PORTS[0] + (job + step) % _PORTS[1]
        return Place(self.rank, self.size, local_rank, local_size, machines, address, port, "srun")

    @property
    def local_name(self) -> str:
        """The variable that says how many tasks a machine has."""
        name = _first(self.environ, _SLURM_COUNTS)
        return name if self.environ.get(name) and self.environ.get("SLURM_NODEID") else "SLURM_NTASKS_PER_NODE"

    def sizes(self) -> tuple[int, int]:
        """How many tasks this machine has, and how many machines there are."""
        environ, name = self.environ, self.local_name
        _require(environ, (name,), "srun")
        if name == "SLURM_NTASKS_PER_NODE":
            local_size = min(_number(environ, name, "srun", least=1), self.size)
            return local_size, -(-self.size // local_size)
        counts = _counts(environ, name)
        node = _number(environ, "SLURM_NODEID", "srun")
        if sum(counts) != self.size or node >= len(counts):
            names = (self.size_name, name, "SLURM_NODEID")
            raise _contradiction(environ, names, "these do not add up", "srun")
        return counts[node], len(counts)


def _compare(place: Place, task: _Task) -> None:
    """Under `srun` each task is one of torchrun's processes, or it is the one torchrun of its machine.

    Fewer machines than tasks are fine then: some may not have joined yet.
    """
    if (place.rank, place.size) == (task.rank, task.size):
        return
    local_size, _ = task.sizes()
    if local_size == 1 and place.nodes <= task.size:
        return
    names = ("RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE", "SLURM_PROCID", task.size_name, task.local_name)
    reason = f"torchrun says process {place.rank} of {place.size}, srun says {task.rank} of {task.size}"
    raise _contradiction(task.environ, names, reason, "both")


def _counts(environ: Mapping[str, str], name: str) -> list[int]:
    """How many tasks each machine has: `2(x3),1` is 2, 2, 2 and 1."""
    counts: list[int] = []
    for part in environ[name].split(","):
        match = re.fullmatch(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", part)
        if match is None:
            raise _contradiction(environ, (name,), "counts of tasks are such as `2(x3),1`", "srun")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _first_host(nodes: str) -> str:
    """The first machine of a list such as `gpu[01-04,07],login1`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else nodes)


# ---------------------------------------------------------------------------------------------------- reading


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The first of some variables that is set; where none is, the one that people know, which is the last."""
    return next((name for name in names if environ.get(name)), names[-1])


def _require(environ: Mapping[str, str], names: tuple[str, ...], launcher: str) -> None:
    missing = [name for name in names if not environ.get(name)]
    if not missing:
        return
    there = _CLAIMS if launcher == "torchrun" else ("SLURM_PROCID", *_SLURM_SIZE)
    are = "is" if len(missing) == 1 else "are"
    raise _contradiction(environ, there, f"{_listed(missing)} {are} not set", launcher)


def _number(environ: Mapping[str, str], name: str, launcher: str, least: int = 0) -> int:
    text = environ[name]
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
        raise _contradiction(environ, (name,), f"this must be a whole number of at least {least}", launcher)
    return int(text)


def _ranks(environ: Mapping[str, str], rank_name: str, size_name: str, launcher: str) -> tuple[int, int]:
    rank, size = _number(environ, rank_name, launcher), _number(environ, size_name, launcher, least=1)
    if rank >= size:
        raise _contradiction(environ, (rank_name, size_name), f"ranks go from 0 to {size - 1}", launcher)
    return rank, size


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _contradiction(environ: Mapping[str, str], names: tuple[str, ...], reason: str, launcher: str) -> RunError:
    """What to raise for variables, those of `names` that are set, with the advice for a launcher, or for both."""
    values = [f"{name}={environ[name]}" for name in names if environ.get(name)]
    span = option_span("environment", " ".join(values))
    problem = LaunchVariables(span=span, reason=f"{_listed(values)}: {reason}", notes=(_ADVICE[launcher],))
    return RunError(problem)
