"""Functions that make tensors: from sizes, from the shape of another, or at random."""

from collections.abc import Sequence
from math import ceil
from typing import Any, Final

from expc.compiler.dimensions import Dim, Size, least
from expc.compiler.ops.arguments import (
    DTYPE_BY_NAME,
    dtype_or,
    function,
    is_size,
    listed,
    need_floating,
    operand,
    without_classes,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Kind, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, NATURAL, either, is_number, list_of, optional
from expc.compiler.ops.rules import INPUT, refuse
from expc.compiler.types import FLOATING, TensorType, category

_SIZE: Final = Param("size", list_of(NATURAL), variadic=True)
_NUMBER: Final = either(FLOAT, BOOL)


def _shape(call: Call, sizes: Sequence[Size]) -> tuple[Size, ...]:
    for size in sizes:
        if isinstance(size, int) and size < 0:
            refuse(call, f"a size cannot be negative: {size}")
    return tuple(sizes)


def is_classes(dtype: str) -> bool:
    """Whether torch indexes with the dtype."""
    return dtype in ("i64", "i32")


def _filled(call: Call) -> TensorType:
    return TensorType(dtype_or(call, "f32"), _shape(call, listed(call["size"])))


def _of_number(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "i64" if is_size(value) else "f32"


def _full(call: Call) -> TensorType:
    dtype = dtype_or(call, _of_number(call["fill_value"]))
    return TensorType(dtype, _shape(call, listed(call["size"])))


def _random(call: Call) -> TensorType:
    _floating_dtype(call, dtype_or(call, "f32"))
    return _filled(call)


def _floating_dtype(call: Call, dtype: str) -> None:
    if dtype not in FLOATING:
        refuse(call, f"makes floating-point numbers, not {dtype}: randint makes whole ones")


def _like(call: Call) -> TensorType:
    x = without_classes(call.tensor())
    return TensorType(dtype_or(call, x.dtype), x.dims)


def _random_like(call: Call) -> TensorType:
    if call["dtype"] is None:
        need_floating(call, call.tensor())
    _floating_dtype(call, dtype_or(call, call.tensor().dtype))
    return _like(call)


def _span(call: Call) -> tuple[Any, Any]:
    """`arange(end)` or `arange(start, end)`."""
    start, end = call["start"], call["end"]
    if start is None and end is None:
        refuse(call, "needs an end")
    return (0, start) if end is None else (0 if start is None else start, end)


def _arange(call: Call) -> TensorType:
    start, end = _span(call)
    step = call["step"]
    if isinstance(step, int) and step == 0:
        refuse(call, "step must not be 0")
    numbers = (start, end, step)
    count = _count(call, start, end, step)
    dtype = dtype_or(call, "i64" if all(map(is_size, numbers)) else "f32")
    if dtype == "bool":
        refuse(call, "dtype=bool holds no range of numbers")
    if category(dtype) < 2 and not all(map(is_size, numbers)):
        refuse(call, f"whole numbers ({dtype}) need a whole start, end and step")
    below = end if is_classes(dtype) and all(map(is_size, numbers)) and _is_below(start, step) else None
    return TensorType(dtype, (count,), below)


def _is_below(start: Size, step: Size) -> bool:
    low, rise = least(start), least(step)
    return low is not None and low >= 0 and rise is not None and rise > 0


def _count(call: Call, start: Any, end: Any, step: Any) -> Size:
    if any(isinstance(part, Dim) for part in (start, end, step)):
        if not all(map(is_size, (start, end, step))):
            refuse(call, "steps of unknown sizes must be whole numbers")
        if isinstance(step, Dim):
            refuse(call, f"step must be a known number, but is {step}")
        length: Size = end - start if step > 0 else start - end
        call.require_at_least(length, 0, "end - start")
        rounded: Size = -(-length // abs(step))
        return rounded
    if (end - start) * step < 0:
        refuse(call, f"from {start} one never reaches {end} in steps of {step}")
    whole = all(map(is_size, (start, end, step)))
    return int(-(-(end - start) // step)) if whole else ceil((end - start) / step)


def _build_arange(torch: Any, values: dict[str, Any]) -> Any:
    named = {"device": values["device"]} if values["dtype"] is None else _made(values)
    if values["end"] is None:
        return (
            torch.arange(values["start"], **named)
            if values["step"] == 1
            else torch.arange(0, values["start"], values["step"], **named)
        )
    start = 0 if values["start"] is None else values["start"]
    return torch.arange(start, values["end"], values["step"], **named)


def _made(values: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": values["dtype"], "device": values["device"]}


def _linspace(call: Call) -> TensorType:
    dtype = dtype_or(call, "f32")
    if dtype == "bool":
        refuse(call, "dtype=bool holds no range of numbers")
    return TensorType(dtype, (call["steps"],))


def _eye(call: Call) -> TensorType:
    return TensorType(dtype_or(call, "f32"), (call["n"], call["n"] if call["m"] is None else call["m"]))


def _bounds(call: Call) -> tuple[Any, Any, Any]:
    """`randint(high, size)` or `randint(low, high, size)`."""
    low, high, size = call["low"], call["high"], call["size"]
    if size is None:
        if not isinstance(high, list | tuple):
            refuse(call, "needs a size: randint(high, [sizes]) or randint(low, high, [sizes])")
        return 0, low, high
    if isinstance(high, list | tuple):
        refuse(call, "has its size twice")
    return low, high, size


_LIMITS: Final = {"bool": (0, 1), "u8": (0, 255), "i8": (-128, 127), "i16": (-(1 << 15), (1 << 15) - 1)}


def check_range(call: Call, dtype: str, low: Size, high: Size) -> None:
    """Whole numbers from `low` up to `high`, not included, must be some, and `dtype` must hold them."""
    call.require_at_least(high, low + 1, "high")
    smallest, largest = _LIMITS.get(dtype, (None, None))
    if smallest is not None and largest is not None:
        call.require_at_least(low, smallest, f"low, for {dtype},")
        call.require_at_most(high, largest + 1, f"high, for {dtype},")


def _randint(call: Call) -> TensorType:
    low, high, size = _bounds(call)
    dtype = dtype_or(call, "i64")
    check_range(call, dtype, low, high)
    least_low = least(low)
    below = high if is_classes(dtype) and least_low is not None and least_low >= 0 else None
    return TensorType(dtype, _shape(call, size), below)


def _build_randint(torch: Any, values: dict[str, Any]) -> Any:
    low, high, size = values["low"], values["high"], values["size"]
    if size is None:
        low, high, size = 0, low, high
    dtype = torch.int64 if values["dtype"] is None else values["dtype"]
    return torch.randint(low, high, size, dtype=dtype, device=values["device"])


def _randperm(call: Call) -> TensorType:
    dtype = dtype_or(call, "i64")
    if dtype == "bool":
        refuse(call, "dtype=bool holds no permutation")
    return TensorType(dtype, (call["n"],), call["n"] if is_classes(dtype) else None)


def _normal(call: Call) -> TensorType:
    found = [value for value in (call["mean"], call["std"]) if isinstance(value, TensorType)]
    need_floating(call, *found[:1])
    if not isinstance(call["std"], TensorType) and call["std"] < 0:
        refuse(call, f"std={call['std']} must not be negative")
    if call["size"] is not None:
        if found:
            refuse(call, "takes a size only when mean and std are numbers")
        return TensorType(dtype_or(call, "f32"), _shape(call, call["size"]))
    if not found:
        refuse(call, "needs a size when mean and std are numbers")
    if call["dtype"] is not None:
        refuse(call, "takes a dtype only with a size")
    return TensorType(found[0].dtype, broadcast(call, *found))


def _build_normal(torch: Any, values: dict[str, Any]) -> Any:
    mean, std, size = values["mean"], values["std"], values["size"]
    if size is None:
        return torch.normal(mean, std)
    dtype = torch.float32 if values["dtype"] is None else values["dtype"]
    return torch.normal(mean, std, size, dtype=dtype, device=values["device"])


def _is_nested(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_nested, value))
    return is_number(value) or isinstance(value, bool)


def _tensor(call: Call) -> TensorType:
    sizes, numbers = _nested(call, call["data"])
    found = {_of_number(value) for value in numbers}
    dtype = next((dtype for dtype in ("f32", "i64", "bool") if dtype in found), "f32")
    return TensorType(dtype_or(call, dtype), sizes)


def _nested(call: Call, value: Any) -> tuple[tuple[int, ...], list[Any]]:
    if not isinstance(value, list | tuple):
        return (), [value]
    parts = [_nested(call, item) for item in value]
    inner = {sizes for sizes, _ in parts}
    if len(inner) > 1:
        refuse(call, "its lists must be equally long")
    return (len(value), *(inner.pop() if inner else ())), [number for _, numbers in parts for number in numbers]


def making(name: str, doc: str, params: tuple[Param, ...], shape: Any, example: str, **more: Any) -> Operator:
    """A function that makes a tensor from none, of the dtype that the call may ask for."""
    inputs = {"x": "f32[N, 8]"}
    return function(name, doc, (*params, DTYPE_BY_NAME), shape, example, inputs, creates=True, **more)


def _shaped_like(name: str, doc: str, *params: Param, example: str | None = None, random: bool = False) -> Operator:
    shape = _random_like if random else _like
    return function(name, doc, (INPUT, *params, DTYPE_BY_NAME), shape, example or f"{name}(x)", random=random)


OPERATORS: Final = (
    making(
        "arange",
        "The numbers from start up to end, end not included.",
        (
            Param("start", optional(FLOAT), None),
            Param("end", optional(FLOAT), None),
            Param("step", FLOAT, 1),
        ),
        _arange,
        "arange(8)",
        build=_build_arange,
    ),
    making("zeros", "Zeros.", (_SIZE,), _filled, "zeros(2, 8)"),
    making("ones", "Ones.", (_SIZE,), _filled, "ones(2, 8)"),
    making(
        "full",
        "One number everywhere.",
        (Param("size", list_of(NATURAL)), Param("fill_value", _NUMBER)),
        _full,
        "full([2, 8], 0.5)",
    ),
    making(
        "eye",
        "The identity matrix.",
        (Param("n", NATURAL), Param("m", optional(NATURAL), None)),
        _eye,
        "eye(8)",
        build=lambda torch, v: torch.eye(
            v["n"], v["n"] if v["m"] is None else v["m"], dtype=v["dtype"], device=v["device"]
        ),
    ),
    making(
        "linspace",
        "Numbers at equal distances from start to end, both included.",
        (Param("start", FLOAT), Param("end", FLOAT), Param("steps", NATURAL)),
        _linspace,
        "linspace(0, 1, 8)",
    ),
    making(
        "logspace",
        "The powers of a base at equal distances from start to end, both included.",
        (Param("start", FLOAT), Param("end", FLOAT), Param("steps", NATURAL), Param("base", FLOAT, 10.0)),
        _linspace,
        "logspace(0, 1, 8)",
    ),
    making(
        "tensor",
        "The numbers listed.",
        (Param("data", Kind("a number, or nested lists of them", _is_nested)),),
        _tensor,
        "tensor([1.0, 2.0])",
    ),
    _shaped_like("zeros_like", "Zeros in the shape of a tensor."),
    _shaped_like("ones_like", "Ones in the shape of a tensor."),
    _shaped_like(
        "full_like",
        "One number everywhere, in the shape of a tensor.",
        Param("fill_value", _NUMBER),
        example="full_like(x, 0.5)",
    ),
    making("rand", "Random numbers, uniform from 0 to 1.", (_SIZE,), _random, "rand(2, 8)", random=True),
    making(
        "randn", "Random numbers, normal with mean 0 and deviation 1.", (_SIZE,), _random, "randn(2, 8)", random=True
    ),
    _shaped_like("rand_like", "Random numbers from 0 to 1, in the shape of a tensor.", random=True),
    _shaped_like("randn_like", "Normal random numbers, in the shape of a tensor.", random=True),
    making(
        "randint",
        "Random whole numbers from low up to high, high not included.",
        (
            Param("low", INT, 0),
            Param("high", either(INT, list_of(NATURAL))),
            Param("size", optional(list_of(NATURAL)), None),
        ),
        _randint,
        "randint(10, [2, 8])",
        random=True,
        build=_build_randint,
    ),
    making(
        "randperm",
        "The whole numbers below n in random order.",
        (Param("n", NATURAL),),
        _randperm,
        "randperm(8)",
        random=True,
        build=lambda torch, v: torch.randperm(
            v["n"], dtype=torch.int64 if v["dtype"] is None else v["dtype"], device=v["device"]
        ),
    ),
    making(
        "normal",
        "Random numbers of a normal distribution; mean and std may be tensors.",
        (operand("mean"), operand("std"), Param("size", optional(list_of(NATURAL)), None)),
        _normal,
        "normal(0.0, 1.0, [2, 8])",
        random=True,
        build=_build_normal,
    ),
)
