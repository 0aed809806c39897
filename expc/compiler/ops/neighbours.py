"""Functions of neighbours along a dimension: differences, slopes, areas."""

from typing import Any, Final

from expc.compiler.ops.arguments import (
    AXES,
    AXIS,
    axes,
    dim,
    floated,
    function,
    need_dtype,
    need_rank,
    optional_tensor,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Kind, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import FLOAT, NATURAL, either, list_of, optional
from expc.compiler.ops.rules import INPUT, axis, refuse
from expc.compiler.types import DTYPES, TensorType, result_dtype

_NUMBERS: Final = DTYPES - {"bool"}
_SPACING: Final = either(FLOAT, list_of(FLOAT))


def _diff(call: Call) -> TensorType:
    x, n = call.tensor(), call["n"]
    if x.rank == 0:
        refuse(call, "a scalar has no neighbours")
    if n == 0 and call["prepend"] is None and call["append"] is None:
        return x
    at = axis(call, call["dim"], x.rank)
    size = x.dims[at]
    parts = [x]
    for name in ("prepend", "append"):
        part = call[name]
        if not isinstance(part, TensorType):
            continue
        need_rank(call, part, (x.rank,), f"{name} of as many dimensions as {x}")
        for other, wanted in enumerate(x.dims):
            if other != at:
                call.require_equal(wanted, part.dims[other], f"dimension {other} of {name}")
        parts.append(part)
        size = size + part.dims[at]
    if n == 0:
        return x
    call.require_at_least(size, n + 1, f"dimension {call['dim']}, for differences of order {n},")
    dtype = result_dtype([(part.dtype, x.rank) for part in parts])
    return TensorType(dtype, (*x.dims[:at], size - n, *x.dims[at + 1 :]))


def _areas(call: Call) -> tuple[TensorType, int]:
    """The area under the line between each two neighbours, and along which dimension they lie."""
    y, x = call.tensor("y"), call["x"]
    need_dtype(call, y, _NUMBERS, "numbers, not booleans")
    if y.rank == 0:
        refuse(call, "takes samples along a dimension, not a scalar")
    at = axis(call, call["dim"], y.rank)
    between = y.with_dims(*y.dims[:at], y.dims[at] - 1, *y.dims[at + 1 :])
    if not isinstance(x, TensorType):
        return TensorType(floated(y.dtype), between.dims), at
    need_dtype(call, x, _NUMBERS, "numbers, not booleans")
    if x.rank == 1:
        call.require_equal(y.dims[at], x.dims[0], "the number of positions x, one for each sample,")
        sizes = tuple(x.dims[0] if number == at else 1 for number in range(y.rank))
    else:
        sizes = (1,) * (y.rank - x.rank) + x.dims
    steps = x.with_dims(*sizes[:at], sizes[at] - 1, *sizes[at + 1 :])
    dtype = floated(result_dtype([(y.dtype, 1), (x.dtype, 1)]))
    return TensorType(dtype, broadcast(call, between, steps)), at


def _trapezoid(call: Call) -> TensorType:
    between, at = _areas(call)
    return between.with_dims(*between.dims[:at], *between.dims[at + 1 :])


def _cumulative_trapezoid(call: Call) -> TensorType:
    between, at = _areas(call)
    call.require_at_least(between.dims[at], 1, f"the steps along dimension {call['dim']}")
    return between


def _build_areas(name: str) -> Any:
    def build(torch: Any, v: dict[str, Any]) -> Any:
        if v["x"] is None:
            return getattr(torch, name)(v["y"], dx=v["dx"], dim=v["dim"])
        return getattr(torch, name)(v["y"], v["x"], dim=v["dim"])

    return build


def _gradient(call: Call) -> tuple[TensorType, ...]:
    x, spacing, over = call.tensor(), call["spacing"], call["dim"]
    need_dtype(call, x, _NUMBERS - {"u8"}, "signed numbers")
    along = axes(call, None if over is None else over, x.rank)
    if isinstance(spacing, list | tuple) and len(spacing) != len(along):
        refuse(call, f"{len(spacing)} spacings for {len(along)} dimensions: they must be equally many")
    for at in along:
        if x.rank == 0:
            refuse(call, "a scalar has no neighbours")
        call.require_at_least(x.dims[at], call["edge_order"] + 1, f"dimension {at}")
    return (TensorType(floated(x.dtype), x.dims),) * len(along)


def _integral(name: str, doc: str, shape: ShapeRule) -> Operator:
    params = (
        tensor("y"),
        optional_tensor("x"),
        Param("dx", FLOAT, 1, by_name=True),
        Param("dim", AXIS, -1, by_name=True),
    )
    return function(name, doc, params, shape, f"x -> {name}(dx=0.1)", build=_build_areas(name))


OPERATORS: Final = (
    function(
        "diff",
        "The differences of neighbours along a dimension.",
        (INPUT, Param("n", NATURAL, 1), dim(-1), optional_tensor("prepend"), optional_tensor("append")),
        _diff,
        "x -> diff",
    ),
    _integral("trapezoid", "The integral along a dimension, by the trapezoidal rule.", _trapezoid),
    _integral("cumulative_trapezoid", "Running integrals along a dimension.", _cumulative_trapezoid),
    function(
        "gradient",
        "The slope at each element, along each dimension.",
        (
            INPUT,
            Param("spacing", optional(_SPACING), None, by_name=True),
            Param("dim", optional(AXES), None, by_name=True),
            Param("edge_order", Kind("1 or 2", lambda value: value in (1, 2)), 1, by_name=True),
        ),
        _gradient,
        "x -> gradient(dim=1)",
        build=lambda torch, v: torch.gradient(
            v["input"], **{key: v[key] for key in ("spacing", "dim", "edge_order") if v[key] is not None}
        ),
    ),
)
