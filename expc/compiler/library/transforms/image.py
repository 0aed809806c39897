"""What transforms ask of an image and of their settings, and how torchvision reads sizes, borders and ranges."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from expc.compiler.dimensions import Size, least, symbol
from expc.compiler.errors.data import TransformMismatch, TransformSetting
from expc.compiler.ops.declare import Fault, Kind, Param
from expc.compiler.ops.kinds import FLOAT, choice, either, is_number, list_of, optional
from expc.compiler.types import DTYPES, TensorType

Settings = Mapping[str, Any]
Rule = Callable[[Settings, TensorType], TensorType]

IMAGE: Final = (DTYPES - {"bool"}, "an image [C, H, W]")
"""The dtypes of an image of any kind, and what it is in words."""


def _is_whole(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _whole(words: str, minimum: int, counts: tuple[int, ...]) -> Kind:
    def accepts(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return len(value) in counts and all(_is_whole(item, minimum) for item in value)
        return _is_whole(value, minimum)

    return Kind(words, accepts)


def _few(value: Any) -> bool:
    return is_number(value) or (isinstance(value, list | tuple) and len(value) in (1, 2) and all(map(is_number, value)))


SIDE: Final = _whole("a whole number of at least 1", 1, ())
SIZE: Final = _whole("a whole number of at least 1, or a list [height, width]", 1, (1, 2))
SIDES: Final = _whole("a list [height, width]", 1, (2,))
SOME_SIDES: Final = Kind(
    "a list of whole numbers of at least 1",
    lambda value: isinstance(value, list | tuple) and bool(value) and all(_is_whole(item, 1) for item in value),
)
PADDING: Final = _whole("a whole number of at least 0, or a list of 1, 2 or 4 of them", 0, (1, 2, 4))
NUMBERS: Final = list_of(FLOAT)
PAIR: Final = Kind(
    "a list [least, most]",
    lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)),
)
SPAN: Final = either(FLOAT, PAIR)
ONE_OR_TWO: Final = Kind("a number, or a list of 1 or 2 of them", _few)
RESIZING: Final = choice("nearest", "nearest-exact", "bilinear", "bicubic")
WARPING: Final = choice("nearest", "bilinear")
FILL: Final = Param("fill", optional(either(FLOAT, NUMBERS)), 0, doc="the border's value, or one for each channel")
BORDER: Final = (
    FILL,
    Param(
        "padding_mode",
        choice("constant", "edge", "reflect", "symmetric"),
        "constant",
        doc="what the border consists of",
    ),
)


def sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width as torchvision reads them: one number, a list of one, or a list of two."""
    given = (size,) if isinstance(size, int) else tuple(size)
    return given[0], given[-1]


def borders(padding: int | list[int] | tuple[int, ...] | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom as torchvision reads them: one number, or a list of one, two or four."""
    given = (padding or 0,) if isinstance(padding, int | None) else tuple(padding)
    left, top = given[0], given[1 % len(given)]
    return given if len(given) == 4 else (left, top, left, top)


def image(
    transform: str, type_: TensorType, dtypes: frozenset[str] = IMAGE[0], words: str = IMAGE[1]
) -> tuple[Size, Size, Size]:
    """Channels, height and width of an image. Raises `Fault` where it is none, or of another dtype."""
    if type_.rank != 3 or type_.dtype not in dtypes or type_.classes is not None:
        raise Fault(TransformMismatch, transform=transform, expected=words, found=str(type_))
    channels, height, width = type_.dims
    return channels, height, width


def coloured(transform: str, type_: TensorType, counts: tuple[int, ...] = (1, 3)) -> tuple[Size, Size, Size]:
    """The same of an image in grey or in colour. Raises `Fault` where it has another number of channels."""
    found = image(transform, type_)
    if found[0] not in counts:
        words = " or ".join(map(str, counts))
        raise Fault(TransformMismatch, transform=transform, expected=f"an image of {words} channels", found=str(type_))
    return found


def refuse(transform: str, reason: str) -> Fault:
    """A setting that is impossible, by itself or for this image."""
    return Fault(TransformSetting, transform=transform, reason=reason)


def ascending(transform: str, name: str, values: Any, least_value: float | None = None) -> None:
    """The first of two numbers must not be above the second, nor below `least_value`."""
    low, high = values
    if low > high:
        raise refuse(transform, f"{name} is [least, most], and {low} is more than {high}")
    if least_value is not None and low < least_value:
        raise refuse(transform, f"{name} cannot be below {least_value}, and is {low}")


def around(transform: str, name: str, value: Any, center: float = 0.0) -> tuple[float, float]:
    """The range that torchvision reads from one number, or from [least, most]."""
    if not isinstance(value, list | tuple):
        if value < 0:
            raise refuse(transform, f"{name} as one number cannot be below 0, and is {value}; or write [least, most]")
        return center - value, center + value
    ascending(transform, name, value)
    return value[0], value[1]


def check_fill(transform: str, settings: Settings, channels: Size) -> None:
    """A list of values must have one for each channel."""
    fill = settings["fill"]
    if isinstance(fill, list | tuple) and len(fill) not in (1, channels):
        raise refuse(transform, f"fill has {len(fill)} values, but the image has {channels} channels")


def check_blur(transform: str, type_: TensorType, kernel: tuple[int, int]) -> None:
    """A blur over `kernel` (width, height) adds a reflection as border, so the image must be larger than that."""
    _, height, width = type_.dims
    for side, size, over in (("width", width, kernel[0]), ("height", height, kernel[1])):
        if at_least(size) <= over // 2:
            reason = f"a blur over {over} pixels needs a {side} of at least {over // 2 + 1}"
            raise refuse(transform, f"{reason}, and {type_} {'has' if isinstance(size, int) else 'may have'} less")


def at_least(size: Size) -> int:
    """A lower bound of a side."""
    bound = least(size)
    return 1 if bound is None else int(bound)


def unknown_sides(
    type_: TensorType, lower: tuple[int, int] = (1, 1), upper: tuple[int | None, int | None] = (None, None)
) -> TensorType:
    """The image in a size that differs from sample to sample."""
    (h, w), (top, wide) = lower, upper
    return type_.with_dims(type_.dims[0], symbol("H'", lower=h, upper=top), symbol("W'", lower=w, upper=wide))


def unchanged(name: str) -> Rule:
    """The rule of a transform that gives an image of any kind as it is."""

    def rule(_: Settings, type_: TensorType) -> TensorType:
        image(name, type_)
        return type_

    return rule
