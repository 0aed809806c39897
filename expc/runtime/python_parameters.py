"""What a plan says of the parameters of Python code, which only the building of the model makes known."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from torch import nn

from expc.compiler.errors.experiment import GroupRefused
from expc.compiler.errors.names import SelectorMatchesNothing
from expc.compiler.errors.training import NotMoved
from expc.compiler.graph import Container, Model, Weight, has_python, weights
from expc.compiler.lower.init import of_python
from expc.compiler.plans.selectors import matching
from expc.compiler.program import FreezePlan, GroupPlan, TrainPlan, Turn
from expc.diagnostics import Label
from expc.runtime.errors import RunError


def with_python(plan: TrainPlan, model: Model, built: nn.Module) -> TrainPlan:
    """The plan with the parameters of Python code in groups, in what is frozen, and in what each loss moves.

    Raises `RunError` where a selector matches nothing after all, or nothing moves one of these parameters, or two do.
    """
    if not has_python(model.body):
        return plan
    new = of_python(built.state_dict(keep_vars=True), model.body)
    moved = [weight for weight in new if not weight.is_buffer]
    groups = tuple(_group(group, model.body, moved) for group in plan.groups)
    freeze = None if plan.freeze is None else _freeze(plan.freeze, model.body, new)
    frozen = set(freeze.keys) if freeze is not None and freeze.duration is None else set()
    moved = [weight for weight in moved if weight.key not in frozen]
    _check(moved, groups, [group.optimizer is not None for group in groups], "optimizer", plan.optimizer is not None)
    turns = _turns(plan.turns, groups, moved)
    return replace(plan, groups=groups, freeze=freeze, turns=turns)


def _group(group: GroupPlan, body: Container, moved: Sequence[Weight]) -> GroupPlan:
    more = [weight.key for weight in matching(group.selector, group.is_glob, body, moved)]
    if not more and not group.keys:
        raise RunError(SelectorMatchesNothing(span=group.span, selector=group.selector))
    return replace(group, keys=(*group.keys, *more))


def _freeze(freeze: FreezePlan, body: Container, new: Sequence[Weight]) -> FreezePlan:
    keys = dict.fromkeys(freeze.keys)
    for selector, is_glob in freeze.selectors:
        more = matching(selector, is_glob, body, new)
        if not more and not matching(selector, is_glob, body, list(weights(body))):
            raise RunError(SelectorMatchesNothing(span=freeze.span, selector=selector))
        keys |= dict.fromkeys(weight.key for weight in more)
    return replace(freeze, keys=tuple(keys))


def _turns(turns: Sequence[Turn], groups: Sequence[GroupPlan], moved: Sequence[Weight]) -> tuple[Turn, ...]:
    if not turns:
        return ()
    owners = {turn.group for turn in turns}
    _check(moved, groups, [place in owners for place in range(len(groups))], "loss", None in owners)
    found = []
    taken = {key for place, group in enumerate(groups) if place in owners for key in group.keys}
    for turn in turns:
        mine = set(groups[turn.group].keys) if turn.group is not None else {w.key for w in moved} - taken
        keys = (*turn.keys, *(weight.key for weight in moved if weight.key in mine))
        if not keys:
            raise RunError(GroupRefused(span=turn.span, reason="this loss moves nothing"))
        found.append(replace(turn, keys=keys))
    return tuple(found)


def _check(
    moved: Sequence[Weight], groups: Sequence[GroupPlan], owns: Sequence[bool], what: str, has_default: bool
) -> None:
    """Each parameter has one optimizer, and one loss."""
    owners = [group for group, own in zip(groups, owns, strict=True) if own]
    for weight in moved:
        mine = [group for group in owners if weight.key in group.keys]
        article = "an" if what == "optimizer" else "a"
        for first, second in pairwise(mine):
            reason = f"`{weight.key}` is in two groups with {article} {what} of their own"
            labels = (Label(first.span, "the first is here"),)
            raise RunError(GroupRefused(span=second.span, reason=reason, labels=labels))
        if not mine and not has_default:
            note = f"give `train` {article} `{what}`, or a group for it; or `freeze` it"
            raise RunError(NotMoved(span=weight.span, what=what, key=weight.key, more="", notes=(note,)))
