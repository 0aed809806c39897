"""The module that a container becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from expc.compiler.errors.python import ExecutionError, RuntimeFailure
from expc.compiler.graph import Apply, Invoke, Value
from expc.compiler.lower.steps import Plan, Run
from expc.compiler.lower.values import Getter
from expc.compiler.types import TORCH_NAMES
from expc.diagnostics import Label, Span


class Block(nn.Module):
    """Runs the steps of one container on real tensors. It prints under the container's title.

    Inputs are tensors, by position or by name. The result is a tensor, a tuple, or, where the container declares its
    results by name, a dict; those that exist in training only are absent in evaluation. A step that fails raises
    `ExecutionError`, which names the line.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Mapping[str, nn.Parameter],
        buffers: Mapping[str, torch.Tensor],
        modules: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.plan = plan
        # Not `register_parameter` and its like: they refuse names that are also methods, such as `half`.
        self._parameters.update(parameters)
        self._buffers.update(buffers)
        self._modules.update(modules)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Runs the steps in order."""
        return self.run(self.plan, inputs, named)

    def run(self, plan: Plan, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Runs the steps of `plan`: its own, or one for inputs of other types over the same modules."""
        if named or len(inputs) != len(plan.container.inputs):
            inputs = plan.inputs(inputs, named)
        env = [*inputs, *plan.added]
        self.walk(plan, plan.in_training if self.training else plan.in_evaluation, env)
        return plan.result(self, env)

    def walk(self, plan: Plan, runs: Sequence[Run], env: list[Any]) -> None:
        """Runs some steps of `plan`, which find and leave their values in `env`."""
        get: Getter | None = None
        try:
            for get, slot in runs:
                env[slot] = get(self, env)
        except ExecutionError as error:
            raise _passed_on(error, plan, get) from error.__cause__
        except Exception as error:
            raise _failure(error, plan, get, env) from error

    def _get_name(self) -> str:
        return self.plan.container.title


def build_failure(error: Exception, span: Span) -> ExecutionError:
    """What to raise when torch refuses to make a module."""
    return ExecutionError(RuntimeFailure(span=span, step=_one_line(span), reason=_reason(error)))


def _failure(error: Exception, plan: Plan, get: Getter | None, env: list[Any]) -> ExecutionError:
    """`error`, told in the experiment's terms: which step, and what arrived."""
    origin = plan.origins.get(get) if get is not None else None
    if origin is None:
        span, reads, modules = plan.container.span, _inputs(plan), _module(None)
    else:
        span, reads, modules = origin.step.span, origin.reads, _module(origin.step)
    notes = tuple(f"`{name}` arrived as {_arrived(env[slot])}, checked as {value.type}" for name, value, slot in reads)
    step = plan.container.title if origin is None else _one_line(span)
    return ExecutionError(RuntimeFailure(span=span, step=step, reason=_reason(error), notes=notes), modules)


def _passed_on(error: ExecutionError, plan: Plan, get: Getter | None) -> ExecutionError:
    """The error of a module inside, with this module's name for it and the place where it is used."""
    origin = plan.origins.get(get) if get is not None else None
    if origin is None:
        return error
    used = Label(origin.step.span, "used here")
    problem = replace(error.problem, labels=(*error.problem.labels, used))
    return ExecutionError(problem, (*_module(origin.step), *error.modules))


def _module(step: Any) -> tuple[str, ...]:
    return (step.module,) if isinstance(step, Apply | Invoke) and step.module is not None else ()


def _inputs(plan: Plan) -> tuple[tuple[str, Value, int], ...]:
    container = plan.container
    named = enumerate(zip(container.input_names, container.inputs, strict=True))
    return tuple((name, value, slot) for slot, (name, value) in named if isinstance(value, Value))


def _one_line(span: Span) -> str:
    return " ".join(span.text.split())


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _arrived(value: Any) -> str:
    """A tensor as the language writes its type, with the range of whole numbers: an index may be out of bounds."""
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    torch_name = str(value.dtype).removeprefix("torch.")
    dtype = next((name for name, of_torch in TORCH_NAMES.items() if of_torch == torch_name), torch_name)
    text = f"{dtype}[{', '.join(map(str, value.shape))}]"
    if type(value) is torch.Tensor and value.device.type == "cpu" and dtype in ("i64", "i32") and value.numel():
        text += f" from {int(value.min())} to {int(value.max())}"
    return text if value.device.type == "cpu" else f"{text} on {value.device}"
