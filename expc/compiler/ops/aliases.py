"""Functions that torch has under a second name."""

from dataclasses import replace
from typing import Final

from expc.compiler.ops import arithmetic, joining, pointwise, products, reshaping, statistics
from expc.compiler.ops.declare import Operator

SAME: Final = {
    # the second name: the first
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "clip": "clamp",
    "divide": "div",
    "fix": "trunc",
    "ger": "outer",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "moveaxis": "movedim",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "row_stack": "vstack",
    "subtract": "sub",
    "swapdims": "transpose",
    "trapz": "trapezoid",
}


def _again(operator: Operator, name: str) -> Operator:
    example = operator.example.replace(operator.name, name)
    return replace(operator, name=name, doc=f"The same as {operator.name}.", example=example)


_FAMILIES: Final = (arithmetic, joining, pointwise, products, reshaping, statistics)
_ORIGINALS: Final[dict[str, Operator]] = {op.name: op for family in _FAMILIES for op in family.OPERATORS}
OPERATORS: Final = tuple(_again(_ORIGINALS[original], name) for name, original in SAME.items())
