"""Transforms that change colours."""

from collections.abc import Mapping
from typing import Any

from expc.compiler.errors.data import TransformMismatch
from expc.compiler.library.transforms.image import (
    PAIR,
    SPAN,
    Rule,
    Settings,
    around,
    ascending,
    coloured,
    image,
    refuse,
    unchanged,
)
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import PROBABILITY, integer, number, optional
from expc.compiler.program import Transform
from expc.compiler.types import FLOATING, TensorType

_P = Param("p", PROBABILITY, 0.5, doc="how often")
_ONE_OR_THREE = integer(1, 3)


def colours() -> tuple[Transform, ...]:
    """The family."""
    return (
        Transform(
            name="Grayscale",
            doc="The image in grey.",
            settings=(Param("num_output_channels", _ONE_OR_THREE, 1, doc="1, or 3 equal ones"),),
            rule=_grayscale,
            example="Grayscale",
        ),
        Transform(
            name="RGB",
            doc="The image in colour: of one channel, three equal ones.",
            settings=(),
            rule=_rgb,
            example="RGB",
        ),
        Transform(
            name="RandomGrayscale",
            doc="The image in grey with as many channels, or as it is.",
            settings=(Param("p", PROBABILITY, 0.1, doc="how often"),),
            rule=_in_colour("RandomGrayscale"),
            example="RandomGrayscale",
            random=True,
        ),
        Transform(
            name="ColorJitter",
            doc="Brightness, contrast, saturation and hue changed at random, in random order.",
            settings=tuple(
                Param(name, optional(SPAN), None, doc=f"{range_}, or [least, most]") for name, range_ in _JITTER.items()
            ),
            rule=_color_jitter,
            example="ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)",
            random=True,
        ),
        Transform(
            name="RandomPhotometricDistort",
            doc="Each of brightness, contrast, saturation, hue and the order of channels changed at random, or not.",
            settings=(
                Param("brightness", PAIR, [0.875, 1.125], doc="[least, most]"),
                Param("contrast", PAIR, [0.5, 1.5], doc="[least, most]"),
                Param("saturation", PAIR, [0.5, 1.5], doc="[least, most]"),
                Param("hue", PAIR, [-0.05, 0.05], doc="[least, most], from -0.5 to 0.5"),
                _P,
            ),
            rule=_photometric_distort,
            example="RandomPhotometricDistort",
            random=True,
        ),
        Transform(
            name="RandomChannelPermutation",
            doc="The channels in random order.",
            settings=(),
            rule=unchanged("RandomChannelPermutation"),
            example="RandomChannelPermutation",
            random=True,
        ),
        _sometimes("RandomInvert", "The image's negative, or the image as it is.", unchanged("RandomInvert")),
        _sometimes("RandomEqualize", "Each value about as often as any other, or not.", unchanged("RandomEqualize")),
        _sometimes(
            "RandomAutocontrast",
            "Each channel stretched to its whole range, or not.",
            _in_colour("RandomAutocontrast"),
        ),
        _sometimes(
            "RandomPosterize",
            "The image with fewer bits for each number, or as it is.",
            unchanged("RandomPosterize"),
            Param("bits", integer(0, 8), doc="how many are kept"),
            "RandomPosterize(4)",
        ),
        _sometimes(
            "RandomSolarize",
            "Numbers of at least a threshold inverted, or none.",
            _solarize,
            Param("threshold", number(), doc="in the image's own range: 0 to 255, or 0 to 1"),
            "RandomSolarize(128)",
        ),
        _sometimes(
            "RandomAdjustSharpness",
            "The image sharper or softer, or as it is.",
            _in_colour("RandomAdjustSharpness"),
            Param("sharpness_factor", number(0), doc="0 is blurred, 1 as it is, 2 twice as sharp"),
            "RandomAdjustSharpness(2)",
        ),
    )


def _sometimes(name: str, doc: str, rule: Rule, setting: Param | None = None, example: str | None = None) -> Transform:
    settings = (_P,) if setting is None else (setting, _P)
    return Transform(name=name, doc=doc, settings=settings, rule=rule, example=example or name, random=True)


_JITTER: Mapping[str, str] = {
    "brightness": "times 1 - brightness to 1 + brightness",
    "contrast": "times 1 - contrast to 1 + contrast",
    "saturation": "times 1 - saturation to 1 + saturation",
    "hue": "moved by -hue to hue, of at most 0.5",
}


def _in_colour(name: str) -> Rule:
    def rule(_: Settings, type_: TensorType) -> TensorType:
        coloured(name, type_)
        return type_

    return rule


def _grayscale(settings: Settings, type_: TensorType) -> TensorType:
    _, height, width = coloured("Grayscale", type_)
    count = settings["num_output_channels"]
    if count == 2:
        raise refuse("Grayscale", "num_output_channels is 1 or 3")
    return type_.with_dims(count, height, width)


def _rgb(_: Settings, type_: TensorType) -> TensorType:
    height, width = coloured("RGB", type_)[1:]
    return type_.with_dims(3, height, width)


def factors(name: str, value: Any, transform: str = "ColorJitter") -> tuple[float, float] | None:
    """The range of one of `ColorJitter`'s factors as torchvision reads it; none where it changes nothing."""
    if value is None:
        return None
    center = 0.0 if name == "hue" else 1.0
    low, high = around(transform, name, value, center)
    if name != "hue" and not isinstance(value, list | tuple):
        low = max(low, 0.0)
    if name == "hue" and (low < -0.5 or high > 0.5):
        raise refuse(transform, f"hue is from -0.5 to 0.5, and is {value}")
    if name != "hue" and low < 0:
        raise refuse(transform, f"{name} cannot be below 0, and is {low}")
    return None if low == high == center else (low, high)


def _color_jitter(settings: Settings, type_: TensorType) -> TensorType:
    image("ColorJitter", type_)
    found = {name: factors(name, settings[name]) for name in _JITTER}
    if any(found.values()):
        _check_jitter("ColorJitter", type_, hue=found["hue"] is not None)
    return type_


def _photometric_distort(settings: Settings, type_: TensorType) -> TensorType:
    for name in _JITTER:
        ascending("RandomPhotometricDistort", name, settings[name])
        factors(name, settings[name], "RandomPhotometricDistort")
    _check_jitter("RandomPhotometricDistort", type_, hue=True)
    return type_


def _check_jitter(transform: str, type_: TensorType, *, hue: bool) -> None:
    channels = coloured(transform, type_)[0]
    if hue and channels == 3 and type_.dtype in ("i32", "i64"):
        words = "an image of u8 or floating point, to change its hue"
        raise Fault(TransformMismatch, transform=transform, expected=words, found=str(type_))


def _solarize(settings: Settings, type_: TensorType) -> TensorType:
    image("RandomSolarize", type_)
    bits = {"u8": 8, "i8": 7, "i16": 15, "i32": 31, "i64": 63}
    most = 1 if type_.dtype in FLOATING else 2 ** bits[type_.dtype] - 1
    if settings["threshold"] > most:
        raise refuse("RandomSolarize", f"numbers of {type_} go to {most}, so none reaches {settings['threshold']}")
    return type_
