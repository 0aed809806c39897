"""The arguments that many functions share, and how type rules read them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Dim, Size, divides, exact_quotient
from expc.compiler.errors.shapes import DtypeMismatch, RankMismatch
from expc.compiler.ops.declare import REQUIRED, Call, Kind, Operator, Param
from expc.compiler.ops.kinds import BOOL, DTYPE, TENSOR, TENSORS, is_number, optional
from expc.compiler.ops.rules import axis, refuse
from expc.compiler.types import FLOATING, TensorType, category


def _is_axis(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


AXIS: Final = Kind("a dimension as a whole number", _is_axis)
AXES: Final = Kind(
    "a dimension, or a list of them",
    lambda value: _is_axis(value) or (isinstance(value, list | tuple) and all(map(_is_axis, value))),
)


OPERAND: Final = Kind("a tensor or a number", lambda value: is_number(value) or isinstance(value, bool))


def tensor(name: str = "input", kind: Kind = TENSOR) -> Param:
    """A tensor argument that a call must have, or the flow gives."""
    return Param(name, kind, tensor=True)


def operand(name: str) -> Param:
    """A tensor, or a number in its place."""
    return Param(name, OPERAND, tensor=True)


def optional_tensor(name: str, *, by_name: bool = False) -> Param:
    """A tensor argument that may be absent."""
    return Param(name, optional(TENSOR), None, tensor=True, by_name=by_name)


def dim(default: Any = REQUIRED, name: str = "dim") -> Param:
    """One dimension of the input, counted from 0, or from the end with -1."""
    if default is None:
        return Param(name, optional(AXIS), None)
    return Param(name, AXIS, default)


def dims(default: Any = None, name: str = "dim") -> Param:
    """One or several dimensions; none for all of them."""
    return Param(name, optional(AXES) if default is None else AXES, default)


OTHER: Final = operand("other")
LIST: Final = Param("tensors", TENSORS, tensor=True)
KEEPDIM: Final = Param("keepdim", BOOL, False)
DTYPE_BY_NAME: Final = Param("dtype", optional(DTYPE), None, by_name=True)


def function(
    name: str,
    doc: str,
    arguments: Sequence[Param],
    shape: Callable[[Call], Any],
    example: str | None = None,
    inputs: dict[str, str] | None = None,
    **more: Any,
) -> Operator:
    """A function of `torch`, or of the `home` given: all its parameters are arguments."""
    return Operator(
        name=name,
        kind="function",
        doc=doc,
        settings=(),
        arguments=tuple(arguments),
        shape=shape,
        example=f"x -> {name}" if example is None else example,
        example_inputs={"x": "f32[N, 8]"} if inputs is None else inputs,
        **{"home": "torch", **more},
    )


# ------------------------------------------------------------------------------------------------ reading


def axes(call: Call, value: int | Sequence[int] | None, rank: int, name: str = "dim") -> tuple[int, ...]:
    """Several dimensions, counted from 0, in the order given; all of them for `none`."""
    if value is None:
        return tuple(range(rank))
    found = tuple(axis(call, item, rank, name) for item in listed(value))
    if len(set(found)) < len(found):
        refuse(call, f"{name}={list(listed(value))} names a dimension twice")
    return found


def listed(value: Any) -> tuple[Any, ...]:
    """A list of values, or the one value as a list."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def need_rank(call: Call, type_: TensorType, ranks: Sequence[int], expected: str) -> None:
    """Refuse a tensor of another number of dimensions; `expected` says in words what is taken."""
    if type_.rank not in ranks:
        call.fail(RankMismatch, operator=str(call.operator), expected=expected, found=str(type_))


def need_dtype(call: Call, type_: TensorType, allowed: frozenset[str], expected: str) -> None:
    """Refuse a tensor of another dtype; `expected` says in words what is taken."""
    if type_.dtype not in allowed:
        call.fail(DtypeMismatch, operator=str(call.operator), expected=expected, found=str(type_))


def need_floating(call: Call, *types: TensorType) -> None:
    """Refuse anything but floating-point tensors."""
    for type_ in types:
        need_dtype(call, type_, FLOATING, "floating-point tensors")


def need_same_dtype(call: Call, *types: TensorType) -> None:
    """Refuse tensors of different dtypes where torch does not promote."""
    for type_ in types[1:]:
        need_dtype(call, type_, frozenset({types[0].dtype}), f"tensors of one dtype, here {types[0].dtype}")


def need_index(call: Call, type_: TensorType) -> None:
    """Refuse anything but the whole numbers that torch indexes with."""
    need_dtype(call, type_, frozenset({"i64", "i32"}), "indices (i64 or i32)")


def floated(dtype: str) -> str:
    """The dtype of a function that is computed in floating point: whole numbers become f32."""
    return dtype if category(dtype) == 2 else "f32"


def summed(dtype: str) -> str:
    """The dtype of a sum: whole numbers and booleans are added up in i64."""
    return dtype if category(dtype) == 2 else "i64"


def dtype_or(call: Call, otherwise: str, name: str = "dtype") -> str:
    """The dtype that the call asks for, else `otherwise`."""
    asked = call[name]
    return otherwise if asked is None else str(asked.name)


def whole_quotient(call: Call, size: Size, divisor: Size, what: str) -> Size:
    """`size / divisor`, which must leave no remainder; `what` names the size in the message."""
    if isinstance(divisor, int) and divisor and divides(divisor, size):
        return exact_quotient(size, divisor)
    call.require_divisible(size, divisor, what)
    if isinstance(divisor, int):
        return size // divisor if divisor else 0
    return exact_quotient(size, divisor)


def is_size(value: Any) -> bool:
    """A whole number that may be a size, known or not."""
    return isinstance(value, int | Dim) and not isinstance(value, bool)


def without_classes(type_: TensorType) -> TensorType:
    """The same numbers, no longer known to be indices below a bound."""
    return replace(type_, classes=None)
