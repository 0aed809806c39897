"""The gradients of one step: of a batch at once, or of its parts (`accumulate`, and what several processes have).

The parts give what the whole batch would. Where the loss can be added up from parts (`expc.compiler.plans.parts`), each
part runs once. Any other loss is computed once, on the outputs of all parts together: they are made without gradients
first; what the loss says of them is then passed back through each part, which runs again. That is exact for every loss
and costs one more forward pass (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
2021). What differs by nature is what the network does with samples together, such as batch statistics, and the random
numbers that it draws.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from expc.compiler.plans.parts import InParts, batch_axes, in_parts
from expc.compiler.program import LossPlan, Program
from expc.frozen import dataclass, field
from expc.runtime.data.loader import Share, shares_of
from expc.runtime.distributed.draws import Draws
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.distributed.world import World
from expc.runtime.precision import Precision
from expc.runtime.seeds import generator_state, set_generator_state
from expc.runtime.task import Batch, Fed, Task, samples_in

See = Callable[[Mapping[str, Any], int], None]
"""Takes what a loss or a metric may speak of, and of how many samples."""
Shares = Sequence[Share] | None
"""Which samples of each part of a global batch a process has; none: all."""


class Gradients(Protocol):
    """A way to the gradients of a batch."""

    def add(self, batch: Batch, turn: int | None, see: See, shares: Shares = None) -> dict[str, Tensor]:
        """Add the gradients of a loss to the parameters, scaled by the precision; gives the loss and its terms.

        The batch is what this process has of a global one, part by part, as `shares` says; without, it is all of it.
        Of several processes each gives a part of the loss: the loss is the sum over all of them.
        """


class OfWhole:
    """Of a batch at once, in one process."""

    def __init__(self, task: Task, precision: Precision) -> None:
        self._task: Final = task
        self._precision: Final = precision

    def add(self, batch: Batch, turn: int | None, see: See, shares: Shares = None) -> dict[str, Tensor]:  # noqa: ARG002 - it is all
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
    """Into how many parts a batch goes, and how the processes share the model."""

    parts: int
    world: World = field(default_factory=World)
    strategy: Strategy = field(default_factory=Strategy)
    draws: Draws = field(default_factory=Draws)

    def of(self, batch: Batch, shares: Shares) -> tuple[list[Batch], Sequence[Share]]:
        """The parts of a batch, and which samples of each part of the global batch they are."""
        shares = shares or shares_of(samples_in(batch), self.parts, World())
        if len(shares) == 1:
            return [batch], shares
        sizes = [share.run for share in shares]
        pieces = {name: torch.split(value, sizes) for name, value in batch.items()}
        return [dict(zip(pieces, values, strict=True)) for values in zip(*pieces.values(), strict=True)], shares

    def weight(self, share: Share) -> int:
        """What the loss of a part is multiplied by: torch takes the mean of what the processes compute.

        A process without samples runs one that does not count, so that all meet in the same places.
        """
        return self.world.size if share.samples else 0

    @contextmanager
    def forward(self, model: nn.Module, share: Share) -> Iterator[None]:
        """Around a pass forward over a part, and the pass back, which may run it again."""
        counts = self.strategy.counting(model, share.samples > 0)
        with counts, self.draws.rows(share.start, share.stop, share.whole):
            yield

    @contextmanager
    def passing(self, model: nn.Module, share: Share, turn: int | None, *, last: bool) -> Iterator[None]:
        """Around a pass forward and back, whose gradients are wanted: of a step the `last` one, or one before."""
        with self.strategy.passing(turn, last=last), self.forward(model, share):
            yield


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

    def add(self, batch: Batch, turn: int | None, see: See, shares: Shares = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        parts, shares = self._splitting.of(batch, shares)
        whole, known = sum(share.whole for share in shares), self._known(parts, shares)
        total: dict[str, Tensor] = {}
        for number, (part, share) in enumerate(zip(parts, shares, strict=True), 1):
            weight, size = self._splitting.weight(share), share.run
            portions = {f"share.{power}": (size / whole) ** power for power in self._plan.powers}
            with self._splitting.passing(self._task.model, share, turn, last=number == len(parts)):
                with self._precision.autocast():
                    named = self._task.named(part)
                    losses = self._task.losses({**named, **known, **portions}, size, turn, by=self._loss)
                self._precision.backward(losses["loss"] if weight == 1 else losses["loss"] * weight)
            if weight:
                see(named, size)
            else:
                losses = {name: torch.zeros_like(value) for name, value in losses.items()}
            total = {name: total.get(name, 0) + value.detach() for name, value in losses.items()}
            # Or the outputs of one part would be there while the next one makes its own.
            del named, losses
        return total

    def _known(self, parts: Sequence[Batch], shares: Sequence[Share]) -> dict[str, Any]:
        """What is known of the loss ahead, from the data of all processes."""
        if not self._plan.names:
            return {}
        names = [name for name in self._plan.ahead.input_names if name in parts[0]]
        fields = {
            name: _Joined([part[name] for part in parts], 0, shares, self._splitting.world).whole for name in names
        }
        count = sum(share.whole for share in shares)
        return dict(zip(self._plan.names, self._ahead(fields, count, self._task.model), strict=True))


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

    def add(self, batch: Batch, turn: int | None, see: See, shares: Shares = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        parts, shares = self._splitting.of(batch, shares)
        world, count = self._splitting.world, sum(share.whole for share in shares)
        made, drawn = self._made(parts, shares)
        joined = {
            name: _Joined([each.pop(name) for each in made], self._axes.get(name), shares, world)
            for name in list(made[0])
        }
        outputs = {name: each.whole.requires_grad_(each.whole.is_floating_point()) for name, each in joined.items()}
        fields = {name: _Joined([part[name] for part in parts], 0, shares, world).whole for name in batch}
        with self._precision.autocast():
            named = self._task.seen(fields, outputs)
            losses = self._task.losses(named, count, turn)
        self._precision.backward(losses["loss"])
        if world.is_first:
            see({name: value.detach() for name, value in named.items()}, count)
        after = generator_state(self._device)
        for number, (part, share) in enumerate(zip(parts, shares, strict=True)):
            set_generator_state(drawn[number], self._device)
            weight = self._splitting.weight(share)
            with self._splitting.passing(self._task.model, share, turn, last=number + 1 == len(parts)):
                with self._precision.autocast():
                    again = self._task.outputs(part)
                pairs = [
                    (again[name], joined[name].own(output.grad, number) * weight)
                    for name, output in outputs.items()
                    if output.grad is not None and again[name].requires_grad
                ]
                if pairs:
                    torch.autograd.backward([value for value, _ in pairs], [grad for _, grad in pairs])
        set_generator_state(after, self._device)
        return losses if world.is_first else {name: torch.zeros_like(value) for name, value in losses.items()}

    def _made(
        self, parts: Sequence[Batch], shares: Sequence[Share]
    ) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        """The outputs of each part, and where random numbers stood before it.

        Nothing else is changed: what layers count, such as batch statistics, they count when they run again.
        """
        before = [(buffer, buffer.clone()) for buffer in self._task.model.buffers()]
        made, drawn = [], []
        for part, share in zip(parts, shares, strict=True):
            drawn.append(generator_state(self._device))
            forward = self._splitting.forward(self._task.model, share)
            with torch.no_grad(), self._precision.autocast(), forward:
                made.append(self._task.outputs(part))
        for buffer, value in before:
            buffer.copy_(value)
        return made, drawn


class _Joined:
    """One tensor of those of all parts and processes, in the order of the global batch.

    Samples lie along `axis`; where there is none the network has reduced them itself: then it is their mean.
    """

    def __init__(self, mine: Sequence[Tensor], axis: int | None, shares: Sequence[Share], world: World) -> None:
        self._axis: Final = axis
        self._sizes: Final = [value.shape for value in mine]
        count = sum(share.whole for share in shares)
        self._portions: Final = [share.samples / count for share in shares]
        self._starts: Final[list[int]] = []
        pieces: list[Tensor] = []
        if axis is None:
            own = torch.stack([value * portion for value, portion in zip(mine, self._portions, strict=True)]).sum(0)
            self.whole = torch.stack([each[0] for each in world.joined(own[None])]).sum(0)
            return
        start = 0
        for value, share in zip(mine, shares, strict=True):
            everyones = world.joined(value if share.samples else value.narrow(axis, 0, 0), axis)
            lengths = [each.shape[axis] for each in everyones]
            self._starts.append(start + sum(lengths[: world.rank]))
            start += sum(lengths)
            pieces += everyones
        self.whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)

    def own(self, grad: Tensor, number: int) -> Tensor:
        """Of the gradient of the whole what belongs to a part of this process."""
        size, portion = self._sizes[number], self._portions[number]
        if not portion:
            return grad.new_zeros(size)
        if self._axis is None:
            return grad * portion
        return grad.narrow(self._axis, self._starts[number], size[self._axis])


class InTurns:
    """Each loss of a run in its own way."""

    def __init__(self, ways: Sequence[Gradients]) -> None:
        self._ways: Final = ways

    def add(self, batch: Batch, turn: int | None, see: See, shares: Shares = None) -> dict[str, Tensor]:
        """As `Gradients` says."""
        return self._ways[turn or 0].add(batch, turn, see, shares)


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
