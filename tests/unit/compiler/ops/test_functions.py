"""Every function of the table against torch: the same calls are taken, with the same dtypes and shapes."""

import random

import function_cases
import functional_cases
import pytest
from against_torch import Outcome, Values, checked, loosely_checked, loosened, ran
from function_parts import t

from expc.compiler.ops.declare import Operator
from expc.compiler.ops.table import operators

CASES = {**function_cases.PARTS, **functional_cases.PARTS}
OPERATORS: dict[str, Operator] = {**function_cases.OPERATORS, **functional_cases.OPERATORS}

SELDOM_LOOSE = {"squeeze", "unbind", "split"}
"""How many tensors or dimensions come out must be known."""


def values_of(name: str, r: random.Random) -> Values:
    return CASES[name](r) if name in CASES else {"input": t(r)}


def is_empty(outcome: Outcome) -> bool:
    """Whether torch gives a tensor without elements, or no tensor, which the language refuses."""
    if not outcome or isinstance(outcome[0], str):
        return outcome is not None and (not outcome or 0 in outcome[1])
    return any(map(is_empty, outcome))


@pytest.mark.parametrize("name", OPERATORS)
def test_rule_agrees_with_torch(name: str) -> None:
    operator, r = OPERATORS[name], random.Random(name)
    taken = loose_taken = 0
    for round_ in range(120):
        values = values_of(name, r)
        expected = ran(operator, values, round_)
        got = checked(operator, values)
        assert got == expected or (got is None and is_empty(expected)), f"{name}({values})"
        loose, sizes = loosened(values, r)
        found = loosely_checked(operator, loose, sizes)
        assert found is None or found == expected, f"{name}({loose}) at {sizes}"
        taken += expected is not None
        loose_taken += found is not None
    assert taken >= 10, f"{name}: the test gives torch nothing that it takes"
    assert loose_taken >= taken * (0.15 if name in SELDOM_LOOSE else 0.5), f"{name} refuses unknown sizes"


def test_each_function_is_tried() -> None:
    functions = {name for name, operator in operators().items() if operator.kind == "function"}
    losses = {name for name in functions if name.endswith(("_loss", "_entropy", "_with_logits", "kl_div"))}
    assert functions == OPERATORS.keys() | losses | {"rearrange", "einsum"}
