"""The gradients of one step: of a batch at once, or of its parts (`accumulate`, and what several processes have).

The parts give what the whole batch would. Where the loss can be added up from parts (`expc.compiler.plans.parts`), each
part runs once. Any other loss is computed once, on the outputs of all parts together: they are made without gradients
first; what the loss says of them is then passed back through each part, which runs again. That is exact for every loss
and costs one more forward pass (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
2021). What differs by nature is what the network does with samples together, such as batch statistics, and the random
numbers that it draws.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from expc.compiler.plans.parts import InParts, batch_axes, in_parts
from expc.compiler.program import LossPlan, Program
from expc.frozen import dataclass, field
from expc.runtime.data.loader import Share
from expc.runtime.distributed.draws import Draws
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.distributed.world import World
from expc.runtime.precision import Precision
from expc.runtime.seeds import generator_state, set_generator_state
from expc.runtime.task import Batch, Fed, Task, samples_in, split

See = Callable[[Mapping[str, Any], int], None]
"""Takes what a loss or a metric may speak of, and of how many samples."""


class Gradients(Protocol):
    """A way to the gradients of a batch."""

    def add(self, batch: Batch, turn: int | None, see: See, share: Share | None = None) -> dict[str, Tensor]:
        """Add the gradients of a loss to the parameters, scaled by the precision; gives the loss and its terms.

        With a `share`, the batch is this process's part of a larger one, and what it gives is a part of the loss: the
        loss is the sum over all processes.
        """


class OfWhole:
    """Of a batch at once, in one process."""

    def __init__(self, task: Task, precision: Precision) -> None:
        self._task: Final = task
        self._precision: Final = precision

    def add(self, batch: Batch, turn: int | None, see: See, share: Share | None = None) -> dict[str, Tensor]:  # noqa: ARG002 - it is all
        """As `Gradients` says."""
        samples = samples_in(batch)
        with self._precision.autocast():
            named = self._task.named(batch)
            losses = self._task.losses(named, samples, turn)
        self._precision.backward(losses["loss"])
        see(named, samples)
        return losses


@dataclass(frozen=True)
class Splitting:
    """Into how many parts each process splits its samples, and how the processes share the model."""

    parts: int
    world: World = field(default_factory=World)
    strategy: Strategy = field(default_factory=Strategy)
    draws: Draws = field(default_factory=Draws)

    def of(self, batch: Batch, share: Share | None) -> tuple[list[Batch], Share]:
        """The parts of a batch, and which samples of the whole they are."""
        samples = samples_in(batch)
        return split(batch, self.parts), share or Share(0, samples, samples)

    def weight(self, share: Share) -> int:
        """What the loss of a part is multiplied by: torch takes the mean of what the processes compute.

        A process without samples runs one that does not count, so that all meet in the same places.
        """
        return self.world.size if share.samples else 0

    def rows(self, share: Share, parts: Sequence[Batch], number: int) -> AbstractContextManager[None]:
        """Around a pass over one of the parts."""
        start = share.start + sum(map(samples_in, parts[:number]))
        return self.draws.rows(start, start + (samples_in(parts[number]) if share.samples else 0), share.whole)


class OfParts:
    """Part by part, where the loss is a sum over them: `ahead` is computed on the whole batch, `loss` on each part."""

    def __init__(
        self, task: Task, precision: Precision, splitting: Splitting, plan: InParts, ahead: Fed, loss: Fed
    ) -> None:
        self._task: Final = task
        self._precision: Final = precision
        self._splitting: Final = splitting
        self._plan: Final = plan
        self._ahead: Final = ahead
        self._loss: Final = loss

    def add(self, batch: Batch, turn: int | None, see: See, share: Share | None = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        parts, share = self._splitting.of(batch, share)
        weight, known = self._splitting.weight(share), self._known(batch, share)
        total: dict[str, Tensor] = {}
        for number, part in enumerate(parts, 1):
            size = samples_in(part)
            shares = {f"share.{power}": (size / share.whole) ** power for power in self._plan.powers}
            with self._splitting.strategy.passing(turn, last=number == len(parts)):
                with self._precision.autocast(), self._splitting.rows(share, parts, number - 1):
                    named = self._task.named(part)
                    losses = self._task.losses({**named, **known, **shares}, size, turn, by=self._loss)
                self._precision.backward(losses["loss"] if weight == 1 else losses["loss"] * weight)
            if weight:
                see(named, size)
            else:
                losses = {name: value * 0 for name, value in losses.items()}
            total = {name: total.get(name, 0) + value.detach() for name, value in losses.items()}
            # Or the outputs of one part would be there while the next one makes its own.
            del named, losses
        return total

    def _known(self, batch: Batch, share: Share) -> dict[str, Any]:
        """What is known of the loss ahead, from the data of all processes."""
        if not self._plan.names:
            return {}
        names = [name for name in self._plan.ahead.input_names if name in batch]
        whole = {name: _of_all(batch[name], share, self._splitting.world) for name in names}
        return dict(zip(self._plan.names, self._ahead(whole, share.whole, self._task.model), strict=True))


class OfOutputs:
    """Part by part, with a loss of the outputs of all parts together, and of those of all processes."""

    def __init__(
        self,
        task: Task,
        precision: Precision,
        splitting: Splitting,
        axes: Mapping[str, int | None],
        device: torch.device,
    ) -> None:
        self._task: Final = task
        self._precision: Final = precision
        self._splitting: Final = splitting
        self._axes: Final = axes
        self._device: Final = device

    def add(self, batch: Batch, turn: int | None, see: See, share: Share | None = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        parts, share = self._splitting.of(batch, share)
        world, weight = self._splitting.world, self._splitting.weight(share)
        made, lengths, drawn = self._made(parts, share)
        outputs = {
            name: _of_all(value, share, world, self._axes.get(name)).requires_grad_(value.is_floating_point())
            for name, value in made.items()
        }
        whole = {name: _of_all(value, share, world) for name, value in batch.items()}
        with self._precision.autocast():
            named = self._task.seen(whole, outputs)
            losses = self._task.losses(named, share.whole, turn)
        self._precision.backward(losses["loss"])
        if world.is_first:
            see({name: value.detach() for name, value in named.items()}, share.whole)
        after = generator_state(self._device)
        grads = {
            name: _split(
                _own(output.grad, made[name], share, world, self._axes.get(name)), self._axes.get(name), lengths[name]
            )
            for name, output in outputs.items()
            if output.grad is not None
        }
        for number, part in enumerate(parts):
            set_generator_state(drawn[number], self._device)
            with self._splitting.strategy.passing(turn, last=number + 1 == len(parts)):
                with self._precision.autocast(), self._splitting.rows(share, parts, number):
                    again = self._task.outputs(part)
                pairs = [(again[name], grad[number]) for name, grad in grads.items() if again[name].requires_grad]
                if pairs:
                    torch.autograd.backward([value for value, _ in pairs], [grad * weight for _, grad in pairs])
        set_generator_state(after, self._device)
        return losses if world.is_first else {name: value * 0 for name, value in losses.items()}

    def _made(
        self, parts: Sequence[Batch], share: Share
    ) -> tuple[dict[str, Tensor], dict[str, list[int]], list[dict[str, Tensor]]]:
        """The outputs of all parts together, how long each part's are, and where random numbers stood before each.

        Nothing else is changed: what layers count, such as batch statistics, they count when they run again.
        """
        before = [(buffer, buffer.clone()) for buffer in self._task.model.buffers()]
        made, drawn = [], []
        for number, part in enumerate(parts):
            drawn.append(generator_state(self._device))
            rows = self._splitting.rows(share, parts, number)
            with torch.no_grad(), self._precision.autocast(), rows:
                made.append(self._task.outputs(part))
        for buffer, value in before:
            buffer.copy_(value)
        sizes = list(map(samples_in, parts))
        outputs, lengths = {}, {}
        for name in list(made[0]):
            axis, values = self._axes.get(name), [each.pop(name) for each in made]
            lengths[name] = sizes if axis is None else [value.shape[axis] for value in values]
            outputs[name] = _joined(values, axis, sizes)
        return outputs, lengths, drawn


def _of_all(value: Tensor, share: Share, world: World, axis: int | None = 0) -> Tensor:
    """A tensor of samples, of all processes together; where the network has reduced them itself, their mean."""
    if world.size == 1:
        return value
    if axis is None:
        everyones = world.joined((value * (share.samples / share.whole))[None])
        return torch.cat(everyones).sum(0)
    return torch.cat(world.joined(value if share.samples else value.narrow(axis, 0, 0), axis), axis)


def _own(grad: Tensor, mine: Tensor, share: Share, world: World, axis: int | None) -> Tensor:
    """Of the gradient of what `_of_all` has made, the part that belongs to this process's `mine`."""
    if world.size == 1:
        return grad
    if not share.samples:
        return torch.zeros_like(mine)
    if axis is None:
        return grad * (share.samples / share.whole)
    rows = mine.shape[axis] // share.samples
    return grad.narrow(axis, share.start * rows, mine.shape[axis])


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

    def add(self, batch: Batch, turn: int | None, see: See, share: Share | None = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        return self._ways[turn or 0].add(batch, turn, see, share)


def make_gradients(
    program: Program,
    task: Task,
    precision: Precision,
    device: torch.device,
    splitting: Splitting | None = None,
) -> Gradients:
    """The way that a program's `accumulate`, its losses and the number of processes ask for."""
    assert program.train is not None and program.experiment.train is not None  # noqa: S101, PT018 - a run has checked it
    seed = program.experiment.train.seed
    splitting = splitting or Splitting(program.experiment.train.accumulate)
    if splitting.parts == 1 and splitting.world.size == 1:
        return OfWhole(task, precision)
    data = frozenset(field.name for field in program.data["train"].fields)

    def way(loss: LossPlan) -> Gradients:
        plan = in_parts(loss, data)
        if plan is not None:
            ahead, body = Fed(plan.ahead, device, seed), Fed(plan.body, device, seed, loss)
            return OfParts(task, precision, splitting, plan, ahead, body)
        return OfOutputs(task, precision, splitting, batch_axes(loss, data), device)

    return InTurns([way(loss) for loss in program.train.losses])
