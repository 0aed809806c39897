"""Metrics, through torchmetrics where it has them.

Everything stays on the device until it is asked for, so that no step waits for the one before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from expc.compiler.graph import Apply, Container
from expc.compiler.program import MetricPlan
from expc.runtime.distributed.scores import everyones, mine
from expc.runtime.distributed.world import World
from expc.runtime.measures import Scores, measure_of

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


class Metrics:
    """The metrics of a plan over the batches of one phase. `remark` takes what a person should know of a number.

    Of several processes each takes in its own batches, and all read what was measured over those of all.
    """

    def __init__(
        self,
        plans: Sequence[MetricPlan],
        device: torch.device,
        scores: Scores,
        remark: Callable[[str], None] = lambda _: None,
        world: World | None = None,
    ) -> None:
        self._world: Final = world or World()
        self._measures: Final = {plan.name: measure_of(plan, device, scores, self._world) for plan in plans}
        self._plans: Final = plans
        self._device: Final = device
        self._remark: Final = remark
        self.matrices: dict[str, Tensor] = {}
        """Of what was read last, the tables of numbers by name, on the CPU."""

    def update(self, named: Mapping[str, Tensor], samples: int) -> None:
        """Take in a batch: outputs and fields by name, and what the file computes for its metrics."""
        with torch.no_grad():
            for measure in self._measures.values():
                measure.update(named, samples)

    def read(self, *, quick: bool = False) -> dict[str, float]:
        """Every metric over what was taken in so far; waits for the device once.

        `quick` leaves out what looks at all samples again, matrices, and what other processes have. What is measured
        in the end is the same, to the last bit, however often it is asked for.
        """
        found: dict[str, Tensor] = {}
        for plan in self._plans:
            measure = self._measures[plan.name]
            if not quick or (measure.is_quick and not plan.is_matrix):
                found[plan.name], remarks = measure.read(going_on=quick)
                self._pass_on(plan.name, remarks)
        self.matrices = {plan.name: found.pop(plan.name).cpu() for plan in self._plans if plan.is_matrix and not quick}
        if not found:
            return {}
        return dict(zip(found, torch.stack([value.double() for value in found.values()]).tolist(), strict=True))

    def reset(self) -> None:
        """Start again."""
        for measure in self._measures.values():
            measure.reset()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: what each process has taken in. All call this."""
        held = {name: measure.state() for name, measure in self._measures.items()}
        saved = everyones(held, self._world, self._device)
        return {name: [each[name] for each in saved] for name in held}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held; a metric that it does not know starts again."""
        for name in self._measures.keys() & state.keys():
            self._measures[name].reset()
            self._measures[name].restore(mine(state[name], self._world))

    def _pass_on(self, name: str, remarks: Sequence[str]) -> None:
        for text in remarks:
            sentence = text.split("\n")[0].partition(". ")[0].rstrip(".")
            self._remark(f"{name} may mislead: {sentence[:1].lower()}{sentence[1:]}")


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
