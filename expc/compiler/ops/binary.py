"""Functions of the elements of two tensors that have no operator of their own: bits, divisors, special functions."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.errors.shapes import DtypeMismatch
from expc.compiler.ops.arguments import (
    OTHER,
    floated,
    function,
    need_dtype,
    need_floating,
    need_same_dtype,
    operand,
    tensor,
)
from expc.compiler.ops.arithmetic import binary, promoted, subtracted, tensors
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import BOOL, FLOAT
from expc.compiler.ops.rules import INPUT, refuse
from expc.compiler.types import DTYPES, FLOATING, TensorType, category

WHOLE: Final = DTYPES - FLOATING
_NUMBERS: Final = DTYPES - {"bool"}


def _floating(call: Call, dtype: str) -> str:
    if category(dtype) < 2:
        need_floating(call, *tensors(call, "input", "other"))
    return dtype


def _bits(call: Call, dtype: str) -> str:
    """Whole numbers and booleans; a number beside them must be whole too."""
    if category(dtype) == 2:
        both = " and ".join(str(call[name]) for name in ("input", "other"))
        expected = "whole numbers or booleans"
        call.fail(DtypeMismatch, operator=str(call.operator), expected=expected, found=both)
    return dtype


def _whole(call: Call, dtype: str) -> str:
    if dtype == "bool":
        found = str(tensors(call, "input", "other")[0])
        call.fail(DtypeMismatch, operator=str(call.operator), expected="whole numbers", found=found)
    return _bits(call, dtype)


def _ldexp(call: Call) -> TensorType:
    x, other = call.tensor(), call.tensor("other")
    dims = broadcast(call, x, other)
    if category(x.dtype) == 2 and category(other.dtype) < 2:
        need_dtype(call, other, _NUMBERS, "powers that are numbers, not booleans")
        if len(dims) > x.rank:
            refuse(call, f"the powers {other} must fit into the input {x}")
        for at, (size, wanted) in enumerate(zip(x.dims, dims, strict=True)):
            call.require_equal(wanted, size, f"dimension {at}, which cannot grow to that of the powers,")
    return TensorType(floated(promoted(call, "input", "other")), dims)


def _heaviside(call: Call) -> TensorType:
    x, values = call.tensor(), call.tensor("values")
    need_same_dtype(call, x, values)
    return TensorType(x.dtype, broadcast(call, x, values))


def _isclose(call: Call) -> TensorType:
    x, other = call.tensor(), call.tensor("other")
    need_same_dtype(call, x, other)
    for name in ("rtol", "atol"):
        if call[name] < 0:
            refuse(call, f"{name}={call[name]} must not be negative")
    return TensorType("bool", broadcast(call, x, other))


def _bound(name: str) -> ShapeRule:
    def shape(call: Call) -> TensorType:
        if isinstance(call[name], bool) and call.tensor().dtype == "bool":
            refuse(call, "takes no booleans for bounds of booleans")
        return TensorType(promoted(call, "input", name), broadcast(call, *tensors(call, "input", name)))

    return shape


def _dist(call: Call) -> TensorType:
    x, other = call.tensor(), call.tensor("other")
    broadcast(call, x, other)
    dtype = subtracted(call, promoted(call, "input", "other"))
    return TensorType(_floating(call, dtype), ())


_TWO: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}
_WHOLE_TWO: Final = {"x": "i64[N, 8]", "y": "i64[N, 8]"}


def _pair(
    name: str,
    doc: str,
    shape: ShapeRule,
    first: Param = INPUT,
    other: Param = OTHER,
    *more: Param,
    inputs: dict[str, str] = _TWO,
    build: Callable[..., Any] | None = None,
) -> Operator:
    return function(name, doc, (first, other, *more), shape, f"x -> {name}(y)", inputs, build=build)


def _tensors(name: str, doc: str, dtypes: Callable[[Call, str], str], inputs: dict[str, str] = _TWO) -> Operator:
    """Of two tensors, numbers excluded."""
    return _pair(name, doc, binary(dtypes), other=tensor("other"), inputs=inputs)


def _bitwise(name: str, doc: str, dtypes: Callable[[Call, str], str]) -> Operator:
    return _pair(name, doc, binary(dtypes), operand("input"), inputs=_WHOLE_TWO, build=_called(name))


def _called(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Torch's own parser takes a number first only by position."""
    return lambda torch, v: getattr(torch, name)(*v.values())


OPERATORS: Final = (
    _tensors("logaddexp2", "log2(2 ** x + 2 ** y), stable.", _floating),
    _tensors("hypot", "The square root of the sum of two squares.", _floating),
    _tensors("nextafter", "The next number after x that can be held, towards y.", _floating),
    _tensors("igamma", "The lower incomplete gamma function.", _floating),
    _tensors("igammac", "The upper incomplete gamma function.", _floating),
    _tensors("fmax", "The larger of two tensors, where NaN counts for nothing.", lambda _, dtype: dtype),
    _tensors("fmin", "The smaller of two tensors, where NaN counts for nothing.", lambda _, dtype: dtype),
    _tensors("gcd", "The greatest common divisor.", _whole, _WHOLE_TWO),
    _tensors("lcm", "The least common multiple.", _whole, _WHOLE_TWO),
    _pair("copysign", "The size of x with the sign of y.", binary(lambda _, dtype: floated(dtype))),
    _pair(
        "xlogy",
        "x * log(y), 0 where x is 0.",
        binary(lambda _, dtype: floated(dtype)),
        operand("input"),
        build=_called("xlogy"),
    ),
    function(
        "float_power",
        "Each element to a power, computed in f64.",
        (operand("input"), operand("exponent")),
        binary(lambda _call, _dtype: "f64", "input", "exponent"),
        "x -> float_power(2)",
        build=_called("float_power"),
    ),
    _pair("rsub", "other - alpha * input.", binary(subtracted), INPUT, OTHER, Param("alpha", FLOAT, 1)),
    _pair("ldexp", "input * 2 ** other.", _ldexp, other=tensor("other")),
    _pair("heaviside", "0 where negative, 1 where positive, else `values`.", _heaviside, other=tensor("values")),
    _bitwise("bitwise_and", "The bits that both have.", _bits),
    _bitwise("bitwise_or", "The bits that one of the two has.", _bits),
    _bitwise("bitwise_xor", "The bits in which the two differ.", _bits),
    _bitwise("bitwise_left_shift", "The bits moved to the left: times 2 ** other.", _whole),
    _bitwise("bitwise_right_shift", "The bits moved to the right: divided by 2 ** other.", _whole),
    _pair(
        "isclose",
        "Where two tensors are nearly equal.",
        _isclose,
        INPUT,
        tensor("other"),
        Param("rtol", FLOAT, 1e-5),
        Param("atol", FLOAT, 1e-8),
        Param("equal_nan", BOOL, False),
    ),
    _pair("clamp_min", "Each element, or the bound where it is less.", _bound("min"), INPUT, operand("min")),
    _pair("clamp_max", "Each element, or the bound where it is more.", _bound("max"), INPUT, operand("max")),
    function(
        "dist",
        "The p-norm of the difference of two tensors.",
        (INPUT, tensor("other"), Param("p", FLOAT, 2)),
        _dist,
        "x -> dist(y)",
        _TWO,
    ),
)
