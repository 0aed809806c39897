"""The table of transforms: settings as in `torchvision.transforms.v2`, and what each makes of an image's type.

Images are `u8[C, H, W]` until `ToTensor`, then `f32`. `H` and `W` may be unknown, with a lower bound that `Resize`
gives, so that `Resize(256) -> RandomCrop(224)` is known to be right for images of every size.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from expc.compiler.dimensions import Size, least, symbol
from expc.compiler.errors.data import CropTooLarge, NormalizeChannels, TransformMismatch, TransformSetting
from expc.compiler.ops.declare import Fault, Kind, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, PROBABILITY, choice, either, list_of, optional
from expc.compiler.program import Transform
from expc.compiler.types import FLOATING, TensorType

Settings = Mapping[str, Any]


@cache
def transforms() -> Mapping[str, Transform]:
    """Every transform by name."""
    table = (
        Transform(
            name="ToTensor",
            doc="The image's numbers from 0 to 255 as f32 from 0 to 1.",
            settings=(),
            rule=_to_tensor,
            example="ToTensor",
        ),
        Transform(
            name="Normalize",
            doc="Subtracts a mean from each channel and divides by a standard deviation.",
            settings=(Param("mean", _NUMBERS), Param("std", _NUMBERS)),
            rule=_normalize,
            example="ToTensor -> Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])",
        ),
        Transform(
            name="RandomCrop",
            doc="A piece of the image at a random place.",
            settings=(
                Param("size", _SIZE, doc="of the piece: one side of a square, or [height, width]"),
                Param("padding", optional(_PADDING), None, doc="as in `Pad`, before the crop"),
                Param("pad_if_needed", BOOL, False, doc="pad images that are too small"),
                *_FILL,
            ),
            rule=_random_crop,
            example="RandomCrop(32, padding=4)",
            geometric=True,
            random=True,
        ),
        Transform(
            name="CenterCrop",
            doc="The middle of the image; images that are too small are padded with 0.",
            settings=(Param("size", _SIZE, doc="one side of a square, or [height, width]"),),
            rule=_center_crop,
            example="CenterCrop(24)",
            geometric=True,
        ),
        Transform(
            name="Resize",
            doc="The image in another size.",
            settings=(
                Param("size", optional(_SIZE), doc="[height, width], or the smaller side: the shape then stays"),
                Param("interpolation", _INTERPOLATION, "bilinear"),
                Param("max_size", optional(_SIDE), None, doc="the most that the larger side may be"),
                Param("antialias", optional(BOOL), True),
            ),
            rule=_resize,
            example="Resize([64, 64])",
            geometric=True,
        ),
        Transform(
            name="RandomHorizontalFlip",
            doc="The image mirrored left to right, or not.",
            settings=(Param("p", PROBABILITY, 0.5, doc="how often"),),
            rule=_flip("RandomHorizontalFlip"),
            example="RandomHorizontalFlip",
            geometric=True,
            random=True,
        ),
        Transform(
            name="RandomVerticalFlip",
            doc="The image mirrored top to bottom, or not.",
            settings=(Param("p", PROBABILITY, 0.5, doc="how often"),),
            rule=_flip("RandomVerticalFlip"),
            example="RandomVerticalFlip",
            geometric=True,
            random=True,
        ),
        Transform(
            name="Pad",
            doc="The image with a border.",
            settings=(
                Param("padding", _PADDING, doc="all, [left and right, top and bottom], or [left, top, right, bottom]"),
                *_FILL,
            ),
            rule=_pad,
            example="Pad(2)",
            geometric=True,
        ),
    )
    return {transform.name: transform for transform in table}


def sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width as torchvision reads them: one number, a list of one, or a list of two."""
    given = (size,) if isinstance(size, int) else tuple(size)
    return given[0], given[-1]


def borders(padding: int | list[int] | tuple[int, ...] | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom as torchvision reads them: one number, or a list of one, two or four."""
    given = (padding or 0,) if isinstance(padding, int | None) else tuple(padding)
    left, top = given[0], given[1 % len(given)]
    return given if len(given) == 4 else (left, top, left, top)


def _is_whole(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _whole(words: str, minimum: int, counts: tuple[int, ...]) -> Kind:
    def accepts(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return len(value) in counts and all(_is_whole(item, minimum) for item in value)
        return _is_whole(value, minimum)

    return Kind(words, accepts)


_SIDE: Final = _whole("a whole number of at least 1", 1, ())
_SIZE: Final = _whole("a whole number of at least 1, or a list [height, width]", 1, (1, 2))
_PADDING: Final = _whole("a whole number of at least 0, or a list of 1, 2 or 4 of them", 0, (1, 2, 4))
_NUMBERS: Final = list_of(FLOAT)
_MODE: Final = choice("constant", "edge", "reflect", "symmetric")
_INTERPOLATION: Final = choice("nearest", "nearest-exact", "bilinear", "bicubic")
_FILL: Final = (
    Param("fill", optional(either(FLOAT, _NUMBERS)), 0, doc="the border's value, or one for each channel"),
    Param("padding_mode", _MODE, "constant", doc="what the border consists of"),
)


# ------------------------------------------------------------------------------------------------ rules


def _image(transform: str, type_: TensorType, dtypes: frozenset[str], words: str) -> tuple[Size, Size, Size]:
    if type_.rank != 3 or type_.dtype not in dtypes or type_.classes is not None:
        raise Fault(TransformMismatch, transform=transform, expected=words, found=str(type_))
    channels, height, width = type_.dims
    return channels, height, width


_ANY: Final = (FLOATING | {"u8"}, "an image [C, H, W] of u8 or floating point")


def _refuse(transform: str, reason: str) -> Fault:
    return Fault(TransformSetting, transform=transform, reason=reason)


def _to_tensor(_: Settings, type_: TensorType) -> TensorType:
    words = "an image u8[C, H, W]"
    if type_.dtype in FLOATING and type_.rank == 3:
        words += ", once, since what it makes is floating point"
    return TensorType("f32", _image("ToTensor", type_, frozenset({"u8"}), words))


def _normalize(settings: Settings, type_: TensorType) -> TensorType:
    words = "an image f32[C, H, W], as `ToTensor` makes it"
    channels, _, _ = _image("Normalize", type_, FLOATING - {"f16", "bf16"}, words)
    for what in ("mean", "std"):
        count = len(settings[what])
        if count != channels:
            given = f"{count} value{'' if count == 1 else 's'}"
            of = f"{channels} channel{'' if channels == 1 else 's'}"
            raise Fault(NormalizeChannels, what=what, given=given, found=str(type_), channels=of)
    if not all(settings["std"]):
        raise _refuse("Normalize", "a standard deviation of 0 would divide by zero")
    return type_


def _flip(name: str) -> Callable[[Settings, TensorType], TensorType]:
    def rule(_: Settings, type_: TensorType) -> TensorType:
        _image(name, type_, *_ANY)
        return type_

    return rule


def _center_crop(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = _image("CenterCrop", type_, *_ANY)
    return type_.with_dims(channels, *sides(settings["size"]))


def _pad(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = _image("Pad", type_, *_ANY)
    left, top, right, bottom = borders(settings["padding"])
    _check_border("Pad", settings, channels, {"height": (height, top, bottom), "width": (width, left, right)})
    return type_.with_dims(channels, height + top + bottom, width + left + right)


def _random_crop(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = _image("RandomCrop", type_, *_ANY)
    left, top, right, bottom = borders(settings["padding"])
    piece = sides(settings["size"])
    sizes = {"height": (height, top, bottom, piece[0]), "width": (width, left, right, piece[1])}
    edges: dict[str, tuple[Size, int, int]] = {}
    for side, (size, before, after, wanted) in sizes.items():
        short = max(0, wanted - before - after - _least(size))
        if short and not settings["pad_if_needed"]:
            padded = "" if settings["padding"] is None else " with padding"
            known = isinstance(height, int) and isinstance(width, int)
            found = f"{height} x {width}{padded}" if known else f"images that may be smaller: {type_}{padded}"
            raise Fault(CropTooLarge, transform="RandomCrop", size=f"{piece[0]} x {piece[1]}", found=found)
        edges[side] = (size, before + short, after + short)
    _check_border("RandomCrop", settings, channels, edges)
    return type_.with_dims(channels, *piece)


def _resize(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = _image("Resize", type_, frozenset({"u8", "f32", "f64"}), "an image u8 or f32[C, H, W]")
    size, limit = settings["size"], settings["max_size"]
    shorter = size if isinstance(size, int) or size is None else size[0] if len(size) == 1 else None
    if size is None and limit is None:
        raise _refuse("Resize", "say a size, or a max_size for the larger side")
    if size is not None and shorter is None:
        if limit is not None:
            raise _refuse("Resize", f"max_size is for a size that is one number, and not for [{size[0]}, {size[1]}]")
        return type_.with_dims(channels, *size)
    if shorter is not None and limit is not None and limit <= shorter:
        raise _refuse("Resize", f"max_size={limit} must be greater than the size of the smaller side, {shorter}")
    if not isinstance(height, int) or not isinstance(width, int):
        least_side = shorter if shorter is not None and limit is None else 1
        return type_.with_dims(
            channels, symbol("H'", lower=least_side, upper=limit), symbol("W'", lower=least_side, upper=limit)
        )
    short, long = _scaled(min(height, width), max(height, width), shorter, limit)
    if short < 1:
        raise _refuse("Resize", f"nothing would be left of an image of {height} x {width}: the smaller side becomes 0")
    return type_.with_dims(channels, *((long, short) if width <= height else (short, long)))


def _scaled(short: int, long: int, wanted: int | None, limit: int | None) -> tuple[int, int]:
    """The sides as torchvision computes them, rounding included."""
    if wanted is None:
        assert limit is not None  # noqa: S101 - one of both is given
        return int(limit * short / long), limit
    new_short, new_long = wanted, int(wanted * long / short)
    if limit is not None and new_long > limit:
        return int(limit * new_short / new_long), limit
    return new_short, new_long


def _check_border(
    transform: str, settings: Settings, channels: Size, edges: Mapping[str, tuple[Size, int, int]]
) -> None:
    """Whether the border can be made: `edges` has each side's size, and the border before and after it."""
    fill, mode = settings["fill"], settings["padding_mode"]
    if isinstance(fill, list | tuple) and len(fill) != 1:
        if mode != "constant":
            raise _refuse(transform, f'padding_mode="{mode}" takes no fill')
        if len(fill) != channels:
            raise _refuse(transform, f"fill has {len(fill)} values, but the image has {channels} channels")
    if mode not in ("reflect", "symmetric"):
        return
    for side, (size, before, after) in edges.items():
        most = _least(size) - (1 if mode == "reflect" else 0)
        if max(before, after) > most:
            reason = f'padding_mode="{mode}" can add at most {most} to a {side} of {size}, and not {max(before, after)}'
            raise _refuse(transform, reason)


def _least(size: Size) -> int:
    bound = least(size)
    return 1 if bound is None else int(bound)
