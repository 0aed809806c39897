"""The gradients of one step: of a batch at once, or of its parts one after the other (`accumulate`).

The parts give what the whole batch would. Where the loss can be added up from parts (`expc.compiler.plans.parts`), each
part runs once. Any other loss is computed once, on the outputs of all parts together: they are made without gradients
first; what the loss says of them is then passed back through each part, which runs again. That is exact for every loss
and costs one more forward pass (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
2021). What differs by nature is what the network does with samples together, such as batch statistics, and the random
numbers that it draws.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from expc.compiler.plans.parts import InParts, batch_axes, in_parts
from expc.compiler.program import LossPlan, Program
from expc.runtime.precision import Precision
from expc.runtime.seeds import generator_state, set_generator_state
from expc.runtime.task import Batch, Fed, Task, samples_in, split

See = Callable[[Mapping[str, Any], int], None]
"""Takes what a loss or a metric may speak of, and of how many samples."""


class Gradients(Protocol):
    """A way to the gradients of a batch."""

    def add(self, batch: Batch, turn: int | None, see: See) -> dict[str, Tensor]:
        """Add the gradients of a loss to the parameters, scaled by the precision; gives the loss and its terms."""


class OfWhole:
    """Of a batch at once."""

    def __init__(self, task: Task, precision: Precision) -> None:
        self._task: Final = task
        self._precision: Final = precision

    def add(self, batch: Batch, turn: int | None, see: See) -> dict[str, Tensor]:
        """As `Gradients` says."""
        samples = samples_in(batch)
        with self._precision.autocast():
            named = self._task.named(batch)
            losses = self._task.losses(named, samples, turn)
        self._precision.backward(losses["loss"])
        see(named, samples)
        return losses


class OfParts:
    """Part by part, where the loss is a sum over them: `ahead` is computed on the whole batch, `loss` on each part."""

    def __init__(self, task: Task, precision: Precision, parts: int, plan: InParts, ahead: Fed, loss: Fed) -> None:
        self._task: Final = task
        self._precision: Final = precision
        self._parts: Final = parts
        self._plan: Final = plan
        self._ahead: Final = ahead
        self._loss: Final = loss

    def add(self, batch: Batch, turn: int | None, see: See) -> dict[str, Tensor]:
        """As `Gradients` says."""
        samples = samples_in(batch)
        known = dict(zip(self._plan.names, self._ahead(batch, samples, self._task.model), strict=True))
        total: dict[str, Tensor] = {}
        for part in split(batch, self._parts):
            size = samples_in(part)
            shares = {f"share.{power}": (size / samples) ** power for power in self._plan.powers}
            with self._precision.autocast():
                named = self._task.named(part)
                losses = self._task.losses({**named, **known, **shares}, size, turn, by=self._loss)
            self._precision.backward(losses["loss"])
            see(named, size)
            total = {name: total.get(name, 0) + value.detach() for name, value in losses.items()}
        return total


class OfOutputs:
    """Part by part, with a loss of the outputs of all parts together."""

    def __init__(
        self, task: Task, precision: Precision, parts: int, axes: Mapping[str, int | None], device: torch.device
    ) -> None:
        self._task: Final = task
        self._precision: Final = precision
        self._parts: Final = parts
        self._axes: Final = axes
        self._device: Final = device

    def add(self, batch: Batch, turn: int | None, see: See) -> dict[str, Tensor]:
        """As `Gradients` says."""
        samples, parts = samples_in(batch), split(batch, self._parts)
        made, drawn = self._made(parts)
        outputs = {name: self._joined(name, [each[name] for each in made], parts) for name in made[0]}
        for output in outputs.values():
            output.requires_grad_(output.is_floating_point())
        with self._precision.autocast():
            named = self._task.seen(batch, outputs)
            losses = self._task.losses(named, samples, turn)
        self._precision.backward(losses["loss"])
        see({name: value.detach() for name, value in named.items()}, samples)
        after = generator_state(self._device)
        grads = [self._split(name, output.grad, made, parts) for name, output in outputs.items()]
        for number, part in enumerate(parts):
            set_generator_state(drawn[number], self._device)
            with self._precision.autocast():
                again = self._task.outputs(part)
            pairs = [
                (value, grad[number])
                for value, grad in zip(again.values(), grads, strict=True)
                if grad is not None and value.requires_grad
            ]
            if pairs:
                torch.autograd.backward([value for value, _ in pairs], [grad for _, grad in pairs])
        set_generator_state(after, self._device)
        return losses

    def _made(self, parts: Sequence[Batch]) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        """The outputs of each part, and where the random numbers stood before it; nothing else is changed."""
        before = [(buffer, buffer.clone()) for buffer in self._task.model.buffers()]
        made, drawn = [], []
        for part in parts:
            drawn.append(generator_state(self._device))
            with torch.no_grad(), self._precision.autocast():
                made.append(self._task.outputs(part))
        for buffer, value in before:
            buffer.copy_(value)
        return made, drawn

    def _joined(self, name: str, values: list[Tensor], parts: Sequence[Batch]) -> Tensor:
        axis = self._axes.get(name)
        if axis is not None:
            return torch.cat(values, axis)
        sizes = list(map(samples_in, parts))
        return torch.stack([value * (size / sum(sizes)) for value, size in zip(values, sizes, strict=True)]).sum(0)

    def _split(
        self, name: str, grad: Tensor | None, made: list[dict[str, Tensor]], parts: Sequence[Batch]
    ) -> Sequence[Tensor] | None:
        if grad is None:
            return None
        axis = self._axes.get(name)
        if axis is not None:
            return torch.split(grad, [each[name].shape[axis] for each in made], axis)
        sizes = list(map(samples_in, parts))
        return [grad * (size / sum(sizes)) for size in sizes]


class InTurns:
    """Each loss of a run in its own way."""

    def __init__(self, ways: Sequence[Gradients]) -> None:
        self._ways: Final = ways

    def add(self, batch: Batch, turn: int | None, see: See) -> dict[str, Tensor]:
        """As `Gradients` says."""
        return self._ways[turn or 0].add(batch, turn, see)


def make_gradients(program: Program, task: Task, precision: Precision, device: torch.device) -> Gradients:
    """The way that a program's `accumulate` and its losses ask for."""
    assert program.train is not None and program.experiment.train is not None  # noqa: S101, PT018 - a run has checked it
    parts, seed = program.experiment.train.accumulate, program.experiment.train.seed
    if parts == 1:
        return OfWhole(task, precision)
    data = frozenset(field.name for field in program.data["train"].fields)

    def way(loss: LossPlan) -> Gradients:
        plan = in_parts(loss, data)
        if plan is not None:
            ahead, body = Fed(plan.ahead, device, seed), Fed(plan.body, device, seed, loss)
            return OfParts(task, precision, parts, plan, ahead, body)
        return OfOutputs(task, precision, parts, batch_axes(loss, data), device)

    return InTurns([way(loss) for loss in program.train.losses])
