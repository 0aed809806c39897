"""Where a loss that is not a number comes from: the run is repeated up to that step, and the step looked at.

A run is the same each time it is taken from a checkpoint on, so it is restored from the last one (or from the start)
and goes the same way again, this time with a look at loss and weights after each step. The step that spoils them is
taken once more, with a look at what each step of the network and of the loss makes, and at what comes back to it.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn

from expc.compiler.graph import Apply, Invoke
from expc.compiler.lower.steps import Origin, Plan
from expc.compiler.program import Program
from expc.diagnostics import Label
from expc.frozen import dataclass
from expc.runtime.accumulate import OfWhole
from expc.runtime.checkpoint.loading import newest
from expc.runtime.checkpoint.packing import State
from expc.runtime.errors import RunError
from expc.runtime.errors.training import LossNotFinite, StepRefused
from expc.runtime.loop import Training, batches, learn
from expc.runtime.seeds import all_generators, restore_generators
from expc.runtime.soundness import unsound
from expc.runtime.state import restore, state_of
from expc.runtime.task import Batch, Task, split

PATIENCE: Final = 120.0
"""Seconds that the search may take, as far as can be told before."""


@dataclass(frozen=True)
class _Found:
    """What makes the first number that is none: a step, in words, and what arrived at it."""

    step: Any
    text: str
    notes: tuple[str, ...] = ()


@contextmanager
def explained(run: Training, program: Program) -> Iterator[None]:
    """Say of a loss that is not a number (E0809) where it comes from, and of what torch refuses (E0604) that it did."""
    begun, first = time.monotonic(), run.step
    start = state_of(run)
    try:
        yield
    except RunError as error:
        if not isinstance(error.problem, LossNotFinite):
            raise
        each = (time.monotonic() - begun) / max(run.step - first, 1)
        raise RunError(_explained(run, program, start, error.problem, each)) from error
    except RuntimeError as error:
        if "deterministic implementation" not in str(error):
            raise
        reason = str(error).splitlines()[0].partition(", but you set")[0]
        span = run.plan.losses[0].body.span
        raise RunError(StepRefused(span=span, step=run.step, reason=reason)) from error


def _explained(run: Training, program: Program, start: State, problem: LossNotFinite, seconds: float) -> LossNotFinite:
    train = program.experiment.train
    assert train is not None  # noqa: S101 - it has trained
    with suppress(RunError, OSError):
        run.keeping.writer.finish()
    saved = newest(run.keeping.folder).saved
    kept = () if saved is None else (f"the last good checkpoint is that of step {saved.step}",)
    if run.world.size > 1:
        # What one process spoils only that one would find, while the others wait for it.
        return replace(problem, notes=(*kept, "where it comes from is looked for where one process runs alone"))
    if saved is not None and saved.step < problem.step:
        start = saved.state
    elif int(start.plain["step"]) > 0:
        return replace(problem, notes=kept)
    else:
        # What the run began with has changed since; the same seed gives it again.
        weights = Task(program, run.device, train.seed).model
        start = State({**start.tensors, "model": weights.state_dict()}, start.plain)
    away = problem.step - int(start.plain["step"])
    if away * seconds > PATIENCE:
        far = f"where it comes from was not looked for: the last checkpoint is {away:,} steps before"
        return replace(problem, notes=(*kept, far))
    try:
        found = _search(run, program, start, problem.step, train.accumulate)
    except (RunError, KeyError, ValueError, RuntimeError):
        found = None
    if found is None:
        return replace(problem, notes=kept)
    labels = (Label(problem.span, "the loss"),) if problem.span != found.step.span else ()
    return replace(problem, span=found.step.span, origin=f": {found.text}", labels=labels, notes=(*found.notes, *kept))


def _search(run: Training, program: Program, start: State, until: int, parts: int) -> _Found | None:
    """Go on from `start` to the step that spoils loss or weights, and look at it."""
    restore(run, start, settings=True)
    if run.plan.freeze is not None and (run.thaws_after is None or run.step <= run.thaws_after):
        run.task.freeze(run.plan.freeze.keys)
    run.task.train()
    model = run.task.model
    for batch in batches(run):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        random = all_generators(run.device)
        run.window.reset()
        learn(run, batch)
        is_number = all(map(math.isfinite, run.window.read().values()))
        after = unsound(_weights(model))
        if not is_number or after is not None:
            model.load_state_dict(before)
            restore_generators(random, run.device)
            return _look(run, batch, parts) or (_overshot(run, after) if is_number else _in_data(program, batch))
        if run.step >= until:
            break
    return None


def _in_data(program: Program, batch: Batch) -> _Found | None:
    """The samples themselves have what is no number."""
    key = unsound(batch)
    if key is None:
        return None
    return _Found(program.data["train"], f"`{key}` of the data has some that are none")


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in model.named_parameters() if value.is_floating_point()}


def _overshot(run: Training, key: str | None) -> _Found | None:
    """All gradients are numbers: then the step was too long."""
    if key is None or run.plan.optimizer is None:
        return None
    return _Found(run.plan.optimizer, f"its gradients are finite, and the step made `{key}` infinite")


def _look(run: Training, batch: Batch, parts: int) -> _Found | None:
    way = OfWhole(run.task, run.precision)
    for turn in run.turns:
        for part in split(batch, parts):
            watch = _Watch()
            with turn.alone(), run.task.watched(watch.wrapped):
                losses = way.add(part, turn.index, lambda *_: None)
            found = watch.found(run.task.model, losses["loss"])
            for parameter in run.task.model.parameters():
                parameter.grad = None
            if found is not None:
                return found
    return None


class _Watch:
    """Sees what each step of a network and of a loss makes, and the gradients that come back to it."""

    def __init__(self) -> None:
        self._nan: _Found | None = None
        self._infinite: _Found | None = None
        self._takers: dict[int, list[Any]] = {}
        """The steps that take a tensor, by `id`."""
        self._owners: dict[int, Any] = {}
        """The step that runs a module, by `id`."""
        self._alive: list[Tensor] = []
        """The tensors, so that no `id` means two of them."""
        self._back: int | None = None
        """The tensor, nearest to the loss, whose gradient is not finite."""

    def wrapped(self, plan: Plan) -> Plan:
        """A plan whose steps are seen."""

        def seen(get: Callable[..., Any]) -> Callable[..., Any]:
            origin = plan.origins.get(get)
            return get if origin is None else lambda module, env: self._take(get, origin, module, env)

        return replace(plan, in_training=tuple((seen(get), slot) for get, slot in plan.in_training))

    def _take(self, get: Callable[..., Any], origin: Origin, module: nn.Module, env: list[Any]) -> Any:
        given = [(name, env[slot]) for name, _, slot in origin.reads]
        value = get(module, env)
        step = origin.step
        if isinstance(step, Apply) and step.module is not None:
            self._owners[id(module._modules[step.module])] = step  # noqa: SLF001
        for _, tensor in given:
            if isinstance(tensor, Tensor):
                self._alive.append(tensor)
                self._takers.setdefault(id(tensor), []).append(step)
        for tensor in _floating(value):
            self._see(step, given, tensor)
            if tensor.requires_grad:
                self._alive.append(tensor)
                tensor.register_hook(self._coming_back(id(tensor)))  # type: ignore[no-untyped-call]
        return value

    def _see(self, step: Any, given: list[tuple[str, Any]], made: Tensor) -> None:
        if bool(made.isfinite().all()):
            return
        arrived = [tensor for _, value in given for tensor in _floating(value)]
        notes = tuple(f"`{name}` arrived {_range(value)}" for name, value in given if isinstance(value, Tensor))
        if bool(made.isnan().any()) and not any(bool(tensor.isnan().any()) for tensor in arrived):
            text = f"the first that is not a number comes out of `{_line(step)}`"
            self._nan = self._nan or _Found(step, text, notes)
        if all(bool(tensor.isfinite().all()) for tensor in arrived) and not _means_it(step):
            text = f"the first infinite number comes out of `{_line(step)}`"
            self._infinite = self._infinite or _Found(step, text, notes)

    def _coming_back(self, tensor: int) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            if self._back is None and not bool(grad.isfinite().all()):
                self._back = tensor

        return hook

    def found(self, model: nn.Module, loss: Tensor) -> _Found | None:
        """The first step that makes what is no number: on the way to the loss, or else on the way back."""
        if not bool(loss.isfinite().all()):
            return self._infinite if self._nan is None or self._nan_of_infinite() else self._nan
        step = self._taker(self._back) if self._back is not None else self._owner(model)
        if step is None:
            return None
        return _Found(step, f"all are finite on the way to the loss, and a gradient of `{_line(step)}` is not")

    def _nan_of_infinite(self) -> bool:
        """Whether infinite numbers came before what is not a number."""
        return self._infinite is not None and self._nan is not None and "inf" in " ".join(self._nan.notes)

    def _taker(self, tensor: int) -> Any:
        steps = self._takers.get(tensor, [])
        inner = [step for step in steps if not isinstance(step, Invoke)]
        return (inner or steps or [None])[-1]

    def _owner(self, model: nn.Module) -> Any:
        grads = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
        key = unsound(grads)
        return None if key is None else self._owners.get(id(model.get_submodule(key.rpartition(".")[0])))


def _floating(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _floating(item)
    elif isinstance(value, Mapping):
        yield from _floating(tuple(value.values()))


def _means_it(step: Any) -> bool:
    """Whether a step is given something infinite to write, as masks are."""
    return isinstance(step, Apply) and any(
        isinstance(value, float) and math.isinf(value) for value in step.arguments.values()
    )


def _range(tensor: Tensor) -> str:
    if not tensor.is_floating_point() or not tensor.numel():
        return f"as whole numbers of shape {list(tensor.shape)}" if tensor.numel() else "empty"
    detached = tensor.detach().float()
    nan = "; some are not a number" if bool(detached.isnan().any()) else ""
    known = detached[~detached.isnan()]
    return f"from {known.min().item():.6g} to {known.max().item():.6g}{nan}" if known.numel() else "not a number at all"


def _line(step: Any) -> str:
    return " ".join(step.span.text.split())
