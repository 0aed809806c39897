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
            # Or the outputs of one part would be there while the next one makes its own.
            del named, losses
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
        outputs, lengths, drawn = self._made(parts)
        with self._precision.autocast():
            named = self._task.seen(batch, outputs)
            losses = self._task.losses(named, samples, turn)
        self._precision.backward(losses["loss"])
        see({name: value.detach() for name, value in named.items()}, samples)
        after = generator_state(self._device)
        grads = {
            name: _split(output.grad, self._axes.get(name), lengths[name])
            for name, output in outputs.items()
            if output.grad is not None
        }
        for number, part in enumerate(parts):
            set_generator_state(drawn[number], self._device)
            with self._precision.autocast():
                again = self._task.outputs(part)
            pairs = [(again[name], grad[number]) for name, grad in grads.items() if again[name].requires_grad]
            if pairs:
                torch.autograd.backward([value for value, _ in pairs], [grad for _, grad in pairs])
        set_generator_state(after, self._device)
        return losses

    def _made(self, parts: Sequence[Batch]) -> tuple[dict[str, Tensor], dict[str, list[int]], list[dict[str, Tensor]]]:
        """The outputs of all parts together, how long each part's are, and where random numbers stood before each.

        Nothing else is changed: what layers count, such as batch statistics, they count when they run again.
        """
        before = [(buffer, buffer.clone()) for buffer in self._task.model.buffers()]
        made, drawn = [], []
        for part in parts:
            drawn.append(generator_state(self._device))
            with torch.no_grad(), self._precision.autocast():
                made.append(self._task.outputs(part))
        for buffer, value in before:
            buffer.copy_(value)
        sizes = list(map(samples_in, parts))
        outputs, lengths = {}, {}
        for name in list(made[0]):
            axis, values = self._axes.get(name), [each.pop(name) for each in made]
            lengths[name] = sizes if axis is None else [value.shape[axis] for value in values]
            outputs[name] = _joined(values, axis, sizes)
            outputs[name].requires_grad_(outputs[name].is_floating_point())
        return outputs, lengths, drawn


def _joined(values: Sequence[Tensor], axis: int | None, sizes: Sequence[int]) -> Tensor:
    """One tensor of those of all parts; their mean over samples, where the network has reduced the samples itself."""
    if axis is not None:
        return torch.cat(list(values), axis)
    return torch.stack([value * (size / sum(sizes)) for value, size in zip(values, sizes, strict=True)]).sum(0)


def _split(grad: Tensor, axis: int | None, lengths: Sequence[int]) -> Sequence[Tensor]:
    """The gradient of each part of what `_joined` has made."""
    if axis is not None:
        return torch.split(grad, list(lengths), axis)
    return [grad * (length / sum(lengths)) for length in lengths]


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
