"""What a run is the run of: the values that decide what is learnt, and how those of two runs differ."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from expc.compiler.dump import container_lines
from expc.compiler.program import Program
from expc.spec.sections import SECTIONS, keys
from expc.spec.values import show

HARMLESS: Final = frozenset(
    {
        *(f"data.{key}" for key in ("workers", "pin_memory", "persistent_workers", "prefetch_factor", "timeout")),
        *("data.multiprocessing_context", "data.path", "data.memory", "train.max_time"),
        *("checkpoint.every", "checkpoint.keep", "checkpoint.async"),
    }
)
"""Settings that change nothing that is learnt, nor what is measured. Those of `log` are such too."""
ABSENT: Final = {"distributed.sync_batchnorm": show(False)}
"""What counts as said where its section is not there. The rest of `distributed` is about where a run runs: what it
learns is the same to rounding.
"""
LEARNING: Final = ("train.optimizer", "train.schedule", "train.group")
"""What the settings of optimizers and schedules follow from."""
LENGTH: Final = ("train.epochs", "train.steps")
_WIDTH: Final = 200


def values_of(program: Program) -> dict[str, str]:
    """Every value by name, as text of the language: settings, and the network, losses and metrics as graphs."""
    return dict(_values(program))


def digest(values: Mapping[str, str]) -> str:
    """The SHA-256 of what decides what is learnt."""
    deciding = {name: value for name, value in (ABSENT | dict(values)).items() if not is_harmless(name)}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def is_harmless(name: str) -> bool:
    """Whether a value decides nothing that is learnt or measured."""
    return name in HARMLESS or name.startswith("log.") or (name.startswith("distributed.") and name not in ABSENT)


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """What is another value now than it was, in words by name, the harmless ones included."""
    then, now = {**ABSENT, **then}, {**ABSENT, **now}
    names = dict.fromkeys([*now, *then])
    return {name: _difference(then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _values(program: Program) -> Iterator[tuple[str, str]]:
    for section, model in SECTIONS.items():
        settings = getattr(program.experiment, section)
        if settings is not None:
            yield from ((f"{section}.{key}", show(getattr(settings, field))) for key, field in keys(model).items())
    if program.model is not None:
        yield "model", "\n".join(container_lines("model", program.model.body))
    if program.train is not None:
        for number, loss in enumerate(program.train.losses):
            yield f"loss {number}" if number else "loss", "\n".join(container_lines("loss", loss.body))
        if program.train.measured is not None:
            yield "metrics", "\n".join(container_lines("metrics", program.train.measured))
    for module, place in program.python:
        named = Path(place).joinpath(*module.split("."))
        for path in (named.with_suffix(".py"), named / "__init__.py"):
            if path.is_file():
                yield f"Python module {module}", f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _difference(then: str | None, now: str | None) -> str:
    if then is None or now is None:
        return f"{_short(now)}, and was {_short(then)}"
    if "\n" not in then and "\n" not in now:
        return f"{_short(now)}, and was {_short(then)}"
    pairs = zip(then.splitlines(), now.splitlines(), strict=False)
    old, new = next(((a, b) for a, b in pairs if a != b), ("shorter", "longer"))
    return f"another: `{_short(new.strip())}`, and was `{_short(old.strip())}`"


def _short(text: str | None) -> str:
    return "not there" if text is None else text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
