"""Compile-time operations on numbers, strings and lists, as docs/language.md says them."""

import math
import operator
from typing import Any

from oracle.errors import FAILURES, LanguageRefused

MOST = 100_000


class Unknown(int):
    """A size that nothing fixes, at the value that it has in this run: it goes with whole numbers only."""


def is_number(value: Any) -> bool:
    """A number; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def refuse(message: str) -> LanguageRefused:
    """A value that does not exist."""
    return LanguageRefused("arithmetic", message)


_PLAIN = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def equal(a: Any, b: Any) -> bool:
    """`==` of the language: a boolean is no number."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


def operate(sign: str, a: Any, b: Any) -> Any:
    """`a sign b`."""
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        if isinstance(a, float) or isinstance(b, float):
            raise refuse("an unknown size and a fraction")
        result = _operate(sign, a, b)
        return Unknown(result) if is_number(result) and isinstance(result, int) else result
    return _operate(sign, a, b)


def _operate(sign: str, a: Any, b: Any) -> Any:
    if sign in ("==", "!="):
        return equal(a, b) == (sign == "==")
    if sign == "+" and isinstance(a, tuple) and isinstance(b, tuple):
        return a + b
    if isinstance(a, str) and isinstance(b, str) and sign in ("+", *_COMPARE):
        return a + b if sign == "+" else _COMPARE[sign](a, b)
    if not (is_number(a) and is_number(b)):
        raise refuse(f"{a!r} {sign} {b!r}")
    if sign in _COMPARE:
        return _COMPARE[sign](a, b)
    if sign == "@":
        raise refuse("@ of numbers")
    try:
        if sign == "/":
            if isinstance(a, int) and isinstance(b, int):
                if b == 0 or a % b:
                    raise refuse(f"{a} / {b} is not exact")
                return a // b
            return a / b
        if sign == "**" and isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > 128:
            raise refuse("too large")
        result = _PLAIN[sign](a, b)
    except (ZeroDivisionError, OverflowError) as error:
        raise refuse(str(error)) from None
    if isinstance(result, complex) or (isinstance(result, int) and abs(result) > 2**63 - 1):
        raise refuse("no size")
    return result


def call(name: str, values: tuple[Any, ...]) -> Any:
    """A function at compile time."""
    try:
        return _FUNCTIONS[name](*values)
    except LanguageRefused:
        raise
    except FAILURES as error:
        raise refuse(f"{name}: {error}") from None


def _range(*bounds: Any) -> tuple[int, ...]:
    if not all(is_number(bound) and isinstance(bound, int) for bound in bounds):
        raise refuse("range of what is no whole number")
    if len(range(*bounds)) > MOST:
        raise refuse("too long")
    return tuple(range(*bounds))


def _items(values: tuple[Any, ...]) -> tuple[Any, ...]:
    items = values[0] if len(values) == 1 else values
    if not isinstance(items, tuple) or not items or not all(map(is_number, items)):
        raise refuse("takes numbers")
    return items


def _list(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise refuse("takes a list")
    return value


def _one(function: Any) -> Any:
    def apply(value: Any) -> Any:
        if not is_number(value):
            raise refuse("takes a number")
        return function(value)

    return apply


def _round(value: Any, digits: Any = None) -> Any:
    if not is_number(value):
        raise refuse("takes a number")
    return round(value) if digits is None else round(value, digits)


def _len(value: Any) -> int:
    if not isinstance(value, tuple | str):
        raise refuse("len of what has none")
    return len(value)


_FUNCTIONS: dict[str, Any] = {
    "range": _range,
    "enumerate": lambda items: tuple(enumerate(_list(items))),
    "zip": lambda *lists: tuple(zip(*map(_list, lists), strict=True)),
    "len": _len,
    "sum": lambda *values: sum(_list(values[0]) if len(values) == 1 else values),
    "min": lambda *values: min(_items(values)),
    "max": lambda *values: max(_items(values)),
    "abs": _one(abs),
    "round": _round,
    "ceil": _one(math.ceil),
    "floor": _one(math.floor),
    "sqrt": _one(math.sqrt),
    "log": _one(math.log),
    "exp": _one(math.exp),
    "cos": _one(math.cos),
}
BUILTINS = frozenset(_FUNCTIONS)
