"""What is measured: running means of the losses, and metrics through torchmetrics.

Everything stays on the device until it is asked for, so that no step waits for the one before.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from expc.compiler.graph import Apply, Container
from expc.compiler.program import MetricPlan
from expc.runtime.externs import ExternMetric

Scores = Literal["probabilities", "logits"] | None
"""What the outputs of a classifier are; none where its loss does not tell."""

PROBABILITIES: Final = frozenset({"BCELoss", "binary_cross_entropy"})
LOGITS: Final = frozenset(
    {
        "CrossEntropyLoss",
        "cross_entropy",
        "NLLLoss",  # logarithms of probabilities are logits too
        "nll_loss",
        "BCEWithLogitsLoss",
        "binary_cross_entropy_with_logits",
    }
)


class Means:
    """Means over samples of scalars by name, summed on the device in double precision."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        """Sums over samples, by name."""
        self.samples = 0

    def add(self, values: Mapping[str, Tensor], samples: int, *, again: bool = False) -> None:
        """Take in means over `samples` samples; `again`: over samples that are counted already."""
        for name, value in values.items():
            weighted = value.detach().double() * samples
            self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted
        self.samples += 0 if again else samples

    def merge(self, other: "Means") -> None:
        """Take in all that `other` has taken in."""
        for name, total in other.sums.items():
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.samples += other.samples

    def read(self) -> dict[str, float]:
        """The means so far; waits for the device once."""
        if not self.sums:
            return {}
        totals = torch.stack(list(self.sums.values())).tolist()
        return {name: total / self.samples for name, total in zip(self.sums, totals, strict=True)}

    def reset(self) -> None:
        """Start again."""
        self.sums.clear()
        self.samples = 0


class Metrics:
    """The metrics of a plan over the batches of one phase."""

    def __init__(self, plans: Sequence[MetricPlan], device: torch.device, scores: Scores) -> None:
        self._plans: Final = plans
        self._metrics: Final = [_make(plan).to(device) for plan in plans]
        self._scores: Final = scores

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:
        """Take in a batch: outputs and fields by name, and what the file computes for its metrics."""
        with torch.no_grad():
            for plan, metric in zip(self._plans, self._metrics, strict=True):
                if isinstance(metric, _Mean):
                    metric.update(named[plan.output], samples)
                    continue
                output, target = named[plan.output].detach().float(), named[plan.target]
                metric.update(*_prepared(plan.torchmetrics_class, output, target, self._scores))

    def read(self) -> dict[str, float]:
        """Every metric over what was taken in so far."""
        return {plan.name: float(m.compute()) for plan, m in zip(self._plans, self._metrics, strict=True)}

    def reset(self) -> None:
        """Start again."""
        for metric in self._metrics:
            metric.reset()


class _Mean:
    """A metric that the file computes itself: the mean over samples of one number for each batch."""

    def __init__(self) -> None:
        self._means: Final = Means()

    def to(self, device: torch.device) -> "_Mean":  # noqa: ARG002 - the sum lives where the numbers do
        """Itself."""
        return self

    def update(self, value: Tensor, samples: int) -> None:
        """Take in the mean over `samples` samples."""
        self._means.add({"mean": value}, samples)

    def compute(self) -> float:
        """The mean so far."""
        return self._means.read().get("mean", float("nan"))

    def reset(self) -> None:
        """Start again."""
        self._means.reset()


def scores_of(losses: Sequence[Container]) -> Scores:
    """What the losses take the model's outputs for. torchmetrics would guess from the numbers of each batch."""
    names = {name for loss in losses for name in _operators(loss)}
    if names & PROBABILITIES:
        return "probabilities"
    return "logits" if names & LOGITS else None


def _operators(container: Container) -> Iterator[str]:
    for step in container.steps:
        if isinstance(step, Apply):
            yield step.operator.name
    for child in container.children.values():
        if isinstance(child, Container):
            yield from _operators(child)


def _make(plan: MetricPlan) -> Any:
    if not plan.target:
        return _Mean()
    if plan.python is not None:
        return ExternMetric(plan.python, plan.arguments)
    from expc.compiler.lower.torchvision import import_torchvision

    with suppress(ModuleNotFoundError):
        import_torchvision()  # torchmetrics imports it where it is installed
    module, _, name = plan.torchmetrics_class.rpartition(".")
    arguments = dict(plan.arguments)
    if module == "classification":
        # The checker has compared the types; looking at the numbers of each batch would make the device wait.
        arguments["validate_args"] = False
    return getattr(import_module(f"torchmetrics.{module}"), name)(**arguments)


_OF_PROBABILITIES: Final = frozenset(
    f"classification.Multiclass{name}" for name in ("AUROC", "AveragePrecision", "CalibrationError", "HingeLoss")
)


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
