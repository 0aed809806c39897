"""What the processes of a launch leave behind for whoever started them: how far each was, and what went wrong.

They are files in a folder of the launch, on each machine one. Telling how far a process is costs it a few bytes of
memory that the kernel writes to the file whenever it likes, also after the process has died.
"""

import json
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

from expc.frozen import dataclass

FOLDER: Final = "EXPC_LAUNCH"
"""The environment variable that names the folder."""
PHASES: Final = ("starting", "training", "measuring", "saving", "ending")
_BEAT: Final = struct.Struct("<qqd")


@dataclass(frozen=True)
class Failure:
    """What a process said before it ended."""

    rank: int
    time: float
    text: str
    is_echo: bool
    """Whether it only says that another process is gone."""


class Report:
    """What one process leaves; nothing, where no launcher of ours has started it."""

    def __init__(self, rank: int, folder: str | None = None) -> None:
        given = os.environ.get(FOLDER) if folder is None else folder
        self._rank: Final = rank
        self._folder: Final = Path(given) if given else None
        self._beat: mmap.mmap | None = None
        if self._folder is not None and self._folder.is_dir():
            with (self._folder / f"{rank}.beat").open("w+b") as file:
                file.write(bytes(_BEAT.size))
                file.flush()
                self._beat = mmap.mmap(file.fileno(), _BEAT.size)
            self.at(0, "starting")

    @property
    def is_read(self) -> bool:
        """Whether somebody will read it."""
        return self._beat is not None

    def at(self, step: int, phase: str) -> None:
        """Say which step this process is at, and what it does there."""
        if self._beat is not None:
            _BEAT.pack_into(self._beat, 0, step, PHASES.index(phase), time.time())

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


def last_seen(folder: Path, rank: int) -> str:
    """How far a process was: ` at step 12, training, 3 s ago`; empty where nobody knows."""
    try:
        step, phase, when = _BEAT.unpack((folder / f"{rank}.beat").read_bytes())
    except (OSError, struct.error):
        return ""
    return f" at step {step:,}, {PHASES[phase]}, {max(0.0, time.time() - when):.0f} s ago"


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
