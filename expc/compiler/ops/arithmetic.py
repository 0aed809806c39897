"""Functions of the elements of several tensors, which broadcast: arithmetic, comparison, choice."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.errors.shapes import DtypeMismatch
from expc.compiler.ops.arguments import (
    OPERAND,
    OTHER,
    floated,
    function,
    need_dtype,
    need_floating,
    need_same_dtype,
    operand,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import FLOAT, choice, optional
from expc.compiler.ops.rules import INPUT, refuse
from expc.compiler.types import TensorType, category, promote_number, result_dtype

Dtypes = Callable[[Call, str], str]
"""Refuses or turns the promoted dtype of the operands into the result's."""

_SELF: Final = operand("input")


def tensors(call: Call, *names: str) -> list[TensorType]:
    """The arguments that are tensors, of those named."""
    return [value for value in (call[name] for name in names) if isinstance(value, TensorType)]


def promoted(call: Call, *names: str) -> str:
    """The dtype that tensors and numbers together have, as torch promotes."""
    found = tensors(call, *names)
    dtype = result_dtype([(type_.dtype, type_.rank) for type_ in found])
    for name in names:
        if not isinstance(call[name], TensorType) and call[name] is not None:
            dtype = promote_number(dtype, call[name])
    return dtype


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, TensorType) and value.dtype == "bool")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _no_booleans(call: Call, dtype: str) -> str:
    if dtype == "bool":
        both = " and ".join(_shown(call[name]) for name in ("input", "other"))
        call.fail(DtypeMismatch, operator=str(call.operator), expected="numbers, not booleans", found=both)
    if isinstance(call["other"], int) and call["other"] == 0 and category(dtype) < 2:
        refuse(call, f"divides whole numbers ({call['input']}) by 0")
    return dtype


def subtracted(call: Call, dtype: str) -> str:
    """The dtype of a difference: torch subtracts no booleans."""
    for name in ("input", "other"):
        if _is_bool(call[name]):
            words = "numbers (torch does not subtract booleans: `logical_not` inverts a mask)"
            call.fail(DtypeMismatch, operator=str(call.operator), expected=words, found=_shown(call[name]))
    return _scaled(call, dtype)


def _scaled(call: Call, dtype: str) -> str:
    if isinstance(call.values.get("alpha"), float) and category(dtype) < 2:
        refuse(call, f"alpha={call['alpha']} must be a whole number for {dtype} tensors")
    if isinstance(call.values.get("alpha"), bool) and dtype != "bool":
        refuse(call, f"alpha must be a number for {dtype} tensors")
    return dtype


def _divided(call: Call, dtype: str) -> str:
    return floated(dtype) if call["rounding_mode"] is None else _no_booleans(call, dtype)


def _power(call: Call, dtype: str) -> str:
    base, exponent = call["input"], call["exponent"]
    if dtype == "bool" and not isinstance(exponent, bool):
        both = f"{_shown(base)} and {_shown(exponent)}"
        call.fail(DtypeMismatch, operator=str(call.operator), expected="numbers, not booleans", found=both)
    if isinstance(exponent, int) and exponent < 0 and category(dtype) < 2:
        refuse(call, f"whole numbers ({base}) to the negative power {exponent} are not whole: write {float(exponent)}")
    return dtype


def _only_floating(call: Call, dtype: str) -> str:
    if category(dtype) < 2:
        need_floating(call, *tensors(call, "input", "other"))
    return dtype


def binary(dtypes: Dtypes = lambda _, dtype: dtype, *names: str) -> ShapeRule:
    """The rule of a function of two operands, which broadcast, and of which one at least is a tensor."""
    operands = names or ("input", "other")

    def shape(call: Call) -> TensorType:
        found = tensors(call, *operands)
        if not found:
            refuse(call, "takes a tensor at least, but gets two numbers")
        dims = broadcast(call, *found)
        return TensorType(dtypes(call, promoted(call, *operands)), dims)

    return shape


def _compared(call: Call) -> TensorType:
    return TensorType("bool", broadcast(call, *tensors(call, "input", "other")))


def _where(call: Call) -> TensorType:
    condition = call.tensor("condition")
    need_dtype(call, condition, frozenset({"bool"}), "a condition of booleans")
    branches = tensors(call, "input", "other")
    dims = broadcast(call, condition, *branches)
    classes = branches[0].classes if len(branches) == 2 and branches[0].classes == branches[1].classes else None
    if branches:
        return TensorType(promoted(call, "input", "other"), dims, classes)
    numbers = (call["input"], call["other"])
    if any(isinstance(number, float) for number in numbers):
        return TensorType("f32", dims)
    return TensorType("bool" if all(isinstance(number, bool) for number in numbers) else "i64", dims)


def _clamp(call: Call) -> TensorType:
    low, high = call["min"], call["max"]
    if low is None and high is None:
        refuse(call, "needs min or max")
    bounds = tensors(call, "min", "max")
    if bounds and any(not isinstance(bound, TensorType) for bound in (low, high) if bound is not None):
        refuse(call, "takes min and max both as numbers or both as tensors")
    dims = broadcast(call, *tensors(call, "input", "min", "max"))
    return TensorType(promoted(call, "input", "min", "max"), dims)


def _masked_fill(call: Call) -> TensorType:
    x, mask, value = call.tensor(), call.tensor("mask"), call["value"]
    need_dtype(call, mask, frozenset({"bool"}), "a mask of booleans")
    if isinstance(value, TensorType) and value.rank:
        refuse(call, f"takes one number as value, but gets {value}")
    kept = isinstance(value, int) and isinstance(x.classes, int) and 0 <= value < x.classes
    return TensorType(x.dtype, broadcast(call, x, mask), x.classes if kept else None)


def _lerp(call: Call) -> TensorType:
    found = tensors(call, "input", "end", "weight")
    need_floating(call, found[0])
    need_same_dtype(call, *found)
    return TensorType(found[0].dtype, broadcast(call, *found))


def _addc(call: Call) -> TensorType:
    found = tensors(call, "input", "tensor1", "tensor2")
    dtype = result_dtype([(type_.dtype, type_.rank) for type_ in found])
    if str(call.operator) == "addcdiv":
        if category(dtype) < 2:
            need_floating(call, *found)
        if category(found[1].dtype) < 2 and category(found[2].dtype) < 2:
            need_floating(call, found[1])  # torch has given up dividing whole numbers here
    return TensorType(dtype, broadcast(call, *found))


def _operator(symbol: str) -> Callable[[Any, dict[str, Any]], Any]:
    """How Python's operator `symbol` applies to the two operands: either of them may be a number."""
    apply: dict[str, Callable[[Any, Any], Any]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "//": lambda a, b: a // b,
        "%": lambda a, b: a % b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    combine = apply[symbol]

    def build(torch: Any, values: dict[str, Any]) -> Any:
        a, b = values["input"], values["other"]
        alpha, rounding = values.get("alpha", 1), values.get("rounding_mode")
        if rounding is not None:
            return torch.div(a, b, rounding_mode=rounding)
        if isinstance(alpha, int) and alpha == 1:
            return combine(a, b)
        return (torch.add if symbol == "+" else torch.sub)(a, b, alpha=alpha)

    return build


_TWO: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}
_BOTH: Final = (_SELF, OTHER)
_ALPHA: Final = Param("alpha", FLOAT, 1, by_name=True)


def _symbolic(name: str, symbol: str, doc: str, shape: ShapeRule, *params: Param) -> Operator:
    text = f"{doc}: the operator `{symbol}`."
    return function(name, text, (*_BOTH, *params), shape, f"x -> {name}(y)", _TWO, build=_operator(symbol))


def _named(name: str, doc: str, shape: ShapeRule, other: Param = OTHER) -> Operator:
    return function(name, doc, (INPUT, other), shape, f"x -> {name}(y)", _TWO)


OPERATORS: Final = (
    _symbolic("add", "+", "The sum of two tensors, `other` times `alpha`", binary(_scaled), _ALPHA),
    _symbolic("sub", "-", "The difference of two tensors, `other` times `alpha`", binary(subtracted), _ALPHA),
    _symbolic("mul", "*", "The product of two tensors, element by element", binary()),
    _symbolic(
        "div",
        "/",
        "The quotient of two tensors",
        binary(_divided),
        Param("rounding_mode", optional(choice("trunc", "floor")), None, by_name=True),
    ),
    _symbolic("floor_divide", "//", "The quotient of two tensors, rounded down", binary(_no_booleans)),
    _symbolic("remainder", "%", "What division leaves over, with the divisor's sign", binary(_no_booleans)),
    _symbolic("eq", "==", "Where two tensors are equal", _compared),
    _symbolic("ne", "!=", "Where two tensors differ", _compared),
    _symbolic("lt", "<", "Where one tensor is less than another", _compared),
    _symbolic("le", "<=", "Where one tensor is at most another", _compared),
    _symbolic("gt", ">", "Where one tensor is greater than another", _compared),
    _symbolic("ge", ">=", "Where one tensor is at least another", _compared),
    function(
        "pow",
        "Each element to a power: the operator `**`.",
        (_SELF, operand("exponent")),
        binary(_power, "input", "exponent"),
        "x -> pow(2)",
        build=lambda _, v: v["input"] ** v["exponent"],
    ),
    _named("fmod", "What division leaves over, with the dividend's sign.", binary(_no_booleans)),
    _named("maximum", "The larger of two tensors, element by element.", binary(), tensor("other")),
    _named("minimum", "The smaller of two tensors, element by element.", binary(), tensor("other")),
    _named("atan2", "The angle of the points (other, input).", binary(lambda _, d: floated(d)), tensor("other")),
    _named("logaddexp", "log(exp(x) + exp(y)), stable.", binary(_only_floating), tensor("other")),
    _named("logical_and", "Where both are true: the operator `and`.", _compared, tensor("other")),
    _named("logical_or", "Where one is true: the operator `or`.", _compared, tensor("other")),
    _named("logical_xor", "Where exactly one is true.", _compared, tensor("other")),
    function(
        "where",
        "Elements of one tensor where a condition is true, of the other elsewhere.",
        (tensor("condition"), operand("input"), OTHER),
        _where,
        "where(x > 0, x, y)",
        _TWO,
    ),
    function(
        "clamp",
        "Each element kept within bounds.",
        (
            INPUT,
            Param("min", optional(OPERAND), None, tensor=True),
            Param("max", optional(OPERAND), None, tensor=True),
        ),
        _clamp,
        "x -> clamp(min=0.0, max=1.0)",
    ),
    function(
        "masked_fill",
        "A value where a mask is true.",
        (INPUT, tensor("mask"), operand("value")),
        _masked_fill,
        "x -> masked_fill(x < 0, 0.0)",
        home="torch.Tensor",
    ),
    function(
        "lerp",
        "input + weight * (end - input).",
        (INPUT, tensor("end"), operand("weight")),
        _lerp,
        "x -> lerp(y, 0.5)",
        _TWO,
    ),
    *(
        function(
            name,
            doc,
            (INPUT, tensor("tensor1"), tensor("tensor2"), Param("value", FLOAT, 1, by_name=True)),
            _addc,
            f"x -> {name}(y, y)",
            _TWO,
        )
        for name, doc in (
            ("addcmul", "input + value * tensor1 * tensor2."),
            ("addcdiv", "input + value * tensor1 / tensor2."),
        )
    ),
)
