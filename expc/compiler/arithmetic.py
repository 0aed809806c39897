"""Operators of the language on values at compile time: numbers, sizes, strings, lists, booleans."""

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, Final, TypeVar

from expc.compiler.dimensions import (
    Dim,
    Size,
    UnwieldySizeError,
    divides,
    exact_quotient,
    greatest,
    least,
    maximum,
    minimum,
)
from expc.spec.values import UNEVALUATED, show

LARGEST: Final = 2**63 - 1
"""Sizes and other whole numbers fit torch's 64 bits."""

MOST_ITEMS: Final = 100_000
"""The longest list, with the lists in it, or text, that a compile-time expression may make."""

Items = TypeVar("Items", bound=Sized)


DEEPEST: Final = 40
"""How many lists may stand in each other."""

_UNITS: Final = {"text": "characters", "list": "items"}


class ArithmeticRefusedError(Exception):
    """An operation has no value; the text says why."""


class UndecidedError(ArithmeticRefusedError):
    """The answer depends on an unknown size."""


class InexactDivisionError(Exception):
    """`/` on an unknown size: right only where `divisor` divides `size`; `quotient` is the result there."""

    def __init__(self, size: Size, divisor: Size, quotient: Size) -> None:
        super().__init__()
        self.size, self.divisor, self.quotient = size, divisor, quotient


def is_size(value: Any) -> bool:
    """A whole number, known or not."""
    return isinstance(value, int | Dim) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A number, known or not."""
    return is_size(value) or isinstance(value, float)


def compare(operator: str, a: Any, b: Any) -> bool:
    """`a operator b` for `== != < <= > >=`. Raises `UndecidedError` where an unknown size leaves it open."""
    _refuse_fractions(a, b)
    if operator in ("==", "!="):
        return _equal(a, b) == (operator == "==")
    if not (is_number(a) and is_number(b)):
        if isinstance(a, str) and isinstance(b, str):
            return _ORDER[operator](a, b)
        raise ArithmeticRefusedError(f"{show(a)} and {show(b)} cannot be ordered")
    if isinstance(a, Dim) or isinstance(b, Dim):
        return _ordered(operator, a, b)
    return _ORDER[operator](a, b)


def _refuse_fractions(a: Any, b: Any) -> None:
    """An unknown size goes with whole numbers only."""
    for size, other in ((a, b), (b, a)):
        if isinstance(size, Dim) and isinstance(other, float):
            raise UndecidedError(f"{size} is an unknown size, which goes with whole numbers, not with {other}")


def binary(operator: str, a: Any, b: Any) -> Any:
    """`a operator b` for the arithmetic operators."""
    if operator == "+" and isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return bounded((*a, *b))
    if operator == "+" and isinstance(a, str) and isinstance(b, str):
        return bounded(a + b)
    if not (is_number(a) and is_number(b)):
        raise ArithmeticRefusedError(f"`{operator}` does not work on {describe(a)} and {describe(b)}")
    _refuse_fractions(a, b)
    try:
        result = _arithmetic(operator, a, b)
    except ZeroDivisionError:
        raise ArithmeticRefusedError(f"{a} {operator} {b} divides by zero") from None
    except UnwieldySizeError as error:
        raise ArithmeticRefusedError(str(error)) from None
    except OverflowError:
        raise ArithmeticRefusedError(f"{a} {operator} {b} is too large for a number") from None
    if isinstance(result, int) and abs(result) > LARGEST:
        raise ArithmeticRefusedError(f"{_short(a)} {operator} {_short(b)} is larger than any size can be (2 ** 63 - 1)")
    if isinstance(result, complex):
        raise ArithmeticRefusedError(f"{a} {operator} {b} is not a real number")
    return result


def bounded(items: Items) -> Items:
    """A list or a text itself. Raises where it is too long, everything in it counted."""
    count = 0
    waiting: list[tuple[Any, int]] = [(items, 0)]
    while waiting:
        inner, depth = waiting.pop()
        count += len(inner)
        if depth > DEEPEST:
            raise ArithmeticRefusedError(f"more than {DEEPEST} lists stand in each other")
        if count > MOST_ITEMS:
            what = "text" if isinstance(items, str) else "list"
            raise ArithmeticRefusedError(f"this {what} is too long: at most {MOST_ITEMS:,} {_UNITS[what]}")
        if isinstance(inner, list | tuple):
            waiting += [(item, depth + 1) for item in inner if isinstance(item, list | tuple)]
    return items


def negate(value: Any) -> Any:
    """`-value`."""
    if not is_number(value):
        raise ArithmeticRefusedError(f"`-` does not work on {describe(value)}")
    return -value


def describe(value: Any) -> str:
    """A value in words, for messages."""
    if value is None or isinstance(value, bool):
        return show(value)
    if isinstance(value, str):
        return f"the string {show(value)}"
    if isinstance(value, list | tuple):
        return f"the list {show(value)}"
    return show(value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:8]}..."


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Dim) or isinstance(b, Dim):
        if not (is_number(a) and is_number(b)):
            return False
        if a == b:
            return True
        difference = a - b
        low, high = least(difference), greatest(difference)
        if isinstance(difference, int) or (low is not None and low > 0) or (high is not None and high < 0):
            return False
        raise UndecidedError(f"whether {a} equals {b} depends on sizes that are not known here")
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _ordered(operator: str, a: Size, b: Size) -> bool:
    difference = a - b
    low, high = least(difference), greatest(difference)
    if operator in (">", "<="):
        if low is not None and low > 0:
            return operator == ">"
        if high is not None and high <= 0:
            return operator == "<="
    else:
        if low is not None and low >= 0:
            return operator == ">="
        if high is not None and high < 0:
            return operator == "<"
    raise UndecidedError(f"whether {a} {operator} {b} depends on sizes that are not known here")


def _arithmetic(operator: str, a: Any, b: Any) -> Any:
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return _divide(a, b)
        case "//":
            return a // b
        case "%":
            return a % b
        case "**":
            return _power(a, b)
    raise ArithmeticRefusedError(f"`{operator}` works on tensors only")


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    if isinstance(a, Dim) or isinstance(b, Dim):
        quotient = exact_quotient(a, b)
        if not divides(b, a):
            raise InexactDivisionError(a, b, quotient)
        return quotient
    if b == 0:
        raise ZeroDivisionError
    if a % b:
        raise ArithmeticRefusedError(
            f"{a} / {b} leaves a remainder of {a % b}: `/` on whole numbers is exact; `//` rounds down, "
            f"`{a}.0 / {b}` gives a fraction"
        )
    return a // b


def _power(a: Any, b: Any) -> Any:
    if isinstance(b, Dim):
        raise ArithmeticRefusedError("an exponent must be known")
    if isinstance(a, Dim):
        if isinstance(b, float) or b < 0 or b > 64:
            raise ArithmeticRefusedError(f"an unknown size to the power {b} is not a size")
        return a**b
    if isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > 128:
        raise ArithmeticRefusedError(f"{_short(a)} ** {_short(b)} is larger than any size can be (2 ** 63 - 1)")
    return a**b


# ---------------------------------------------------------------------------------------------------- functions


def _range(*bounds: Any) -> tuple[int, ...]:
    if not 1 <= len(bounds) <= 3 or not all(isinstance(bound, int) for bound in bounds):
        raise ArithmeticRefusedError("`range` takes one to three whole numbers")
    if len(bounds) == 3 and bounds[2] == 0:
        raise ArithmeticRefusedError("`range` cannot step by 0")
    return tuple(bounded(range(*bounds)))


def _items(values: tuple[Any, ...], name: str) -> Iterable[Any]:
    items = values[0] if len(values) == 1 else values
    if not isinstance(items, list | tuple) or not items:
        raise ArithmeticRefusedError(f"`{name}` takes numbers, or one list of them that is not empty")
    if not all(is_number(item) for item in items):
        raise ArithmeticRefusedError(f"`{name}` takes numbers")
    return items


def _largest(*values: Any) -> Any:
    first, *rest = _items(values, "max")
    for value in rest:
        first = maximum(first, value) if is_size(first) and is_size(value) else max(first, value)
    return first


def _smallest(*values: Any) -> Any:
    first, *rest = _items(values, "min")
    for value in rest:
        first = minimum(first, value) if is_size(first) and is_size(value) else min(first, value)
    return first


def _sum(values: Any) -> Any:
    total: Any = 0
    for value in values if isinstance(values, list | tuple) else (values,):
        total = binary("+", total, value)
    return total


def _length(value: Any) -> int:
    if not isinstance(value, list | tuple | str):
        raise ArithmeticRefusedError(f"`len` does not work on {describe(value)}")
    return len(value)


def _numeric(function: Callable[[float], Any], name: str) -> Callable[..., Any]:
    def apply(value: Any) -> Any:
        if isinstance(value, Dim):
            if name in ("ceil", "floor", "round", "abs"):
                return value
            raise UndecidedError(f"`{name}` of an unknown size is not known")
        if not is_number(value):
            raise ArithmeticRefusedError(f"`{name}` does not work on {describe(value)}")
        try:
            return function(value)
        except (ValueError, OverflowError) as error:
            raise ArithmeticRefusedError(f"{name}({value}) has no value: {error}") from None

    return apply


def _lists(function: Callable[..., Iterable[Any]], name: str) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        if not values or not all(isinstance(value, list | tuple) for value in values):
            raise ArithmeticRefusedError(f"`{name}` takes lists")
        return tuple(function(*values))

    return apply


BUILTINS: Final[Mapping[str, Callable[..., Any]]] = {
    "range": _range,
    "enumerate": _lists(enumerate, "enumerate"),
    "zip": _lists(lambda *values: zip(*values, strict=False), "zip"),
    "len": _length,
    "sum": _sum,
    "min": _smallest,
    "max": _largest,
    "abs": _numeric(abs, "abs"),
    "round": _numeric(round, "round"),
    "ceil": _numeric(math.ceil, "ceil"),
    "floor": _numeric(math.floor, "floor"),
    "sqrt": _numeric(math.sqrt, "sqrt"),
    "log": _numeric(math.log, "log"),
    "exp": _numeric(math.exp, "exp"),
    "cos": _numeric(math.cos, "cos"),
}
"""Functions at compile time. `pi` is a number beside them."""


def call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Apply a compile-time function. Raises `ArithmeticRefusedError`."""
    if any(argument is UNEVALUATED for argument in arguments):
        return UNEVALUATED
    try:
        return BUILTINS[name](*arguments)
    except TypeError:
        raise ArithmeticRefusedError(f"`{name}` does not take {len(arguments)} arguments") from None
