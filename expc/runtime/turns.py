"""Who moves what: the losses of a run in turn, each with the optimizers that take its step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from torch import nn
from torch.optim import LBFGS, Optimizer

from expc.compiler.program import TrainPlan

Clip = tuple[str, float, int]
"""The kind of a limit, the limit, and which group says so, counted from 1; 0 is `train`."""


class Turn:
    """One loss and the parameters that it moves. A run has one turn a step, or one for each group with a loss."""

    def __init__(
        self,
        index: int | None,
        own: Sequence[nn.Parameter],
        everything: Sequence[nn.Parameter],
        made: Sequence[Optimizer],
        clips: Mapping[nn.Parameter, Clip | None],
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
        limits: dict[Clip, list[nn.Parameter]] = {}
        for parameter in self.parameters:
            how = clips[parameter]
            if how is not None:
                limits.setdefault(how, []).append(parameter)
        self.limits: Final = tuple(limits.items())
        """How gradients are limited, and those of which parameters together."""

    def clear(self) -> None:
        """Take the gradients away."""
        for parameter in self.parameters:
            parameter.grad = None

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
    clips = _clips(plan, model, moved)
    if not plan.turns:
        return (Turn(None, moved, moved, optimizers, clips),)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return tuple(
        Turn(index, list(dict.fromkeys(parameters[key] for key in turn.keys)), moved, optimizers, clips)
        for index, turn in enumerate(plan.turns)
    )


def _clips(plan: TrainPlan, model: nn.Module, moved: Sequence[nn.Parameter]) -> dict[nn.Parameter, Clip | None]:
    """What limits the gradient of each parameter: what `train` says, or the last of its groups that says something."""
    named = dict(model.named_parameters(remove_duplicate=False))
    found: dict[nn.Parameter, Clip | None] = dict.fromkeys(moved, plan.clip and (*plan.clip, 0))
    for place, group in enumerate(plan.groups, start=1):
        if "clip" in group.learning:
            how = group.learning["clip"]
            found |= {named[key]: how and (*how, place) for key in group.keys if named[key] in found}
    return found
