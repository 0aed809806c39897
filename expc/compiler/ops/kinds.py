"""What settings may be: the kinds of value that parameters take."""

from typing import Any, Final

from expc.compiler.dimensions import Dim
from expc.compiler.ops.declare import Kind


def is_int(value: Any) -> bool:
    """A whole number, known or not; `true` is not one."""
    return isinstance(value, int | Dim) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A whole or floating-point number."""
    return is_int(value) or isinstance(value, float)


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return "" if maximum is None else f" of at most {maximum}"
    return f" of at least {minimum}" if maximum is None else f" from {minimum} to {maximum}"


def integer(minimum: int | None = None, maximum: int | None = None) -> Kind:
    """A whole number within bounds."""

    def accepts(value: Any) -> bool:
        if isinstance(value, Dim):
            return True
        return is_int(value) and (minimum is None or value >= minimum) and (maximum is None or value <= maximum)

    return Kind("a whole number" + _range(minimum, maximum), accepts)


def number(minimum: float | None = None, maximum: float | None = None) -> Kind:
    """A number within bounds."""

    def accepts(value: Any) -> bool:
        if isinstance(value, Dim):
            return True
        return is_number(value) and (minimum is None or value >= minimum) and (maximum is None or value <= maximum)

    return Kind("a number" + _range(minimum, maximum), accepts)


def above(bound: float) -> Kind:
    """A number greater than `bound`."""
    return Kind(f"a number greater than {bound}", lambda value: is_number(value) and value > bound)


def choice(*words: str) -> Kind:
    """One of a few strings."""
    return Kind("one of " + ", ".join(f'"{word}"' for word in words), lambda value: value in words, words)


def sizes(count: int | None = None, minimum: int | None = None) -> Kind:
    """One whole number, or a list of them (of `count`, where torch takes a tuple of that length)."""
    item = integer(minimum)

    def accepts(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return (count is None or len(value) == count) and all(item.accepts(part) for part in value)
        return item.accepts(value)

    of = "" if count is None else f" of {count}"
    return Kind(f"{item.words}, or a list{of} of them", accepts)


def list_of(item: Kind, count: int | None = None) -> Kind:
    """A list whose items are all of one kind."""

    def accepts(value: Any) -> bool:
        return (
            isinstance(value, list | tuple) and (count is None or len(value) == count) and all(map(item.accepts, value))
        )

    return Kind(f"a list{'' if count is None else f' of {count}'}: {item.words} each", accepts)


def either(*kinds: Kind) -> Kind:
    """Any of several kinds."""
    return Kind(", or ".join(kind.words for kind in kinds), lambda value: any(kind.accepts(value) for kind in kinds))


def optional(kind: Kind) -> Kind:
    """The kind, or `none`."""
    return Kind(f"{kind.words}, or none", lambda value: value is None or kind.accepts(value))


INT: Final = integer()
POSITIVE: Final = integer(1)
NATURAL: Final = integer(0)
FLOAT: Final = number()
PROBABILITY: Final = number(0.0, 1.0)
BOOL: Final = Kind("true or false", lambda value: isinstance(value, bool))
STR: Final = Kind("a string", lambda value: isinstance(value, str))
TENSOR: Final = Kind("a tensor", lambda _: False)
"""A tensor that flows: the checker itself matches tensors, so no other value is accepted."""
TENSOR_OR_NUMBER: Final = Kind("a tensor or a number", is_number)
TENSORS: Final = Kind("a list of tensors", lambda _: False)
DTYPE: Final = Kind("a dtype such as f32 or i64", lambda value: type(value).__name__ == "Dtype")
