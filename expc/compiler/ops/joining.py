"""Functions that join a list of tensors into one."""

from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import RankMismatch
from expc.compiler.ops.arguments import LIST, dim, function
from expc.compiler.ops.declare import Call, Operator
from expc.compiler.ops.rules import axis, refuse
from expc.compiler.types import TensorType, result_dtype


def _tensors(call: Call) -> list[TensorType]:
    found = list(call["tensors"])
    if not found:
        refuse(call, "takes at least one tensor in its list")
    return found


def _merged(found: list[TensorType], dims: tuple[Size, ...]) -> TensorType:
    """The promoted dtype; indices stay indices where all are below the same bound."""
    classes = found[0].classes if all(type_.classes == found[0].classes for type_ in found) else None
    return TensorType(result_dtype([(type_.dtype, type_.rank) for type_ in found]), dims, classes)


def _same_rank(call: Call, found: list[TensorType]) -> None:
    first = found[0]
    for other in found[1:]:
        if other.rank != first.rank:
            expected = f"tensors of equally many dimensions ({first.rank}, as {first})"
            call.fail(RankMismatch, operator=str(call.operator), expected=expected, found=str(other))


def _joined(call: Call, found: list[TensorType], at: int) -> TensorType:
    """The tensors one after the other along dimension `at`; the other dimensions must agree."""
    _same_rank(call, found)
    first = found[0]
    total: Size = first.dims[at]
    for number, other in enumerate(found[1:], start=2):
        for other_at, (a, b) in enumerate(zip(first.dims, other.dims, strict=True)):
            if other_at != at:
                call.require_equal(a, b, f"dimension {other_at} of tensor {number}")
        total = total + other.dims[at]
    if len(found) > 1:
        call.explain(f"dimension {at}: {' + '.join(str(type_.dims[at]) for type_ in found)} = {total}")
    return _merged(found, (*first.dims[:at], total, *first.dims[at + 1 :]))


def _cat(call: Call) -> TensorType:
    found = _tensors(call)
    if any(type_.rank == 0 for type_ in found):
        refuse(call, "scalars have no dimension to join along: write stack")
    return _joined(call, found, axis(call, call["dim"], found[0].rank))


def _stack(call: Call) -> TensorType:
    found = _tensors(call)
    _same_rank(call, found)
    first = found[0]
    at = axis(call, call["dim"], first.rank + 1)
    for number, other in enumerate(found[1:], start=2):
        for other_at, (a, b) in enumerate(zip(first.dims, other.dims, strict=True)):
            call.require_equal(a, b, f"dimension {other_at} of tensor {number}")
    return _merged(found, (*first.dims[:at], len(found), *first.dims[at:]))


def _at_least(type_: TensorType, rank: int) -> TensorType:
    return replace(type_, dims=(1,) * (rank - type_.rank) + type_.dims)


def _hstack(call: Call) -> TensorType:
    found = [_at_least(type_, 1) for type_ in _tensors(call)]
    return _joined(call, found, 0 if found[0].rank == 1 else 1)


def _vstack(call: Call) -> TensorType:
    return _joined(call, [_at_least(type_, 2) for type_ in _tensors(call)], 0)


_TWO: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}


def _list(name: str, doc: str, shape: Any, *, along: bool = True) -> Operator:
    params = (LIST, dim(0)) if along else (LIST,)
    return function(name, doc, params, shape, f"{name}([x, y]{', dim=1' if along else ''})", _TWO)


OPERATORS: Final = (
    _list("cat", "Tensors one after the other along a dimension that they have.", _cat),
    _list("concat", "The same as cat.", _cat),
    _list("concatenate", "The same as cat.", _cat),
    _list("stack", "Tensors of one shape, one after the other along a new dimension.", _stack),
    _list("hstack", "Tensors side by side: along dimension 1, or 0 for lists of numbers.", _hstack, along=False),
    _list("vstack", "Tensors one above the other: along dimension 0.", _vstack, along=False),
)
