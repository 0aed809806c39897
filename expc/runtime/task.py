"""What is learnt: the network and its loss, fed from batches by name."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from expc.compiler.dimensions import Symbol
from expc.compiler.lower import lower, lower_container
from expc.compiler.program import Program

Batch = dict[str, Tensor]
"""The fields of a batch by name, each `[N, ...]`."""


class Task:
    """The model and the loss of a program, on one device.

    `named` gives what a loss or a metric may speak of: the fields of the batch, the outputs of the model (`output`, or
    `output0`, `output1` and so on, where they have no names), and `target`, the first field that feeds no input.
    """

    def __init__(self, program: Program, device: torch.device, seed: int) -> None:
        assert program.model is not None  # noqa: S101 - a run has checked it
        assert program.train is not None  # noqa: S101
        self.model: Final = lower(program.model, device=device, seed=seed, inits=program.train.inits)
        body = program.model.body
        self._feeds: Final = [program.inputs[name] for name in body.input_names]
        plan = program.train.loss
        self.loss: Final = lower_container(plan.body, device=device, seed=seed)
        self._loss_inputs: Final = tuple(zip(plan.body.input_names, plan.body.inputs, strict=True))
        self._terms: Final = plan.terms

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """The model's inputs, in its order."""
        return tuple(batch[field] for field in self._feeds)

    def named(self, batch: Batch) -> dict[str, Any]:
        """Run the model on a batch."""
        result = self.model(*self.inputs(batch))
        if isinstance(result, Mapping):
            outputs = dict(result)
        elif isinstance(result, tuple):
            outputs = {f"output{i}": output for i, output in enumerate(result)}
        else:
            outputs = {"output": result}
        target = next((field for field in batch if field not in self._feeds), None)
        return {**({} if target is None else {"target": batch[target]}), **batch, **outputs}

    def losses(self, named: Mapping[str, Any], samples: int) -> dict[str, Tensor]:
        """The loss, called `loss`, and its terms where they have names: scalars."""
        # The loss takes every output, used or not; those that exist in training only are none in evaluation.
        arguments = [samples if isinstance(kind, Symbol) else named.get(name) for name, kind in self._loss_inputs]
        result = self.loss(*arguments)
        if not self._terms:
            return {"loss": result}
        terms = {name: result[name] for name in self._terms if name in result}
        return {"loss": torch.stack([term.float() for term in terms.values()]).sum(), **terms}

    def train(self) -> None:
        """Let model and loss act as in training."""
        self.model.train()
        self.loss.train()

    def eval(self) -> None:
        """Let model and loss act as in evaluation."""
        self.model.eval()
        self.loss.eval()


def samples_in(batch: Batch) -> int:
    """The number of samples of a batch."""
    return len(next(iter(batch.values())))


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch in at most `parts` parts of nearly equal size, none empty."""
    if parts == 1:
        return [batch]
    chunks = {name: value.chunk(parts) for name, value in batch.items()}
    return [dict(zip(chunks, values, strict=True)) for values in zip(*chunks.values(), strict=True)]
