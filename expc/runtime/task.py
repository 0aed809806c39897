"""What is learnt: the network and its loss, fed from batches by name."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

import torch
from torch import Tensor, nn

from expc.compiler.dimensions import Symbol
from expc.compiler.graph import Container
from expc.compiler.lower import lower, lower_container
from expc.compiler.lower.block import Block
from expc.compiler.lower.steps import Plan
from expc.compiler.program import LossPlan, Program
from expc.runtime.recompute import recompute, recompute_in_segments

Batch = dict[str, Tensor]
"""The fields of a batch by name, each `[N, ...]`."""


class Task:
    """The model and the loss of a program, on one device.

    `named` gives what a loss or a metric may speak of: the fields of the batch, the outputs of the model (`output`, or
    `output0`, `output1` and so on, where they have no names), and `target`, the first field that feeds no input.
    Without `start`, parameters wait for weights to be loaded. `model` is the network, where it is built already.
    """

    def __init__(
        self,
        program: Program,
        device: torch.device,
        seed: int,
        *,
        start: bool = True,
        model: nn.Module | None = None,
    ) -> None:
        assert program.model is not None  # noqa: S101 - a run has checked it
        assert program.train is not None  # noqa: S101
        plan, settings = program.train, program.experiment.train
        self.model = model or lower(program.model, device=device, seed=seed, inits=plan.inits, start=start)
        recompute(self.model, plan.recompute)
        if plan.segments is not None:
            recompute_in_segments(self.model, plan.segments)
        self._compiled: Final = False if settings is None else settings.compile
        self._run = self._runner()
        body = program.model.body
        self._feeds: Final = [program.inputs[name] for name in body.input_names]
        self._losses: Final = [Fed(loss.body, device, seed, loss) for loss in plan.losses]
        self._names: Final = [turn.name for turn in plan.turns]
        self._measures: Final = None if plan.measured is None else Fed(plan.measured, device, seed)
        self._frozen: tuple[nn.Module, ...] = ()
        self._resting: tuple[nn.Parameter, ...] = ()

    def _runner(self) -> Callable[..., Any]:
        return self.compiled(self.model)

    def compiled(self, model: nn.Module) -> Callable[..., Any]:
        """What runs `model`: itself, or what torch compiles of it where the file asks for that."""
        if not self._compiled:
            return model
        mode = None if self._compiled is True else str(self._compiled)
        return torch.compile(model, mode=mode)

    @contextmanager
    def run_by(self, run: Callable[..., Any]) -> Iterator[None]:
        """Meanwhile the model runs by `run`, which wraps it."""
        before, self._run = self._run, run
        try:
            yield
        finally:
            self._run = before

    def with_model(self, model: nn.Module) -> "Task":
        """The same task with other weights."""
        other = copy(self)
        other.use(model)
        return other

    def use(self, model: nn.Module) -> None:
        """Go on with other weights, of which nothing is frozen."""
        self.model, self._frozen, self._resting = model, (), ()
        self._run = self._runner()

    @contextmanager
    def watched(self, wrapped: Callable[[Plan], Plan]) -> Iterator[None]:
        """Meanwhile model and losses run by plans that `wrapped` makes of theirs, and nothing is compiled."""
        modules = (self.model, *self.loss_modules)
        blocks = [block for module in modules for block in module.modules() if isinstance(block, Block)]
        run, self._run = self._run, self.model
        plans = [block.plan for block in blocks]
        # What recomputes segments of a plan stands there, and knows another plan.
        forwards = [block.__dict__.pop("forward", None) for block in blocks]
        for block in blocks:
            block.plan = wrapped(block.plan)
        try:
            yield
        finally:
            self._run = run
            for block, plan, forward in zip(blocks, plans, forwards, strict=True):
                block.plan = plan
                if forward is not None:
                    block.forward = forward  # type: ignore[method-assign]

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """The model's inputs, in its order."""
        return tuple(batch[field] for field in self._feeds)

    def named(self, batch: Batch) -> dict[str, Any]:
        """Run the model on a batch."""
        return self.seen(batch, self.outputs(batch))

    def outputs(self, batch: Batch) -> dict[str, Any]:
        """What the model makes of a batch, by name."""
        result = self._run(*self.inputs(batch))
        if isinstance(result, Mapping):
            return dict(result)
        if isinstance(result, tuple):
            return {f"output{i}": output for i, output in enumerate(result)}
        return {"output": result}

    def seen(self, batch: Batch, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """What a loss or a metric may speak of, where the model has made `outputs` of a batch."""
        target = next((field for field in batch if field not in self._feeds), None)
        return {**({} if target is None else {"target": batch[target]}), **batch, **outputs}

    def losses(
        self, named: Mapping[str, Any], samples: int, turn: int | None = None, by: "Fed | None" = None
    ) -> dict[str, Tensor]:
        """The loss, called `loss`, and its terms where they have names: scalars.

        `turn` is which of several losses is meant; without it, they are summed. `by` computes it in another way.
        """
        if len(self._losses) == 1:
            return self._loss(by or self._losses[0], named, samples)
        if turn is not None:
            found = self._loss(by or self._losses[turn], named, samples)
            return {**found, self._names[turn]: found["loss"]} if self._names[turn] else found
        turns = [self.losses(named, samples, index) for index in range(len(self._losses))]
        total = torch.stack([found["loss"].float() for found in turns]).sum()
        return {**{name: value for found in turns for name, value in found.items()}, "loss": total}

    def _loss(self, loss: "Fed", named: Mapping[str, Any], samples: int) -> dict[str, Tensor]:
        result = loss(named, samples, self.model)
        if not loss.terms:
            return {"loss": result}
        terms = {name: result[name] for name in loss.terms if name in result}
        return {"loss": torch.stack([term.float() for term in terms.values()]).sum(), **terms}

    def measured(self, named: Mapping[str, Any], samples: int) -> dict[str, Tensor]:
        """What the file computes for its metrics, by name."""
        if self._measures is None:
            return {}
        with torch.no_grad():
            return dict(self._measures(named, samples, self.model))

    @property
    def loss_modules(self) -> list[nn.Module]:
        """What computes the losses, in the order of their turns."""
        return [loss.module for loss in self._losses]

    def train(self) -> None:
        """Let model and loss act as in training; what is frozen acts as in evaluation."""
        self.model.train()
        for module in self._frozen:
            module.eval()
        for loss in self._losses:
            loss.module.train()

    def eval(self) -> None:
        """Let model and loss act as in evaluation."""
        self.model.eval()
        for part in (*self._losses, *([] if self._measures is None else [self._measures])):
            part.module.eval()

    def freeze(self, keys: Collection[str]) -> None:
        """Let these parameters learn nothing. Modules that are frozen as a whole act as in evaluation."""
        frozen = set(keys)
        named = dict(self.model.named_parameters(remove_duplicate=False))
        self._resting = tuple(named[key] for key in keys if key in named and named[key].requires_grad)
        for parameter in self._resting:
            parameter.requires_grad_(False)
        entries = self.model.state_dict().keys()
        whole = []
        for name, module in self.model.named_modules():
            inside = {key for key in entries if not name or key.startswith(f"{name}.")}
            if inside and inside <= frozen:
                whole.append(module)
        self._frozen = tuple(whole)

    def thaw(self) -> None:
        """Let everything learn that was frozen."""
        for parameter in self._resting:
            parameter.requires_grad_(True)
        for module in self._frozen:
            module.train()
        self._frozen = self._resting = ()


class Fed:
    """A container that is fed by name: a loss, what is known of it ahead, or what computes the metrics."""

    def __init__(self, body: Container, device: torch.device, seed: int, loss: LossPlan | None = None) -> None:
        self.module: Final = lower_container(body, device=device, seed=seed)
        self.terms: Final = () if loss is None else loss.terms
        self._weights: Final = {} if loss is None else loss.weights
        self._inputs: Final = tuple(zip(body.input_names, body.inputs, strict=True))

    def __call__(self, named: Mapping[str, Any], samples: int, model: nn.Module) -> Any:
        """Its result. It takes every output, used or not; those that exist in training only are none in evaluation."""
        parameters = dict(model.named_parameters(remove_duplicate=False)) if self._weights else {}
        arguments = [
            samples
            if isinstance(kind, Symbol)
            else parameters[self._weights[name]]
            if name in self._weights
            else named.get(name)
            for name, kind in self._inputs
        ]
        return self.module(*arguments)


def samples_in(batch: Batch) -> int:
    """The number of samples of a batch."""
    return len(next(iter(batch.values())))


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch in at most `parts` parts of nearly equal size, none empty."""
    if parts == 1:
        return [batch]
    chunks = {name: value.chunk(parts) for name, value in batch.items()}
    return [dict(zip(chunks, values, strict=True)) for values in zip(*chunks.values(), strict=True)]
