"""Arithmetic, comparison and indexing of tensors, written with the operators of the language."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from expc.compiler.arithmetic import describe, is_number, is_size
from expc.compiler.dimensions import Size, least, maximum
from expc.compiler.errors.names import BadExpression
from expc.compiler.errors.shapes import BroadcastMismatch, DtypeMismatch, RankMismatch
from expc.compiler.errors.stages import NotAStage
from expc.compiler.graph import SliceOf, Source, Subscript, Value
from expc.compiler.model import operators
from expc.compiler.model.scope import Context
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import ProblemError
from expc.spec import syntax
from expc.spec.values import UNEVALUATED, Given

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator

FUNCTIONS: Final = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floor_divide",
    "%": "remainder",
    "**": "pow",
    "@": "matmul",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
}
"""The function of torch behind each operator of the language."""


def binary(elaborator: "Elaborator", node: syntax.Binary, left: Any, right: Any, context: Context) -> Any:
    """`left operator right`, at least one of them a tensor. Raises `ProblemError`."""
    if left is UNEVALUATED or right is UNEVALUATED:
        return elaborator.unknown(node.span)
    for value, part in ((left, node.left), (right, node.right)):
        if not isinstance(value, Value) and not is_number(value) and not isinstance(value, bool):
            other = "a tuple" if isinstance(value, tuple) else describe(value)
            reason = f"`{node.operator}` does not work on a tensor and {other}"
            raise ProblemError(BadExpression(span=part.span, reason=reason))
    operator = elaborator.library.operators[FUNCTIONS[node.operator]]
    given = (Given(None, left, node.left.span), Given(None, right, node.right.span))
    try:
        return operators.apply(elaborator, operator, given, context, node.span, None)
    except ProblemError as error:
        if not isinstance(error.problem, BroadcastMismatch | DtypeMismatch):
            raise
        raise ProblemError(replace(error.problem, operator=node.operator)) from None


def negate(elaborator: "Elaborator", node: syntax.Unary, value: Value, context: Context) -> Any:
    """`-tensor`."""
    operator = elaborator.library.operators["neg"]
    return operators.apply(elaborator, operator, (Given(None, value, node.operand.span),), context, node.span, None)


def subscript(elaborator: "Elaborator", node: syntax.Index, value: Value, context: Context) -> Any:
    """`x[:, 0]` as PyTorch indexes: slices, numbers, `none`, `...`, tensors of whole numbers. Raises `ProblemError`."""
    items = tuple(_item(elaborator, item, context) for item in node.items)
    if not is_known(value.type) or any(_is_unknown(elaborator, item) for item in items):
        return elaborator.unknown(node.span)
    type_ = _Indexing(elaborator, node, value.type, items).type()
    inputs = (value, *(item for item in items if isinstance(item, Value)))
    result = Value(type_, node.span, None, Source(node.span.text, inputs))
    context.body.steps.append(Subscript(value, items, result, node.span))
    return result


def _item(elaborator: "Elaborator", node: syntax.Expr, context: Context) -> Any:
    if isinstance(node, syntax.Name) and node.id == "...":
        return Ellipsis
    if isinstance(node, syntax.Slice):
        parts = (node.start, node.stop, node.step)
        return SliceOf(*(None if part is None else elaborator.evaluate(part, context.setting()) for part in parts))
    value = elaborator.evaluate(node, context.setting())
    return elaborator.wanted(value, context, node.span) if elaborator.is_stage(value) else value


def _is_unknown(elaborator: "Elaborator", item: Any) -> bool:
    if isinstance(item, SliceOf):
        return any(part is UNEVALUATED for part in (item.start, item.stop, item.step))
    return elaborator.is_unknown(item)


class _Indexing:
    """The type of one indexing expression."""

    def __init__(self, elaborator: "Elaborator", node: syntax.Index, type_: TensorType, items: tuple[Any, ...]) -> None:
        self.elaborator, self.node, self.input, self.items = elaborator, node, type_, items

    def type(self) -> TensorType:
        used = sum(item is not None and item is not Ellipsis for item in self.items)
        if used > self.input.rank:
            expected = f"at most {self.input.rank} indices here"
            raise ProblemError(
                RankMismatch(span=self.node.span, operator="[]", expected=expected, found=f"{used} for {self.input}")
            )
        if sum(item is Ellipsis for item in self.items) > 1:
            raise ProblemError(BadExpression(span=self.node.span, reason="an index has at most one `...`"))
        spare = self.input.rank - used
        items = self.items if Ellipsis in self.items else (*self.items, Ellipsis)
        dims: list[Size] = []
        gathered: list[tuple[int, TensorType]] = []
        axis = 0
        for item, place in zip(items, (*self.node.items, self.node), strict=False):
            if item is Ellipsis:
                dims += self.input.dims[axis : axis + spare]
                axis += spare
            elif item is None:
                dims.append(1)
            elif isinstance(item, Value):
                gathered.append((len(dims), self.index_type(item, self.input.dims[axis], place)))
                axis += 1
            elif isinstance(item, SliceOf):
                dims.append(self.slice(item, self.input.dims[axis], place))
                axis += 1
            else:
                self.number(item, self.input.dims[axis], place)
                axis += 1
        if gathered:
            self.gather(dims, gathered, items)
        return TensorType(self.input.dtype, tuple(dims), self.input.classes)

    def number(self, item: Any, size: Size, place: syntax.Node) -> None:
        if isinstance(item, bool) or not is_size(item):
            reason = "an index is a whole number, a slice, `none`, `...` or a tensor"
            raise ProblemError(NotAStage(span=place.span, what=describe(item), reason=reason))
        needed = -item if isinstance(item, int) and item < 0 else item + 1
        self.require(("at least", size, needed, f"a dimension indexed by {item}"), place)

    def slice(self, item: SliceOf, size: Size, place: syntax.Node) -> Size:
        start, stop, step = item.start, item.stop, 1 if item.step is None else item.step
        for part in (start, stop, step):
            if part is not None and (isinstance(part, bool) or not is_size(part)):
                reason = f"a slice takes whole numbers, not {describe(part)}"
                raise ProblemError(BadExpression(span=place.span, reason=reason))
        if not isinstance(step, int) or step < 1:
            reason = "torch slices forwards only: a step is at least 1"
            raise ProblemError(BadExpression(span=place.span, reason=reason))
        if isinstance(size, int) and all(part is None or isinstance(part, int) for part in (start, stop)):
            return len(range(size)[slice(start, stop, step)])
        low = self.bound(0 if start is None else start, size, place)
        high = self.bound(size if stop is None else stop, size, place)
        return (maximum(high - low, 0) + step - 1) // step

    def bound(self, part: Size, size: Size, place: syntax.Node) -> Size:
        """A bound of a slice within the dimension; beyond its end torch cuts off, which an unknown size hides."""
        if isinstance(part, int) and isinstance(size, int):
            return max(size + part, 0) if part < 0 else min(part, size)
        if isinstance(part, int) and part < 0:
            part = size + part
            self.require(("at least", part, 0, "the bound of a slice"), place)
        elif part != size and not (isinstance(part, int) and part == 0):
            low = least(size - part)
            if low is None or low < 0:
                self.require(("at least", size, part, "a sliced dimension"), place)
        return part

    def index_type(self, item: Value, size: Size, place: syntax.Node) -> TensorType:
        type_ = item.type
        assert isinstance(type_, TensorType)  # noqa: S101 - unknown ones were handled before
        if type_.dtype not in ("i64", "i32"):  # to torch, u8 is a mask
            raise ProblemError(
                DtypeMismatch(span=place.span, operator="[]", expected="indices of dtype i64 or i32", found=str(type_))
            )
        if type_.classes is not None:
            self.require(("at most", type_.classes, size, "the range of the indices"), place)
        return type_

    def gather(self, dims: list[Size], gathered: list[tuple[int, TensorType]], items: tuple[Any, ...]) -> None:
        shape: tuple[Size, ...] = ()
        for _, type_ in gathered:
            shape = self.broadcast(shape, type_.dims)
        # torch takes numbers out first; tensors that then stand apart put their dimensions in front.
        flags = [isinstance(item, Value) for item in items if not is_size(item)]
        first, last = flags.index(True), len(flags) - 1 - flags[::-1].index(True)
        position = gathered[0][0] if all(flags[first : last + 1]) else 0
        dims[position:position] = shape

    def broadcast(self, a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
        longest = max(len(a), len(b))
        result: list[Size] = []
        padded = [(1,) * (longest - len(dims)) + dims for dims in (a, b)]
        for axis, (left, right) in enumerate(zip(*padded, strict=True)):
            if left != right and 1 not in (left, right):
                raise ProblemError(
                    BroadcastMismatch(
                        span=self.node.span,
                        operator="[]",
                        left="an index",
                        right="another",
                        left_size=str(left),
                        right_size=str(right),
                        axis=axis - longest,
                    )
                )
            result.append(right if left == 1 else left)
        return tuple(result)

    def require(self, requirement: Any, place: syntax.Node) -> None:
        from expc.compiler.model import stages

        stages.require(self.elaborator, requirement, "[]", place.span, ())
