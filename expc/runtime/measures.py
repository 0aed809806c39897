"""One metric over the batches of one phase: of the file, of Python code, or of torchmetrics."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from typing import Any, Final, Literal, Protocol

import torch
from torch import Tensor, nn

from expc.compiler.ops.declare import PythonCode
from expc.compiler.program import MetricPlan
from expc.runtime.distributed.scores import everyones, together
from expc.runtime.distributed.world import World
from expc.runtime.externs import ExternMetric

Scores = Literal["probabilities", "logits"] | None
"""What the outputs of a classifier are; none where its loss does not tell."""

HELD: Final = 2**18
"""Numbers of outputs that wait until torchmetrics takes them in: a call for each small batch costs half a step."""
_OF_PROBABILITIES: Final = frozenset(
    f"classification.Multiclass{name}" for name in ("AUROC", "AveragePrecision", "CalibrationError", "HingeLoss")
)
"""Classes that take probabilities, and no scores."""


class Measure(Protocol):
    """One metric."""

    @property
    def is_quick(self) -> bool:
        """Whether reading it costs little, however much was taken in."""

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:
        """Take in a batch."""

    def read(self, *, going_on: bool = False) -> tuple[Tensor, Sequence[str]]:
        """What all processes have measured, and what is to be said about it.

        `going_on`: what this one has so far, leaving all as it is.
        """

    def reset(self) -> None:
        """Start again."""

    def state(self) -> Any:
        """What this process has taken in."""

    def restore(self, states: Sequence[Any]) -> None:
        """Go on, after `reset`, from what some processes had taken in: none, one, or several."""


class _Mean:
    """A metric that the file computes itself: the mean over samples of one number for each batch."""

    is_quick: Final = True

    def __init__(self, name: str, device: torch.device, world: World) -> None:
        self._world: Final = world
        self._name: Final = name
        self._device: Final = device
        self.reset()

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:
        """Take in the mean over `samples` samples."""
        self._sum += named[self._name].detach().double() * samples
        self._samples += samples

    def read(self, *, going_on: bool = False) -> tuple[Tensor, Sequence[str]]:
        """The mean so far."""
        total, samples = (self._sum, self._samples) if going_on else self._of_all()
        return total / samples, ()

    def _of_all(self) -> tuple[Tensor, int]:
        if self._world.size == 1:
            return self._sum, self._samples
        found = self._world.everyones([float(self._sum), self._samples])
        total = torch.tensor(sum(each for each, _ in found), dtype=torch.float64, device=self._device)
        return total, sum(samples for _, samples in found)

    def reset(self) -> None:
        """Start again."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._samples = 0

    def state(self) -> Mapping[str, Any]:
        """As `Measure` says."""
        return {"sum": self._sum, "samples": self._samples}

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """As `Measure` says."""
        for state in states:
            self._sum, self._samples = self._sum + state["sum"], self._samples + state["samples"]


class _Foreign:
    """A metric that is Python code of an `extern`: it sees every batch as it comes.

    Nobody can add up what the code of several processes holds: there it sees everything when it is read, after what it
    had seen in one process.
    """

    is_quick: Final = False

    def __init__(self, plan: MetricPlan, code: PythonCode, device: torch.device, world: World) -> None:
        self._world: Final = world
        self._kept: Final[list[tuple[Tensor, ...]]] = []
        self._alone: Mapping[str, Any] | None = None
        """What it held when there was one process."""
        self._pair: Final = plan.output, plan.target
        self._device: Final = device
        self._metric: Final = ExternMetric(code, plan.arguments).to(device)

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:  # noqa: ARG002 - it counts them itself
        """Take in a batch."""
        output, target = (named[name].detach() for name in self._pair)
        if self._world.size > 1:
            self._kept.append((output.float(), target.clone()))
        else:
            self._metric.update(output.float(), target)

    def read(self, *, going_on: bool = False) -> tuple[Tensor, Sequence[str]]:  # noqa: ARG002 - it is never quick
        """What the code says."""
        if self._world.size > 1:
            before = [each for each in everyones(self._alone, self._world, self._device) if each is not None]
            self._metric.reset()
            self._metric.restore(deepcopy(before[0]) if before else {})
            for output, target in self._of_all():
                self._metric.update(output, target)
        return torch.tensor(self._metric.compute(), dtype=torch.float64, device=self._device), ()

    def _of_all(self) -> list[tuple[Tensor, ...]]:
        """What all processes have kept, each process's in one piece."""
        sides = [torch.cat(side) for side in zip(*self._kept, strict=True)] if self._kept else [None, None]
        return list(zip(*(self._world.of_those_who_have(side) for side in sides), strict=True))

    def reset(self) -> None:
        """Start again."""
        self._kept.clear()
        self._alone = None
        self._metric.reset()

    def state(self) -> Mapping[str, Any]:
        """As `Measure` says."""
        alone = self._alone if self._world.size > 1 else self._metric.state()
        return {"alone": alone, "kept": list(self._kept)}

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """As `Measure` says."""
        self._alone = next((state["alone"] for state in states if state["alone"] is not None), None)
        kept = [(output, target) for state in states for output, target in state["kept"]]
        if self._world.size > 1:
            self._kept[:] = kept
            return
        self._metric.restore(self._alone or {})
        for output, target in kept:
            self._metric.update(output, target)


class _Compared:
    """A class of torchmetrics over all pairs of output and target, which it takes in many batches at a time."""

    def __init__(self, plan: MetricPlan, device: torch.device, scores: Scores, world: World) -> None:
        self._world: Final = world
        self._pair: Final = plan.output, plan.target
        self._path: Final = plan.torchmetrics_class
        self._scores: Final = scores
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it keeps all samples: what is exact has to
            self._metric = _make(plan).to(device)
        self._others: list[Any] = []
        """What processes had taken in that are there no more."""
        self.is_quick: Final = not any(isinstance(state, list) for state in self._metric.metric_state.values())
        self._held: list[tuple[Tensor, Tensor]] = []
        self._numbers = 0

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:  # noqa: ARG002 - it counts them itself
        """Take in a batch."""
        output, target = (named[name].detach() for name in self._pair)
        if self._held and (output.shape[1:], target.shape[1:]) != tuple(each.shape[1:] for each in self._held[-1]):
            self._take_held()
        # Copies, since a compiled model may use the memory of its outputs again.
        self._held.append((output.clone(), target.clone()))
        self._numbers += output.numel()
        if self._numbers >= HELD:
            self._take_held()

    def read(self, *, going_on: bool = False) -> tuple[Tensor, Sequence[str]]:
        """What was measured; not a number where that cannot be said of so few samples.

        Sums are rounded by what is taken in together. So what waits goes on waiting, and a copy takes it in.
        """
        if going_on:
            return deepcopy(self)._alone()  # noqa: SLF001 - a copy of itself
        self._take_held()
        if self._world.size == 1 and not self._others:
            return self._computed(self._metric)
        return self._computed(together([self._metric, *self._others], self._world))

    def _alone(self) -> tuple[Tensor, Sequence[str]]:
        self._take_held()
        return self._computed(self._metric)

    def _computed(self, metric: Any) -> tuple[Tensor, Sequence[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                value: Tensor = metric.compute()
            except ValueError as error:  # R2Score of one sample
                return torch.tensor(torch.nan, device=metric.device), (str(error),)
        return value, [str(warning.message) for warning in caught]

    def reset(self) -> None:
        """Start again."""
        self._held.clear()
        self._numbers = 0
        self._others.clear()
        self._metric.reset()

    def state(self) -> Mapping[str, Any]:
        """As `Measure` says; what waits too, as it is, so that sums are rounded as ever."""
        return {
            "taken": [_taken(metric) for metric in (self._metric, *self._others)],
            "held": [tuple(map(torch.cat, zip(*self._held, strict=True)))] if self._held else [],
            "numbers": self._numbers,
        }

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """As `Measure` says."""
        for state in reversed(states):
            if self._metric._update_count or self._held:  # noqa: SLF001 - torchmetrics has no other name for it
                self._take_held()
                self._others.insert(0, deepcopy(self._metric))
                self._metric.reset()
            first, *others = state["taken"]
            _take_back(self._metric, first)
            for other in others:
                self._others.append(deepcopy(self._metric))
                _take_back(self._others[-1], other)
            self._held[:] = [(output, target) for output, target in state["held"]]
            self._numbers = state["numbers"]

    def _take_held(self) -> None:
        if not self._held:
            return
        outputs, targets = zip(*self._held, strict=True)
        output, target = (each[0] if len(each) == 1 else torch.cat(each) for each in (outputs, targets))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._metric.update(*_prepared(self._path, output.float(), target, self._scores))
        self._held.clear()
        self._numbers = 0


def _taken(metric: Any) -> dict[str, Any]:
    return {**metric.metric_state, "_update_count": metric._update_count}  # noqa: SLF001


def _take_back(metric: Any, taken: Mapping[str, Any]) -> None:
    metric.reset()
    for name, value in taken.items():
        if name in metric.metric_state or name == "_update_count":
            setattr(metric, name, value)


def measure_of(plan: MetricPlan, device: torch.device, scores: Scores, world: World) -> Measure:
    """What takes in the batches of a metric, as its plan says."""
    if not plan.target:
        return _Mean(plan.output, device, world)
    if plan.python is not None:
        return _Foreign(plan, plan.python, device, world)
    return _Compared(plan, device, scores, world)


def _make(plan: MetricPlan) -> Any:
    from expc.compiler.lower.torchvision import import_torchvision

    with suppress(ModuleNotFoundError):
        import_torchvision()  # torchmetrics imports it where it is installed
    module, _, name = plan.torchmetrics_class.rpartition(".")
    arguments = {**plan.arguments, "sync_on_compute": False}  # `together` does it, when all are there
    if module == "classification":
        # The checker has compared the types; looking at the numbers of each batch would make the device wait.
        arguments["validate_args"] = False
    return getattr(import_module(f"torchmetrics.{module}"), name)(**arguments)


def _prepared(path: str, output: Tensor, target: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
    """Output and target as a class of torchmetrics takes them."""
    yes_or_no = path.startswith(("classification.Binary", "classification.Multilabel"))
    if (yes_or_no or path.startswith("regression.")) and output.ndim == target.ndim + 1 and output.shape[-1] == 1:
        output = output.squeeze(-1)
    if path.startswith("regression.") and output.ndim == target.ndim == 2 and output.shape[1] == 1:
        output, target = output.squeeze(1), target.squeeze(1)
    if yes_or_no:
        output = output.sigmoid() if scores == "logits" else output
        target = target.long()
    elif path in _OF_PROBABILITIES and scores == "logits":
        output = nn.functional.softmax(output, dim=1)
    return output, target
