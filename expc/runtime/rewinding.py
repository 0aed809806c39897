"""Records of a run that goes on from a checkpoint: what was written after it is cut off, and will be written anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

NOTHING: Final[Mapping[str, Any]] = {"bytes": 0, "events": {}}
"""The state of records that hold nothing."""


def are_records(state: Any) -> bool:
    """Whether this is what `Records.state` gives, whoever has written it."""
    match state:
        case {"step": int(), "bytes": int(end), "events": dict(events), "tags": dict(tags), "finer": list(finer)}:
            texts = [*tags.values(), *finer]
            ends = [end, *events.values(), state.get("rates_written")]
            return all(isinstance(text, str) for text in texts) and all(isinstance(n, int) and n >= 0 for n in ends)
    return False


def rewind(metrics: Path, events: Path, state: Mapping[str, Any]) -> None:
    """Cut the files off where they ended when `state` was taken, and remove newer ones. Raises OSError."""
    if metrics.exists():
        _cut(metrics, int(state["bytes"]))
    for path in _files(events):
        end = state["events"].get(path.name)
        if end is None:
            path.unlink()
        else:
            _cut(path, int(end))


def sizes(events: Path) -> dict[str, int]:
    """The files of events, with their sizes in bytes."""
    return {path.name: path.stat().st_size for path in _files(events)}


def _files(events: Path) -> list[Path]:
    return sorted(path for path in events.glob("events.out.tfevents.*") if path.is_file())


def _cut(path: Path, end: int) -> None:
    if path.stat().st_size > end:
        with path.open("r+b") as file:
            file.truncate(end)
