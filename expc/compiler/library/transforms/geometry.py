"""Transforms that move pixels: flips, borders, crops, and other sizes."""

from collections.abc import Mapping

from expc.compiler.dimensions import Size
from expc.compiler.errors.data import CropTooLarge
from expc.compiler.library.transforms.image import (
    BORDER,
    FILL,
    PADDING,
    PAIR,
    RESIZING,
    SIDE,
    SIDES,
    SIZE,
    SOME_SIDES,
    Settings,
    ascending,
    at_least,
    borders,
    check_fill,
    image,
    refuse,
    sides,
    unchanged,
    unknown_sides,
)
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import BOOL, PROBABILITY, either, optional
from expc.compiler.program import Transform
from expc.compiler.types import TensorType

_RESAMPLING = (
    Param("interpolation", RESIZING, "bilinear"),
    Param("antialias", optional(BOOL), True),
)


def geometry() -> tuple[Transform, ...]:
    """The family."""
    return (
        _flip("RandomHorizontalFlip", "The image mirrored left to right, or not."),
        _flip("RandomVerticalFlip", "The image mirrored top to bottom, or not."),
        Transform(
            name="Pad",
            doc="The image with a border.",
            settings=(
                Param("padding", PADDING, doc="all, [left and right, top and bottom], or [left, top, right, bottom]"),
                *BORDER,
            ),
            rule=_pad,
            example="Pad(2)",
            geometric=True,
        ),
        Transform(
            name="RandomZoomOut",
            doc="The image at a random place of a larger one, or as it is.",
            settings=(
                FILL,
                Param("side_range", PAIR, [1.0, 4.0], doc="how many times larger: [least, most]"),
                Param("p", PROBABILITY, 0.5, doc="how often"),
            ),
            rule=_zoom_out,
            example="RandomZoomOut(side_range=[1, 2]) -> CenterCrop(40)",
            random=True,
            geometric=True,
        ),
        *_crops(),
        *_resizes(),
    )


def _crops() -> tuple[Transform, ...]:
    return (
        Transform(
            name="RandomCrop",
            doc="A piece of the image at a random place.",
            settings=(
                Param("size", SIZE, doc="of the piece: one side of a square, or [height, width]"),
                Param("padding", optional(PADDING), None, doc="as in `Pad`, before the crop"),
                Param("pad_if_needed", BOOL, False, doc="pad images that are too small"),
                *BORDER,
            ),
            rule=_random_crop,
            example="RandomCrop(32, padding=4)",
            random=True,
            geometric=True,
        ),
        Transform(
            name="CenterCrop",
            doc="The middle of the image; images that are too small are padded with 0.",
            settings=(Param("size", SIZE, doc="one side of a square, or [height, width]"),),
            rule=_center_crop,
            example="CenterCrop(24)",
            geometric=True,
        ),
        Transform(
            name="RandomResizedCrop",
            doc="A piece of the image of random size, shape and place, in one size.",
            settings=(
                Param("size", SIZE, doc="what becomes of it: one side of a square, or [height, width]"),
                Param("scale", PAIR, [0.08, 1.0], doc="the piece's part of the image's area: [least, most]"),
                Param("ratio", PAIR, [3 / 4, 4 / 3], doc="its width by its height: [least, most]"),
                *_RESAMPLING,
            ),
            rule=_random_resized_crop,
            example="RandomResizedCrop(24)",
            random=True,
            geometric=True,
        ),
    )


def _resizes() -> tuple[Transform, ...]:
    interpolation, antialias = _RESAMPLING
    return (
        Transform(
            name="Resize",
            doc="The image in another size.",
            settings=(
                Param("size", optional(SIZE), doc="[height, width], or the smaller side: the shape then stays"),
                interpolation,
                Param("max_size", optional(SIDE), None, doc="the most that the larger side may be"),
                antialias,
            ),
            rule=_resize,
            example="Resize([64, 64])",
            geometric=True,
        ),
        Transform(
            name="RandomResize",
            doc="The image in a random size, its shape kept.",
            settings=(
                Param("min_size", SIDE, doc="the least that the smaller side may become"),
                Param("max_size", SIDE, doc="what it stays below"),
                *_RESAMPLING,
            ),
            rule=_random_resize,
            example="RandomResize(32, 48) -> RandomCrop(32)",
            random=True,
            geometric=True,
        ),
        Transform(
            name="RandomShortestSize",
            doc="The image with a smaller side of random size out of some, its shape kept.",
            settings=(
                Param("min_size", either(SIDE, SOME_SIDES), doc="sizes that the smaller side may become"),
                Param("max_size", optional(SIDE), None, doc="the most that the larger side may be"),
                *_RESAMPLING,
            ),
            rule=_random_shortest_size,
            example="RandomShortestSize([32, 40]) -> CenterCrop(32)",
            random=True,
            geometric=True,
        ),
        Transform(
            name="ScaleJitter",
            doc="The image fitted into a size and scaled at random, its shape kept.",
            settings=(
                Param("target_size", SIDES, doc="what the image is fitted into before it is scaled"),
                Param("scale_range", PAIR, [0.1, 2.0], doc="[least, most]"),
                *_RESAMPLING,
            ),
            rule=_scale_jitter,
            example="ScaleJitter([40, 40], scale_range=[1, 2]) -> CenterCrop(40)",
            random=True,
            geometric=True,
        ),
    )


def _flip(name: str, doc: str) -> Transform:
    return Transform(
        name=name,
        doc=doc,
        settings=(Param("p", PROBABILITY, 0.5, doc="how often"),),
        rule=unchanged(name),
        example=name,
        random=True,
        geometric=True,
    )


# ------------------------------------------------------------------------------------------------ crops and borders


def _center_crop(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = image("CenterCrop", type_)
    return type_.with_dims(channels, *sides(settings["size"]))


def _pad(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("Pad", type_)
    left, top, right, bottom = borders(settings["padding"])
    _check_border("Pad", settings, channels, {"height": (height, top, bottom), "width": (width, left, right)})
    return type_.with_dims(channels, height + top + bottom, width + left + right)


def _zoom_out(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("RandomZoomOut", type_)
    ascending("RandomZoomOut", "side_range", settings["side_range"], 1)
    check_fill("RandomZoomOut", settings, channels)
    most = settings["side_range"][1]
    upper = tuple(int(size * most) if isinstance(size, int) else None for size in (height, width))
    return unknown_sides(type_, (at_least(height), at_least(width)), (upper[0], upper[1]))


def _random_crop(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("RandomCrop", type_)
    left, top, right, bottom = borders(settings["padding"])
    piece = sides(settings["size"])
    sizes = {"height": (height, top, bottom, piece[0]), "width": (width, left, right, piece[1])}
    edges: dict[str, tuple[Size, int, int]] = {}
    for side, (size, before, after, wanted) in sizes.items():
        short = max(0, wanted - before - after - at_least(size))
        if short and not settings["pad_if_needed"]:
            padded = "" if settings["padding"] is None else " with padding"
            known = isinstance(height, int) and isinstance(width, int)
            found = f"{height} x {width}{padded}" if known else f"images that may be smaller: {type_}{padded}"
            raise Fault(CropTooLarge, transform="RandomCrop", size=f"{piece[0]} x {piece[1]}", found=found)
        edges[side] = (size, before + short, after + short)
    _check_border("RandomCrop", settings, channels, edges)
    return type_.with_dims(channels, *piece)


def _random_resized_crop(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = image("RandomResizedCrop", type_)
    ascending("RandomResizedCrop", "scale", settings["scale"], 0)
    ascending("RandomResizedCrop", "ratio", settings["ratio"])
    if settings["ratio"][0] <= 0:
        raise refuse("RandomResizedCrop", f"ratio must be above 0, and is {settings['ratio'][0]}")
    return type_.with_dims(channels, *sides(settings["size"]))


def _check_border(
    transform: str, settings: Settings, channels: Size, edges: Mapping[str, tuple[Size, int, int]]
) -> None:
    """Whether the border can be made: `edges` has each side's size, and the border before and after it."""
    fill, mode = settings["fill"], settings["padding_mode"]
    if isinstance(fill, list | tuple) and len(fill) != 1:
        if mode != "constant":
            raise refuse(transform, f'padding_mode="{mode}" takes no fill')
        check_fill(transform, settings, channels)
    if mode not in ("reflect", "symmetric"):
        return
    for side, (size, before, after) in edges.items():
        most = at_least(size) - (1 if mode == "reflect" else 0)
        if max(before, after) > most:
            reason = f'padding_mode="{mode}" can add at most {most} to a {side} of {size}, and not {max(before, after)}'
            raise refuse(transform, reason)


# ------------------------------------------------------------------------------------------------ sizes


def _resize(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("Resize", type_)
    size, limit = settings["size"], settings["max_size"]
    shorter = size if isinstance(size, int) or size is None else size[0] if len(size) == 1 else None
    if size is None and limit is None:
        raise refuse("Resize", "say a size, or a max_size for the larger side")
    if size is not None and shorter is None:
        if limit is not None:
            raise refuse("Resize", f"max_size is for a size that is one number, and not for [{size[0]}, {size[1]}]")
        return type_.with_dims(channels, *size)
    if shorter is not None and limit is not None and limit <= shorter:
        raise refuse("Resize", f"max_size={limit} must be greater than the size of the smaller side, {shorter}")
    if not isinstance(height, int) or not isinstance(width, int):
        least_side = shorter if shorter is not None and limit is None else 1
        return unknown_sides(type_, (least_side, least_side), (limit, limit))
    short, long = _scaled(min(height, width), max(height, width), shorter, limit)
    if short < 1:
        raise refuse("Resize", f"nothing would be left of an image of {height} x {width}: the smaller side becomes 0")
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


def _random_resize(settings: Settings, type_: TensorType) -> TensorType:
    image("RandomResize", type_)
    low, high = settings["min_size"], settings["max_size"]
    if low >= high:
        raise refuse("RandomResize", f"sizes go from min_size to below max_size: there is none from {low} to {high}")
    return unknown_sides(type_, (low, low))


def _random_shortest_size(settings: Settings, type_: TensorType) -> TensorType:
    _, height, width = image("RandomShortestSize", type_)
    given, limit = settings["min_size"], settings["max_size"]
    wanted = [given] if isinstance(given, int) else list(given)
    if not isinstance(height, int) or not isinstance(width, int):
        # Rounding may take one from the size that was asked for.
        low = max(1, min(wanted) - 1) if limit is None else 1
        return unknown_sides(type_, (low, low), (limit, limit))
    found = []
    for size in wanted:
        ratio = size / min(height, width)
        if limit is not None:
            ratio = min(ratio, limit / max(height, width))
        found.append((int(height * ratio), int(width * ratio)))
    heights, widths = zip(*found, strict=True)
    if min(heights) < 1 or min(widths) < 1:
        raise refuse("RandomShortestSize", f"nothing would be left of an image of {height} x {width}")
    if len(set(found)) == 1:
        return type_.with_dims(type_.dims[0], *found[0])
    return unknown_sides(type_, (min(heights), min(widths)), (max(heights), max(widths)))


def _scale_jitter(settings: Settings, type_: TensorType) -> TensorType:
    _, height, width = image("ScaleJitter", type_)
    ascending("ScaleJitter", "scale_range", settings["scale_range"])
    low, high = settings["scale_range"]
    if low <= 0:
        raise refuse("ScaleJitter", f"scale_range must be above 0, and is {low}")
    if not isinstance(height, int) or not isinstance(width, int):
        return unknown_sides(type_)
    tall, wide = settings["target_size"]
    fit = min(wide / height, tall / width)
    # One less at the lower end, since torchvision rounds in f32.
    least_sides = [int(side * fit * low * (1 - 1e-6)) for side in (height, width)]
    if min(int(side * fit * low * (1 + 1e-6)) for side in (height, width)) < 1:
        raise refuse("ScaleJitter", f"nothing would be left of an image of {height} x {width} that is scaled by {low}")
    upper = [int(side * fit * high * (1 + 1e-6)) for side in (height, width)]
    return unknown_sides(type_, (max(1, least_sides[0]), max(1, least_sides[1])), (upper[0], upper[1]))
