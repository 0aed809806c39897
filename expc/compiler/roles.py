"""The roles among each other: what the model is measured on must come as what it learns from."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from expc.compiler.check_loss import Outcome, check_loss
from expc.compiler.elaborate import Elaborator
from expc.compiler.errors.data import RoleField
from expc.compiler.graph import Model
from expc.compiler.program import DataPlan
from expc.compiler.requirements import Conditions
from expc.compiler.scope import Scope
from expc.diagnostics import Label, Report, Span

MEASURED = ("val", "test")
"""The roles that the loss and the metrics are measured on."""


def check_roles(
    elaborator: Elaborator,
    model: Model,
    plans: Mapping[str, DataPlan],
    outcomes: Mapping[str, Outcome],
    mentioned: Collection[str],
    loss: Any,
    scope: Scope,
    span: Span,
) -> None:
    """Report fields that `train` learns with, and that another role gives in another way or not at all.

    `mentioned` are the names in the `train` section. Where only sizes differ, the loss is checked at these too.
    """
    learnt = outcomes.get("train")
    if learnt is None or elaborator.report.has_errors:
        return
    fed = set(learnt.inputs.values())
    needed = [name for name in learnt.fields if name == learnt.target or name in mentioned or name in fed]
    for role in MEASURED:
        if role not in outcomes or any(_differs(role, name, plans, outcomes, elaborator) for name in needed):
            continue
        found = outcomes[role]
        if loss is not None and (found.fields != learnt.fields or found.outputs != learnt.outputs):
            _measure(elaborator, model, found, loss, scope, span, Label(plans[role].span, f"as `{role}` gives it"))


def _differs(
    role: str, name: str, plans: Mapping[str, DataPlan], outcomes: Mapping[str, Outcome], elaborator: Elaborator
) -> bool:
    """Whether a field that is needed comes in another way, which is reported."""
    expected, given = outcomes["train"].fields[name], outcomes[role].fields.get(name)
    if given is not None and name in outcomes["train"].inputs.values():
        return False  # held against the model already
    same = given is not None and (given.dtype, given.rank) == (expected.dtype, expected.rank)
    if given is not None and same and given.classes == expected.classes:
        return False
    found = "has no such field" if given is None else f"gives {given}"
    label = Label(plans["train"].span, f"`train` gives {expected}")
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
