"""Transforms that change what the numbers of an image mean: dtype, range, mean and deviation."""

from typing import Any, Final

from expc.compiler.errors.data import NormalizeChannels
from expc.compiler.library.transforms.image import NUMBERS, Settings, image, refuse, unchanged
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import BOOL, DTYPE
from expc.compiler.program import Transform
from expc.compiler.types import DTYPES, FLOATING, TensorType
from expc.spec.values import Dtype


def conversions() -> tuple[Transform, ...]:
    """The family."""
    return (
        Transform(
            name="ToTensor",
            doc="The image's numbers from 0 to 255 as f32 from 0 to 1.",
            settings=(),
            rule=_to_tensor,
            example="ToTensor",
        ),
        Transform(
            name="ToDtype",
            doc="The image in another dtype; with `scale`, its range becomes that of the dtype: 0 to 255 or 0 to 1.",
            settings=(Param("dtype", DTYPE), Param("scale", BOOL, False, doc="carry the range over")),
            rule=lambda settings, type_: _to_dtype("ToDtype", settings["dtype"], type_, scale=settings["scale"]),
            example="ToDtype(f32, scale=true)",
        ),
        Transform(
            name="ConvertImageDtype",
            doc="`ToDtype(dtype, scale=true)`.",
            settings=(Param("dtype", DTYPE, Dtype("f32")),),
            rule=lambda settings, type_: _to_dtype("ConvertImageDtype", settings["dtype"], type_, scale=True),
            example="ConvertImageDtype(f32)",
        ),
        Transform(
            name="Normalize",
            doc="Subtracts a mean from each channel and divides by a standard deviation.",
            settings=(Param("mean", NUMBERS), Param("std", NUMBERS)),
            rule=_normalize,
            example="ToTensor -> Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])",
        ),
        _nothing("ToImage", "Nothing: images are tensors `[C, H, W]` here from the start."),
        _nothing("PILToTensor", "Nothing: images are tensors `[C, H, W]` here from the start."),
        _nothing("ToPureTensor", "Nothing: what flows here is a tensor."),
        Transform(name="Identity", doc="Nothing.", settings=(), rule=lambda _, type_: type_, example="Identity"),
    )


def _nothing(name: str, doc: str) -> Transform:
    return Transform(name=name, doc=doc, settings=(), rule=unchanged(name), example=name)


def _to_tensor(_: Settings, type_: TensorType) -> TensorType:
    words = "an image u8[C, H, W]"
    if type_.dtype in FLOATING and type_.rank == 3:
        words += ", once, since what it makes is floating point"
    return TensorType("f32", image("ToTensor", type_, frozenset({"u8"}), words))


def _to_dtype(transform: str, dtype: Any, type_: TensorType, *, scale: bool) -> TensorType:
    dims = image(transform, type_, DTYPES)
    before, after = type_.dtype, str(dtype)
    if scale and before != after:
        if "bool" in (before, after):
            raise refuse(transform, f"true and false have no range that {before} could be carried over to {after} by")
        if (before, after) in _NOT_EXACT:
            raise refuse(transform, f"{before} has too few digits for the range of {after}")
    return TensorType(after, dims)


_NOT_EXACT: Final = frozenset({("f32", "i32"), ("f32", "i64"), ("f64", "i64")})
"""What torchvision refuses to scale."""

_ZERO: Final = {"f16": 2.0**-25, "bf16": 2.0**-134, "f32": 2.0**-150, "f64": 0.0}
"""The largest number that becomes 0 in a dtype."""


def _normalize(settings: Settings, type_: TensorType) -> TensorType:
    words = "an image f32[C, H, W], as `ToTensor` makes it"
    channels, _, _ = image("Normalize", type_, FLOATING, words)
    for what in ("mean", "std"):
        count = len(settings[what])
        if count != channels:
            given = f"{count} value{'' if count == 1 else 's'}"
            of = f"{channels} channel{'' if channels == 1 else 's'}"
            raise Fault(NormalizeChannels, what=what, given=given, found=str(type_), channels=of)
    if any(abs(deviation) <= _ZERO[type_.dtype] for deviation in settings["std"]):
        raise refuse("Normalize", "a standard deviation of 0 would divide by zero")
    return type_
