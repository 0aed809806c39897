"""Transforms that mix the samples of a batch: the label becomes one probability for each class."""

from typing import Any

from expc.compiler.dimensions import Dim
from expc.compiler.errors.data import TransformMismatch
from expc.compiler.library.transforms.image import IMAGE, Settings, image, refuse
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import POSITIVE, number, optional
from expc.compiler.program import SampleField, Transform
from expc.compiler.types import FLOATING, TensorType

Mixed = tuple[tuple[SampleField, ...], Settings]
"""What becomes of the fields, and the settings with what was inferred."""


def batches() -> tuple[Transform, ...]:
    """The family."""
    settings = (
        Param("alpha", number(), 1.0, doc="above 0: larger ones mix more evenly", by_name=True),
        Param("num_classes", optional(POSITIVE), None, doc="follows from the label", inferred=True, by_name=True),
    )
    return (
        Transform(
            name="MixUp",
            doc="Each image of a batch mixed with the one before it, and their labels as probabilities.",
            settings=settings,
            rule=lambda _, type_: _mixable(type_),
            fields=_mix_up,
            example="ToTensor -> MixUp(alpha=0.2)",
            random=True,
        ),
        Transform(
            name="CutMix",
            doc="A rectangle of each image of a batch taken from the one before it, and their labels as probabilities.",
            settings=settings,
            rule=lambda _, type_: type_.with_dims(*image("CutMix", type_)),
            fields=_cut_mix,
            example="CutMix(alpha=1.0) -> ToTensor",
            random=True,
        ),
    )


def _mixable(type_: TensorType) -> TensorType:
    words = "an image of floating point, as `ToTensor` makes it"
    return type_.with_dims(*image("MixUp", type_, FLOATING, words))


def _mix_up(settings: Settings, fields: tuple[SampleField, ...]) -> Mixed:
    _mixable(fields[0].type)
    return _with_probabilities("MixUp", settings, fields)


def _cut_mix(settings: Settings, fields: tuple[SampleField, ...]) -> Mixed:
    image("CutMix", fields[0].type, *IMAGE)
    return _with_probabilities("CutMix", settings, fields)


def _with_probabilities(transform: str, settings: Settings, fields: tuple[SampleField, ...]) -> Mixed:
    type_ = fields[0].type
    if any(isinstance(size, Dim) for size in type_.dims):
        words = "images of one size, since it mixes those of a batch: `Resize` with a list, or a crop, comes before it"
        raise Fault(TransformMismatch, transform=transform, expected=words, found=str(type_))
    if settings["alpha"] <= 0:
        raise refuse(transform, f"alpha must be above 0, and is {settings['alpha']}")
    labels = [field for field in fields[1:] if field.type.classes is not None and not field.type.dims]
    mixed = [field for field in fields[1:] if field.type.dtype == "f32" and field.type.rank == 1]
    found = labels or mixed
    if len(found) != 1 or len(fields) != 2:
        words = "an image and its label, class(10) or one probability for each class"
        shown = ", ".join(f"{field.name}: {field.type}" for field in fields)
        raise Fault(TransformMismatch, transform=transform, expected=words, found=shown)
    (label,) = found
    count: Any = label.type.classes if labels else label.type.dims[0]
    given = settings["num_classes"]
    if given is not None and given != count:
        raise refuse(transform, f"num_classes={given} is written, but `{label.name}` has {count} classes")
    probabilities = SampleField(label.name, TensorType("f32", (count,)))
    return (fields[0], probabilities), {**settings, "num_classes": count}
