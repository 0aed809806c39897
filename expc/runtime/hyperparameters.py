"""What an experiment was set to, as plain numbers and words: what runs are compared by."""

from collections.abc import Iterator
from typing import Any

from expc.compiler.program import Program, TrainPlan, Use
from expc.spec.values import Table, show

Plain = bool | int | float | str
LEFT_OUT = frozenset({"train", "val", "test", "predict", "optimizer", "metrics", "groups", "inits"})
"""Settings of `data` and `train` that are no single values, or are taken apart."""


def hyperparameters(program: Program) -> dict[str, Plain]:
    """The `let`s, what was set of `data` and `train`, and the settings of the optimizer: `batch`, `optimizer.lr`."""
    found = {let.key: let.value for let in program.lets if _is_plain(let.value)}
    for section in ("data", "train"):
        settings = getattr(program.experiment, section)
        for name in [] if settings is None else type(settings).model_fields:
            value = getattr(settings, name)
            origin = program.experiment.origins.get(f"{section}.{name}", "default")
            if name not in LEFT_OUT and not isinstance(value, Table | None) and origin != "default":
                found[f"{section}.{name}"] = value if _is_plain(value) else " ".join(show(value).split())
    if program.train is not None:
        found |= _of_optimizers(program.train)
    return found


def _of_optimizers(plan: TrainPlan) -> Iterator[tuple[str, Plain]]:
    uses: list[tuple[str, Use | None]] = [("optimizer", plan.optimizer)]
    uses += [(f"{group.selector}.optimizer", group.optimizer) for group in plan.groups]
    for name, use in uses:
        if use is None:
            continue
        yield name, use.name
        written = {given.name for given in use.given} | {"lr"}
        for setting, value in use.settings.items():
            if setting in written and value is not None:
                yield f"{name}.{setting}", value if _is_plain(value) else show(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, Plain)
