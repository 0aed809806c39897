"""Functions that torch has under a second name."""

from dataclasses import replace
from typing import Final

from expc.compiler.ops import arithmetic, joining, neighbours, pointwise, products, reshaping, statistics
from expc.compiler.ops.arguments import dim
from expc.compiler.ops.declare import Call, Operator
from expc.compiler.ops.rules import INPUT
from expc.compiler.types import TensorType

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


_FAMILIES: Final = (arithmetic, joining, neighbours, pointwise, products, reshaping, statistics)
_ORIGINALS: Final[dict[str, Operator]] = {op.name: op for family in _FAMILIES for op in family.OPERATORS}


def _true_divide(call: Call) -> TensorType:
    call.values["rounding_mode"] = None
    result: TensorType = _ORIGINALS["div"].shape(call)
    return result


def _swapaxes(call: Call) -> TensorType:
    call.values.update(dim0=call["axis0"], dim1=call["axis1"])
    result: TensorType = _ORIGINALS["transpose"].shape(call)
    return result


OPERATORS: Final = (
    *(_again(_ORIGINALS[original], name) for name, original in SAME.items()),
    replace(
        _again(_ORIGINALS["transpose"], "swapaxes"),
        arguments=(INPUT, dim(name="axis0"), dim(name="axis1")),
        shape=_swapaxes,
    ),
    replace(_again(_ORIGINALS["div"], "true_divide"), arguments=_ORIGINALS["div"].arguments[:2], shape=_true_divide),
)
