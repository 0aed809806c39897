"""Interpolation to another size."""

from fractions import Fraction
from math import floor
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, choice, either, list_of, optional, sizes
from expc.compiler.ops.rules import EXAMPLES, FORMS, INPUT, SIDES, expect_dtype, expect_rank, refuse, spread
from expc.compiler.types import FLOATING, TensorType

_BYTES: Final = frozenset({"nearest", "nearest-exact", "bilinear", "bicubic"})
"""The modes that torch has for u8."""
_RANKS: Final = {"linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,)}
"""How many spatial dimensions a mode is for, if not for all."""
_FINEST: Final = 1 << 16
"""Beyond this denominator a scale is a rounded decimal, whose product with an unknown size cannot be told exactly."""


def resized(call: Call, x: TensorType) -> TensorType:
    """The result of interpolating `x` by the settings `size`, `scale_factor`, `mode` and so on."""
    mode = call["mode"]
    counts = _RANKS.get(mode, (1, 2, 3))
    expect_rank(call, x, *(FORMS[count] for count in counts))
    expect_dtype(call, x, FLOATING | {"u8"} if mode in _BYTES else FLOATING)
    if call["align_corners"] is not None and mode not in _RANKS:
        refuse(call, f'align_corners is for the modes {", ".join(_RANKS)}, not for "{mode}"')
    if (call["size"] is None) == (call["scale_factor"] is None):
        refuse(call, "say either size or scale_factor")
    if call["size"] is not None and call["recompute_scale_factor"]:
        refuse(call, "recompute_scale_factor=true goes with scale_factor, not with size")
    count = x.rank - 2
    sides = zip(SIDES[count], x.dims[2:], _targets(call, count), strict=True)
    return TensorType(x.dtype, (*x.dims[:2], *(_side(call, *side) for side in sides)))


def _targets(call: Call, count: int) -> tuple[Any, ...]:
    name = "size" if call["size"] is not None else "scale_factor"
    targets = spread(call[name], count)
    if len(targets) != count:
        refuse(call, f"{name} has {len(targets)} values for {count} spatial dimension{'s' * (count > 1)}")
    return targets


def _side(call: Call, side: str, before: Size, target: Any) -> Size:
    if call["size"] is not None:
        after: Size = target
    else:
        after = scaled(call, before, target)
        call.require_at_least(after, 1, f"the {side} of the result")
        call.explain(f"{side}: {before} * {target} = {after}")
    return after


def scaled(call: Call, size: Size, scale: float, name: str = "scale_factor", instead: str = "size") -> Size:
    """`size * scale`, rounded down as torch does it: in floating point."""
    if isinstance(size, int):
        return floor(size * scale)
    exact = Fraction(scale)
    if exact.denominator > _FINEST:
        refuse(
            call, f"what {name}={scale} makes of the unknown size {size} cannot be told; write {instead}=... instead"
        )
    return size * exact.numerator // exact.denominator


def _upsampling(name: str, doc: str, mode: str, *, corners: bool | None) -> Operator:
    """A layer that is `Upsample` with a fixed mode."""
    fixed = {"mode": mode, "align_corners": corners, "recompute_scale_factor": None}

    def shape(call: Call) -> TensorType:
        return resized(Call(call.operator, {**call.values, **fixed}, call.require, call.arithmetic), call.tensor())

    return Operator(
        name,
        "layer",
        doc,
        settings=(_SIZE, _SCALE),
        arguments=(INPUT,),
        shape=shape,
        example=f"x -> {name}(scale_factor=2)",
        example_inputs=EXAMPLES[2],
    )


_SIZE: Final = Param("size", optional(sizes(None, 1)), None)
_SCALE: Final = Param("scale_factor", optional(either(FLOAT, list_of(FLOAT))), None)

OPERATORS: Final = (
    Operator(
        "Upsample",
        "layer",
        "Interpolates to another size, or by a factor.",
        settings=(
            _SIZE,
            _SCALE,
            Param(
                "mode",
                choice("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"),
                "nearest",
            ),
            Param("align_corners", optional(BOOL), None),
            Param("recompute_scale_factor", optional(BOOL), None),
        ),
        arguments=(INPUT,),
        shape=lambda call: resized(call, call.tensor()),
        example="x -> Upsample(scale_factor=2)",
        example_inputs=EXAMPLES[2],
    ),
    _upsampling("UpsamplingNearest2d", "Upsample that repeats the nearest value.", "nearest", corners=None),
    _upsampling(
        "UpsamplingBilinear2d", "Upsample between values, the corners kept in place.", "bilinear", corners=True
    ),
)
