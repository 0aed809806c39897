"""Who moves what: the losses of a run in turn, each with the optimizers that take its step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from torch import nn
from torch.optim import LBFGS, Optimizer

from expc.compiler.graph import Container, has_python, weights
from expc.compiler.program import TrainPlan
from expc.compiler.selectors import glob


class Turn:
    """One loss and the parameters that it moves. A run has one turn a step, or one for each group with a loss."""

    def __init__(
        self,
        index: int | None,
        own: Sequence[nn.Parameter],
        everything: Sequence[nn.Parameter],
        made: Sequence[Optimizer],
    ) -> None:
        self.index: Final = index
        """Which of several losses it is; none for the only one."""
        self.parameters: Final = tuple(own)
        mine = set(own)
        self._others: Final = tuple(parameter for parameter in everything if parameter not in mine)
        optimizers = [o for o in made if any(p in mine for group in o.param_groups for p in group["params"])]
        self.plain: Final = tuple(optimizer for optimizer in optimizers if not isinstance(optimizer, LBFGS))
        self.searching: Final = tuple(optimizer for optimizer in optimizers if isinstance(optimizer, LBFGS))
        """The optimizers that ask for the gradients again and again within one step."""

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """All that take a step in this turn."""
        return (*self.plain, *self.searching)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile the parameters of other turns get no gradients."""
        paused = [parameter for parameter in self._others if parameter.requires_grad]
        for parameter in paused:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in paused:
                parameter.requires_grad_(True)


def make_turns(plan: TrainPlan, model: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[Turn, ...]:
    """The turns of one step, in order."""
    moved = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    if not plan.turns:
        return (Turn(None, moved, moved, optimizers),)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return tuple(
        Turn(index, list(dict.fromkeys(parameters[key] for key in turn.keys)), moved, optimizers)
        for index, turn in enumerate(plan.turns)
    )


def with_python(plan: TrainPlan, body: Container, model: nn.Module) -> TrainPlan:
    """The plan with the parameters of Python code, which are known only now, in the groups whose globs match them."""
    if not has_python(body):
        return plan
    known = {weight.key for weight in weights(body)}
    new = [key for key in model.state_dict() if key not in known]

    def more(selector: str) -> list[str]:
        pattern = glob(selector)
        return [key for key in new if pattern.fullmatch(key)]

    parameters = dict(model.named_parameters(remove_duplicate=False))
    groups = tuple(
        replace(group, keys=(*group.keys, *(key for key in more(group.selector) if key in parameters)))
        if group.is_glob
        else group
        for group in plan.groups
    )
    freeze = plan.freeze
    if freeze is not None:
        freeze = replace(freeze, keys=(*freeze.keys, *(key for selector in freeze.globs for key in more(selector))))
    return replace(plan, groups=groups, freeze=freeze)
