"""What all processes but the first have in place of the run's files: they write nothing."""

from pathlib import Path
from typing import Any

from expc.runtime.records import Records
from expc.runtime.rundir import RunDirectory


class BystandersDirectory(RunDirectory):
    """The run directory of another process, which can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path  # type: ignore[misc] # the base has a lock, which this has not
        self._run = {}

    def close(self) -> None:
        """Nothing is held."""

    def write(self, name: str, content: bytes | str) -> None:
        """Nothing is written."""

    def record(self, **facts: Any) -> None:
        """Nothing is written."""

    def describe(self, *_: Any) -> None:
        """Nothing is written."""


class BystandersRecords(Records):
    """Records of what another process writes down."""

    def __init__(self) -> None:
        self.events = None  # type: ignore[misc] # the base opens files

    def write(self, *_: Any, **__: Any) -> None:
        """Nothing is written."""

    def state(self, step: int) -> dict[str, Any]:  # noqa: ARG002 - nothing is written
        """Nothing was written."""
        return {}

    def graph(self, *_: Any) -> None:
        """Nothing is drawn."""

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Nothing is open."""
