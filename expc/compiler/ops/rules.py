"""What many layers share: checks of ranks, dtypes and dimensions, the arithmetic of windows, whole families.

A type rule states what it needs in the words of the layer, so that the checker's messages read like torch's manual.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from expc.compiler.dimensions import Dim, Size, minimum
from expc.compiler.errors.shapes import DtypeMismatch, RankMismatch, SettingRefused
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, TENSOR
from expc.compiler.types import DTYPES, FLOATING, INTEGER, TensorType
from expc.frozen import dataclass

F32: Final = frozenset({"f32"})
NUMBERS: Final = FLOATING | INTEGER
ANY: Final = DTYPES
INDICES: Final = frozenset({"i32", "i64"})

SIDES: Final = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
FORMS: Final = {1: "N, C, L", 2: "N, C, H, W", 3: "N, C, D, H, W"}
"""What a batch looks like to a layer over one, two or three spatial dimensions."""
EXAMPLES: Final = {count: {"x": f"f32[{form.replace('C', '4')}]"} for count, form in FORMS.items()}

INPUT: Final = Param("input", TENSOR, tensor=True)
INPLACE: Final = Param("inplace", BOOL, False)

_EXPECTED: Final = {
    F32: "f32, the dtype of its weights (write `-> f32` before it; indices go through Embedding)",
    FLOATING: "floating-point numbers (write `-> f32` before it)",
    NUMBERS: "numbers (write `-> f32` before it)",
    INDICES: "indices (i64 or i32; write `-> i64` before it)",
}


# ---------------------------------------------------------------------------------------------------- checks


def expect_rank(call: Call, tensor: TensorType, *forms: str) -> None:
    """`tensor` must look like one of `forms`, such as `N, C, H, W`; a `*` stands for any number of dimensions."""
    for form in forms:
        names = form.split(", ")
        if tensor.rank == len(names) if "*" not in names else tensor.rank >= len(names) - 1:
            return
    counts = " or ".join(f"at least {form.count(',')}" if "*" in form else str(form.count(",") + 1) for form in forms)
    shapes = " or ".join(f"[{form}]" for form in forms)
    expected = f"a tensor of {counts} dimension{'' if counts == 'at least 1' else 's'} {shapes}"
    call.fail(RankMismatch, operator=call.operator.name, expected=expected, found=str(tensor))


def expect_dtype(call: Call, tensor: TensorType, allowed: frozenset[str]) -> None:
    """`tensor` must have one of the `allowed` dtypes."""
    if tensor.dtype not in allowed:
        expected = _EXPECTED.get(allowed) or " or ".join(sorted(allowed)) + " (write `-> f32` before it)"
        call.fail(DtypeMismatch, operator=call.operator.name, expected=expected, found=str(tensor))


def refuse(call: Call, reason: str) -> NoReturn:
    """The settings contradict each other or the input, for `reason`."""
    call.fail(SettingRefused, operator=call.operator.name, reason=reason)


def known(call: Call, name: str) -> int:
    """The setting `name`, which decides the form of the result and so must be a known number."""
    value = call[name]
    if isinstance(value, Dim):
        refuse(call, f"{name} must be a known number, but is {value}")
    return int(value)


def axis(call: Call, value: Size, rank: int, name: str = "dim") -> int:
    """The dimension `value` of a tensor of `rank` dimensions, counted from 0. A scalar takes 0 and -1, as in torch."""
    if isinstance(value, Dim):
        refuse(call, f"{name} must be a known number, but is {value}")
    bound = max(rank, 1)
    if not -bound <= value < bound:
        refuse(call, f"{name}={value} is outside the {rank} dimensions of the input: from {-bound} to {bound - 1}")
    return value % bound


def spread(value: Any, count: int) -> tuple[Any, ...]:
    """One value for each of `count` dimensions, as torch reads `3` and `[3, 3]`."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * count


def times(sizes: Iterable[Size]) -> str:
    """The product of sizes as text, for an explanation."""
    return " * ".join(f"({size})" if " " in str(size) else str(size) for size in sizes)


def product(sizes: Iterable[Size]) -> Size:
    """All sizes multiplied."""
    result: Size = 1
    for size in sizes:
        result = size if result == 1 else result * size
    return result


# ---------------------------------------------------------------------------------------------------- windows


@dataclass(frozen=True)
class Window:
    """What slides over one side of the input: `kernel` elements, `dilation` apart, moved by `stride`."""

    side: str
    kernel: Size
    stride: Size
    padding: Size
    dilation: Size

    @property
    def extent(self) -> Size:
        """How many elements it reaches over."""
        return self.dilation * (self.kernel - 1) + 1


def windows(call: Call, count: int) -> tuple[Window, ...]:
    """The windows that the settings describe, one for each of `count` sides; `stride=none` is the kernel's size."""
    kernel = call["kernel_size"]
    stride = kernel if call["stride"] is None else call["stride"]
    written = call.values.get("padding", 0)
    padding = {"valid": 0, "same": 0}.get(str(written), written)
    dilation = call.values.get("dilation", 1)
    each = (spread(value, count) for value in (kernel, stride, padding, dilation))
    return tuple(Window(*of_side) for of_side in zip(SIDES[count], *each, strict=True))


def fit(call: Call, size: Size, window: Window, *, ceil: bool = False) -> Size:
    """How many windows fit into a side of `size`.

    With `ceil` the last may reach over the end, as long as it starts inside the input or its left padding.
    """
    side, stride, padding, extent = window.side, window.stride, window.padding, window.extent
    padded = size + 2 * padding
    room = stride - 1 if ceil else 0
    what = f"the {'padded ' if padding != 0 else ''}{side} under a kernel of {extent}"
    call.require_at_least(padded, extent - room, what)
    if ceil:
        offset = minimum(2 * padding - extent + room, padding - 1)
        count = (size + offset) // stride + 1
    else:
        count = (padded - extent) // stride + 1
    if count != size:
        pad = f" + 2*{padding}" if padding != 0 else ""
        rounded = ", rounded up," if ceil else ""
        call.explain(f"{side}: ({size}{pad} - {extent}) // {stride}{rounded} + 1 = {count}")
    return count


# ---------------------------------------------------------------------------------------------------- families


def same_shape(dtypes: frozenset[str] = FLOATING, form: str = "") -> Callable[[Call], TensorType]:
    """The rule of a layer that keeps shape and dtype; `form` is the shape that it takes, if not every one."""

    def shape(call: Call) -> TensorType:
        tensor = call.tensor(call.operator.arguments[0].name)
        if form:
            expect_rank(call, tensor, form)
        expect_dtype(call, tensor, dtypes)
        return TensorType(tensor.dtype, tensor.dims)

    return shape


def elementwise(name: str, doc: str, *settings: Param, dtypes: frozenset[str] = FLOATING, **more: Any) -> Operator:
    """A layer that maps each element by itself and keeps the dtype."""
    more.setdefault("shape", same_shape(dtypes))
    more.setdefault("example", f"x -> {name}")
    more.setdefault("example_inputs", {"x": "f32[N, 8]"})
    return Operator(name, "layer", doc, settings, (INPUT,), **more)
