"""What the processes of a launch leave behind for whoever started them: how far each was, and what went wrong.

They are files in a folder of the launch, on each machine one. Telling how far a process is costs it a few bytes of
memory that the kernel writes to the file whenever it likes, also after the process has died.
"""

import json
import mmap
import os
import signal
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from expc.frozen import dataclass

FOLDER: Final = "EXPC_LAUNCH"
"""The environment variable that names the folder."""
LAUNCHER: Final = "EXPC_LAUNCHER"
"""The environment variable that has the number of the process that started this one."""
PHASES: Final = {
    "starting": "data.train",
    "training": "train.loss",
    "measuring val": "data.val",
    "measuring test": "data.test",
    "saving": "checkpoint.every",
    "ending": "",
}
"""What a process may be at, and the setting of the file that says so."""
BEAT: Final = 1.0
"""Seconds between two signs of life."""
_PROGRESS: Final = struct.Struct("<qqd")
_LIFE: Final = struct.Struct("<dq")
_SIZE: Final = _PROGRESS.size + _LIFE.size
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Failure:
    """What a process said before it ended."""

    rank: int
    time: float
    text: str
    is_echo: bool
    """Whether it only says that another process is gone."""


@dataclass(frozen=True)
class Seen:
    """How far a process was."""

    step: int
    """Steps that it had taken."""
    phase: str
    """One of `PHASES`."""
    since: float
    """When it said so, in seconds since 1970."""
    alive: float
    """When it gave its last sign of life: a process that waits gives one each second, one that is stopped none."""
    process: int
    """The system's number of it; 0 where it has given no sign of life yet."""


class Report:
    """What one process leaves; nothing, where no launcher of ours has started it."""

    def __init__(self, rank: int, folder: str | None = None) -> None:
        given = os.environ.get(FOLDER) if folder is None else folder
        self._rank: Final = rank
        self._folder: Final = Path(given) if given else None
        self._beat: mmap.mmap | None = None
        if self._folder is not None and self._folder.is_dir():
            descriptor = os.open(self._folder / f"{rank}.beat", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, _SIZE)
                self._beat = mmap.mmap(descriptor, _SIZE)
            finally:
                os.close(descriptor)

    def begin(self) -> None:
        """Forget what an earlier process of this rank has said, and give signs of life from now on.

        This process ends when the one that started it dies: nobody else would end it.
        """
        if self._beat is None or self._folder is None:
            return
        (self._folder / f"{self._rank}.error").unlink(missing_ok=True)
        self.at(0, "starting")
        launcher = int(os.environ.get(LAUNCHER, os.getppid()))
        _die_with_parent()
        threading.Thread(target=self._live, args=(self._beat, launcher), name="beat", daemon=True).start()

    @staticmethod
    def _live(beat: mmap.mmap, launcher: int) -> None:
        while os.getppid() == launcher:
            _LIFE.pack_into(beat, _PROGRESS.size, time.time(), os.getpid())
            time.sleep(BEAT)
        os._exit(1)

    @property
    def is_read(self) -> bool:
        """Whether somebody will read it."""
        return self._beat is not None

    def at(self, step: int, phase: str) -> None:
        """Say which step this process is at, and what it does there."""
        if self._beat is not None:
            _PROGRESS.pack_into(self._beat, 0, step, list(PHASES).index(phase), time.time())

    def begun(self, directory: Path) -> None:
        """Say where the run's files are."""
        if self._folder is not None:
            (self._folder / "directory").write_text(str(directory), "utf-8")

    def failed(self, text: str, *, is_echo: bool = False) -> None:
        """Say what went wrong."""
        if self._folder is not None:
            said = {"time": time.time(), "text": text, "is_echo": is_echo}
            (self._folder / f"{self._rank}.error").write_text(json.dumps(said), "utf-8")

    def ended(self, status: int, text: str = "") -> None:
        """Say with which exit status the run has ended, in agreement with all others, and what it has to show."""
        if self._folder is not None:
            (self._folder / "outcome").write_text(json.dumps({"status": status, "text": text}), "utf-8")


def failures(folder: Path) -> list[Failure]:
    """What processes said before they ended: causes before echoes, the first one first."""
    found = []
    for path in folder.glob("*.error"):
        said = json.loads(path.read_text("utf-8"))
        found.append(Failure(int(path.stem), said["time"], said["text"], said["is_echo"]))
    return sorted(found, key=lambda failure: (failure.is_echo, failure.time))


def last_seen(folder: Path, rank: int) -> Seen | None:
    """How far a process was; none where nobody knows."""
    try:
        content = (folder / f"{rank}.beat").read_bytes()
        step, phase, since = _PROGRESS.unpack_from(content)
        alive, process = _LIFE.unpack_from(content, _PROGRESS.size)
    except (OSError, struct.error):
        return None
    return Seen(step, list(PHASES)[phase], since, alive, process)


class Watch(threading.Thread):
    """Kills processes that have given no sign of life for `patience` seconds: one that is stopped after the last step
    keeps nobody waiting but who started it.

    Seconds are counted while this process runs: a machine that has slept has stopped all of them alike.
    """

    def __init__(self, folder: Path, patience: float) -> None:
        super().__init__(name="watch", daemon=True)
        self._folder: Final = folder
        self._patience: Final = patience
        self._over: Final = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look once a second."""
        silent: dict[int, tuple[float, float]] = {}
        while not self._over.wait(BEAT):
            for path in self._folder.glob("*.beat"):
                rank = int(path.stem)
                seen = last_seen(self._folder, rank)
                if seen is None:
                    continue
                before, count = silent.get(rank, (seen.alive, 0.0))
                silent[rank] = (seen.alive, count + BEAT if seen.alive == before else 0.0)
                if silent[rank][1] >= self._patience and _is_child(seen.process):
                    with suppress(ProcessLookupError):
                        os.kill(seen.process, signal.SIGKILL)


def outcome(folder: Path) -> tuple[int, str] | None:
    """The exit status that all processes agreed on, and what the run has to show; none where they did not."""
    try:
        said = json.loads((folder / "outcome").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return said["status"], said["text"]


def way_on(folder: Path) -> str:
    """The directory of the run, where a checkpoint is in it; else empty."""
    try:
        directory = (folder / "directory").read_text("utf-8")
    except FileNotFoundError:
        return ""
    return directory if any(Path(directory, "checkpoints").glob("step-*")) else ""


def _is_child(process: int) -> bool:
    """Whether a process is one that this one has started: a number may have become another one's."""
    with suppress(OSError, ValueError, IndexError):
        stat = Path("/proc", str(process), "stat").read_text("utf-8")
        return int(stat.rpartition(")")[2].split()[1]) == os.getpid()
    return False


def _die_with_parent() -> None:
    """Let the kernel kill this process, even a stopped one, when its parent dies; only Linux does so."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
