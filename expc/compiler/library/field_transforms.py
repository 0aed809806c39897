"""Transforms of fields that are no images: classes as numbers, and another dtype."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from expc.compiler.errors.data import TransformMismatch, TransformSetting
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import POSITIVE, STR, optional
from expc.compiler.program import Transform
from expc.compiler.types import TensorType

Settings = Mapping[str, Any]


@cache
def field_transforms() -> Mapping[str, Transform]:
    """Those with a name of their own: what torchvision leaves to a `target_transform`."""
    return {
        "OneHot": Transform(
            name="OneHot",
            doc="A class as f32 numbers: 1 at its place, 0 elsewhere. The classes come first, as in a model's outputs.",
            settings=(
                Param("num_classes", optional(POSITIVE), None, doc="how many classes; none: as many as the field has"),
            ),
            rule=_one_hot,
            example="{ label = label -> OneHot }",
        )
    }


def _one_hot(settings: Settings, type_: TensorType) -> TensorType:
    if type_.classes is None:
        raise Fault(TransformMismatch, transform="OneHot", expected="a class, such as class(10)", found=str(type_))
    count, known = settings["num_classes"], type_.classes
    if count is not None and isinstance(known, int) and count < known:
        reason = f"{count} numbers are too few for {type_}"
        raise Fault(TransformSetting, transform="OneHot", reason=reason)
    return TensorType("f32", (known if count is None else count, *type_.dims))


def _cast(settings: Settings, type_: TensorType) -> TensorType:
    dtype = settings["dtype"]
    return TensorType(dtype, type_.dims, type_.classes if dtype == "i64" else None)


CAST: Final = Transform(
    name="to",
    doc="The same numbers in another dtype, written `-> f32`.",
    settings=(Param("dtype", STR),),
    rule=_cast,
    example="f32",
)


def completed(transform: Transform, settings: Settings, result: TensorType) -> Settings:
    """The settings with what follows from the field's type filled in."""
    if transform.name == "OneHot":
        return {**settings, "num_classes": result.dims[0]}
    return settings
