"""The roles among each other: what the model is measured on must come as what it learns from."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.errors.data import RoleField
from expc.compiler.graph import Model
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.requirements import Conditions
from expc.compiler.model.scope import Scope
from expc.compiler.plans.check_loss import Outcome, check_loss
from expc.compiler.program import DataPlan, Step
from expc.diagnostics import Label, Report, Span

if TYPE_CHECKING:
    from expc.spec.sections import Train

MEASURED = ("val", "test")
"""The roles that the loss and the metrics are measured on."""


def compared_in(plans: Mapping[str, DataPlan], outcomes: Mapping[str, Outcome]) -> str:
    """The role whose targets metrics are made for: `train`, unless it mixes samples, and another has plain ones."""
    plan = plans.get("train")
    mixes = plan is not None and any(isinstance(s, Step) and s.use.declaration.fields is not None for s in plan.stages)
    return next((role for role in MEASURED if mixes and role in outcomes), "train")


def check_roles(
    elaborator: Elaborator,
    model: Model,
    plans: Mapping[str, DataPlan],
    outcomes: Mapping[str, Outcome],
    mentioned: Collection[str],
    train: "Train",
    scope: Scope,
    span: Span,
) -> None:
    """Report fields that `train` learns with, and that another role does not give, or not so that they can be measured.

    `mentioned` are the names in the `train` section. Where types or sizes differ, the loss is checked with these too: a
    label that MixUp made probabilities of may be a class elsewhere. Metrics are made for one type of target: that of
    the data which they are computed on.
    """
    learnt = outcomes.get("train")
    if learnt is None or elaborator.report.has_errors:
        return
    fed = set(learnt.inputs.values())
    needed = [name for name in learnt.fields if name == learnt.target or name in mentioned or name in fed]
    reference = compared_in(plans, outcomes)
    for role in MEASURED:
        if role not in outcomes:
            continue
        found, compared = outcomes[role], {learnt.target} if train.metrics else set()
        if any(_differs(role, name, plans, outcomes, elaborator, name in compared, reference) for name in needed):
            continue
        if train.loss is not None and (found.fields != learnt.fields or found.outputs != learnt.outputs):
            _measure(
                elaborator, model, found, train.loss, scope, span, Label(plans[role].span, f"as `{role}` gives it")
            )


def _differs(
    role: str,
    name: str,
    plans: Mapping[str, DataPlan],
    outcomes: Mapping[str, Outcome],
    elaborator: Elaborator,
    of_one_type: bool,
    reference: str,
) -> bool:
    """Whether a field that is needed is missing, or is of another type where it may not be, which is reported."""
    expected, given = outcomes[reference].fields.get(name), outcomes[role].fields.get(name)
    if expected is None:
        reference, expected = "train", outcomes["train"].fields[name]
    if given is not None and not of_one_type:
        return False
    same = given is not None and (given.dtype, given.rank) == (expected.dtype, expected.rank)
    if given is not None and same and given.classes == expected.classes:
        return False
    found = "has no such field" if given is None else f"gives {given}"
    label = Label(plans[reference].span, f"`{reference}` gives {expected}")
    elaborator.add(RoleField(span=plans[role].span, role=role, field=name, found=found, labels=(label,)))
    return True


def _measure(
    elaborator: Elaborator, model: Model, found: Outcome, loss: Any, scope: Scope, span: Span, label: Label
) -> None:
    """Check the loss at the sizes of another role. Every problem says which role it is about."""
    report, elaborator.report = elaborator.report, Report()
    try:
        elaborator.conditions = Conditions()
        check_loss(elaborator, model, found, loss, scope, span)
        problems = elaborator.report.problems
    finally:
        elaborator.report = report
    for problem in problems:
        elaborator.add(replace(problem, labels=(*problem.labels, label)))
