"""Going on: which run, from which checkpoint, and whether it is still the same experiment."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from expc.compiler.program import Program, TrainPlan
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.checkpoint.loading import Saved, newest
from expc.runtime.checkpoint.manifest import Damaged, read_plain
from expc.runtime.checkpoint.saving import folder_of, step_of
from expc.runtime.comparing import LEARNING, LENGTH, differences, is_harmless, values_of
from expc.runtime.distributed.joining import launch_ids
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.checkpoints import (
    CheckpointUnfit,
    ExperimentChanged,
    NotARun,
    NoWholeCheckpoint,
    ShapesChanged,
)
from expc.runtime.errors.distributed import OtherCheckpoints
from expc.runtime.keeping import CHECKPOINTS
from expc.runtime.loop import Training
from expc.runtime.optim import follows_length, schedules_of
from expc.runtime.precision import DTYPES
from expc.runtime.rewinding import are_records
from expc.runtime.rundir import FACTS, RunDirectory, writing
from expc.runtime.state import other_shapes, restore
from expc.spec.values import show

_LARGEST_FACTS: Final = 1 << 24
MACHINE: Final = ("versions.", "device", "precision", "world.")
"""The facts of a checkpoint that the last digits of numbers depend on."""
_SHOWN: Final = 5
"""How many differences a message lists."""


@dataclass(frozen=True)
class Resume:
    """What was asked for: a run directory to go on in, even if the experiment `allow_changed`."""

    path: Path
    allow_changed: bool = False
    option: str = "--resume"

    @property
    def span(self) -> Span:
        """Where it was asked for."""
        return option_span(self.option, str(self.path))


@dataclass(frozen=True)
class Start:
    """Where a run goes on."""

    saved: Saved | None
    """The checkpoint; none where nothing was saved yet: the run begins again."""
    changed: Mapping[str, str]
    """What is another value now, in words by name."""
    damaged: tuple[tuple[str, str], ...]
    """Checkpoints that cannot be used, and why."""

    @property
    def precision(self) -> str | None:
        """What `precision = auto` has chosen; none where the file says which, or what it says has changed."""
        if self.saved is None or "train.precision" in self.changed:
            return None
        asked = self.saved.state.plain["values_of_experiment"].get("train.precision")
        chosen = self.saved.facts.get("precision")
        return chosen if asked == show("auto") and chosen in DTYPES else None

    def keeps_settings(self, plan: TrainPlan) -> bool:
        """Whether optimizers and schedules go on with the settings that they had."""
        length = any(name in LENGTH for name in self.changed) and any(map(follows_length, schedules_of(plan)))
        return not length and not any(name.startswith(LEARNING) for name in self.changed)


def last_run(program: Program, out: Path | None) -> Path | None:
    """The run that `--resume auto` means: the one in `out`, or else the newest of this file under `runs/`.

    None where there is none, or where the newest is finished: then a new one is meant.
    """
    if out is not None:
        return out if (out / FACTS).exists() else None
    home, found = home_of(program), []
    for path in Path("runs").glob(f"{program.name}-*"):
        facts = _facts(path)
        if facts.get("file") == home:
            found.append((str(facts.get("started", "")), path.stat().st_mtime_ns, path, facts.get("status")))
    if not found:
        return None
    *_, path, status = max(found)
    return None if status == "finished" else path


def earlier_part(program: Program, out: Path | None, world: World) -> Resume | None:
    """The run that was begun by this launch before torch's launcher had to restart it, perhaps on other machines."""
    launch = launch_ids(world)
    if not launch:
        return None
    found: str | None = None
    if world.is_first:
        paths = [out] if out is not None else sorted(Path("runs").glob(f"{program.name}-*"))
        found = next((str(path) for path in paths if _is_of(_facts(path), launch)), None)
    path = world.firsts(found)
    return None if path is None else Resume(Path(path))


def _is_of(facts: Mapping[str, Any], launch: list[str]) -> bool:
    known = facts.get("launch")
    return isinstance(known, list) and any(name in launch for name in known)


def refuse_other_checkpoints(start: Start, resume: Resume, world: World) -> None:
    """Raise `RunError` (E0613) where the processes do not see the same checkpoint."""
    steps = world.everyones(0 if start.saved is None else start.saved.step)
    if len(set(steps)) > 1:
        raise RunError(OtherCheckpoints(span=resume.span, path=str(resume.path), steps=", ".join(map(str, steps))))


def home_of(program: Program) -> str:
    """The path of the experiment's file."""
    return os.path.abspath(program.source.home or program.source.name)  # noqa: PTH100 - links stay as they are


def reopen(resume: Resume) -> RunDirectory:
    """The run directory, for this process alone. Raises `RunError` (E0830, E0831) where it is none, or in use."""

    def refuse(reason: str) -> RunError:
        return RunError(NotARun(span=resume.span, path=str(resume.path), reason=reason))

    if not resume.path.is_dir():
        raise refuse("there is no such folder")
    with writing(resume.path, resume.span):
        for folder, folders, files in os.walk(resume.path):
            for name in (*folders, *files):
                if Path(folder, name).is_symlink():
                    raise refuse(f"{Path(folder, name).relative_to(resume.path)} is a link")
    if not (resume.path / FACTS).is_file():
        raise refuse(f"it has no {FACTS}")
    return RunDirectory.reopen(resume.path, _facts(resume.path), resume.span)


def start_of_run(directory: RunDirectory, program: Program, resume: Resume) -> Start:
    """Choose the checkpoint, and see whether it is one of this experiment. Changes nothing.

    Raises `RunError`: E0832 where every checkpoint is damaged, E0833 where the experiment has changed.
    """
    search = newest(directory.path / CHECKPOINTS)
    if search.saved is None:
        if search.damaged:
            damaged = "; ".join(f"{name}: {reason}" for name, reason in search.damaged[:_SHOWN])
            raise RunError(NoWholeCheckpoint(span=resume.span, path=str(directory.path), damaged=damaged))
        return Start(None, {}, ())
    then = search.saved.state.plain.get("values_of_experiment")
    if not isinstance(then, dict):
        raise _unfit(resume, search.saved, "it does not say of what experiment it is")
    if not are_records(search.saved.state.plain.get("records")):
        raise _unfit(resume, search.saved, "it does not say how far the records were")
    changed = differences(then, values_of(program))
    deciding = {name: text for name, text in changed.items() if not is_harmless(name)}
    if deciding and not resume.allow_changed:
        lines = [f"{name} is {text}" for name, text in deciding.items()]
        rest = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        changes = "; ".join(lines[:_SHOWN]) + rest
        raise RunError(ExperimentChanged(span=resume.span, checkpoint=search.saved.path.name, changes=changes))
    return Start(search.saved, changed, search.damaged)


def refuse_other_network(start: Start, model: Any, resume: Resume) -> None:
    """Raise `RunError` (E0834) where the weights are not those of `model`."""
    if start.saved is None:
        return
    lines = other_shapes(model, start.saved.state)
    if lines:
        rest = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        changes = "; ".join(lines[:_SHOWN]) + rest
        raise RunError(ShapesChanged(span=resume.span, checkpoint=start.saved.path.name, changes=changes))


def tidy(directory: RunDirectory, start: Start) -> None:
    """Remove what a process that was killed has left half done, and put damaged checkpoints aside, unchanged."""
    folder = directory.path / CHECKPOINTS
    with writing(folder):
        for parent in (directory.path, folder):
            for path in parent.glob(".*.partial"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, _ in start.damaged:
            path = folder / name
            if step_of(name) is not None and path.exists():
                number = 1
                while (aside := folder / f"damaged-{name}-{number}").exists():
                    number += 1
                path.rename(aside)


def go_on(training: Training, start: Start, resume: Resume, say: Callable[[str], None]) -> None:
    """Give `training` the state of the checkpoint, and say from where it goes on. Raises `RunError` (E0835)."""
    for name, reason in start.damaged:
        say(f"checkpoint {name} is damaged and is not used: {reason}")
    for name, text in start.changed.items():
        say(f"changed: {name} is {text}")
    if start.saved is not None:
        for name, text in differences(_flat(start.saved.facts), _flat(training.keeping.facts)).items():
            if name.startswith(MACHINE):
                say(f"{name} is {text}: numbers may differ in their last digits from a run that never stopped")
    if start.saved is None:
        training.keeping.restore_best(None)
        say("nothing was saved yet: the run begins again")
        return
    try:
        keeps = start.keeps_settings(training.plan)
        lost = restore(training, start.saved.state, settings=keeps)
        training.keeping.restore_best(start.saved)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _unfit(resume, start.saved, f"{type(error).__name__}: {error}".split("\n")[0]) from error
    if not keeps and any(part.use.declaration.stepped == "validation" for part in schedules_of(training.plan)):
        lost.append("what a schedule has made of measurements: it starts anew")
    for what in lost:
        say(f"not given back: {what}")
    say(f"going on from step {training.step:,} of {training.total_steps:,} ({folder_of(training.step)})")


def _flat(facts: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """`{"versions": {"torch": "2.13"}}` as `{"versions.torch": "2.13"}`."""
    flat: dict[str, str] = {}
    for name, value in facts.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": str(value)}
    return flat


def _unfit(resume: Resume, saved: Saved, reason: str) -> RunError:
    return RunError(CheckpointUnfit(span=resume.span, checkpoint=str(saved.path), reason=reason))


def _facts(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(read_plain(path, FACTS, _LARGEST_FACTS))
    except (Damaged, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
