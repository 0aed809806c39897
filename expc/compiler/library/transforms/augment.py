"""Transforms that blur, disturb and hide parts of an image, and the automatic policies made of many transforms."""

from typing import Any

from expc.compiler.errors.data import TransformMismatch
from expc.compiler.library.transforms.image import (
    FILL,
    NUMBERS,
    ONE_OR_TWO,
    PAIR,
    SIZE,
    WARPING,
    Rule,
    Settings,
    ascending,
    check_blur,
    check_fill,
    coloured,
    image,
    refuse,
    sides,
)
from expc.compiler.library.transforms.warping import two
from expc.compiler.ops.declare import Fault, Kind, Param
from expc.compiler.ops.kinds import (
    BOOL,
    FLOAT,
    NATURAL,
    POSITIVE,
    PROBABILITY,
    choice,
    either,
    integer,
    number,
)
from expc.compiler.program import Transform
from expc.compiler.types import FLOATING, TensorType

_FILL = Param(FILL.name, FILL.kind, None, doc=FILL.doc)


def augmentations() -> tuple[Transform, ...]:
    """The family."""
    return (
        Transform(
            name="GaussianBlur",
            doc="The image blurred, by a random amount.",
            settings=(
                Param("kernel_size", SIZE, doc="odd: over how many pixels, or [width, height]"),
                Param("sigma", ONE_OR_TWO, [0.1, 2.0], doc="by how much, or [least, most]"),
            ),
            rule=_blur,
            example="GaussianBlur(5)",
            random=True,
        ),
        Transform(
            name="GaussianNoise",
            doc="Noise added to each pixel, in parts of the image's range.",
            settings=(
                Param("mean", FLOAT, 0.0),
                Param("sigma", number(0), 0.1),
                Param("clip", BOOL, True, doc="keep the image in its range"),
            ),
            rule=_noise,
            example="ToTensor -> GaussianNoise(sigma=0.05)",
            random=True,
        ),
        Transform(
            name="JPEG",
            doc="What JPEG leaves of the image.",
            settings=(Param("quality", _QUALITY, doc="from 1 to 100, or [least, most]"),),
            rule=_jpeg,
            example="JPEG([40, 90])",
            random=True,
        ),
        Transform(
            name="RandomErasing",
            doc="A random rectangle of the image painted over, or none.",
            settings=(
                Param("p", PROBABILITY, 0.5, doc="how often"),
                Param("scale", PAIR, [0.02, 0.33], doc="its part of the image's area: [least, most]"),
                Param("ratio", PAIR, [0.3, 3.3], doc="its height by its width: [least, most]"),
                Param("value", either(FLOAT, NUMBERS, choice("random")), 0.0, doc="one, one a channel, or noise"),
            ),
            rule=_erasing,
            example="ToTensor -> RandomErasing",
            random=True,
        ),
        Transform(
            name="RandAugment",
            doc="Some random ones out of fourteen transforms, all of one strength.",
            settings=(
                Param("num_ops", NATURAL, 2, doc="how many"),
                Param("magnitude", NATURAL, 9, doc="their strength, counted from 0"),
                Param("num_magnitude_bins", integer(2), 31, doc="how many strengths there are"),
                Param("interpolation", WARPING, "nearest"),
                _FILL,
            ),
            rule=_rand_augment,
            example="RandAugment(magnitude=7)",
            random=True,
        ),
        Transform(
            name="TrivialAugmentWide",
            doc="One random transform out of fourteen, of random strength.",
            settings=(
                Param("num_magnitude_bins", integer(2), 31, doc="how many strengths there are"),
                Param("interpolation", WARPING, "nearest"),
                _FILL,
            ),
            rule=_policy("TrivialAugmentWide"),
            example="TrivialAugmentWide",
            random=True,
        ),
        Transform(
            name="AutoAugment",
            doc="A random pair of transforms out of 25 that were found to be good for a data set.",
            settings=(
                Param("policy", choice("imagenet", "cifar10", "svhn"), "imagenet", doc="the data set"),
                Param("interpolation", WARPING, "nearest"),
                _FILL,
            ),
            rule=_policy("AutoAugment"),
            example='AutoAugment("cifar10")',
            random=True,
        ),
        Transform(
            name="AugMix",
            doc="A random mixture of the image with random chains of transforms of it.",
            settings=(
                Param("severity", integer(1, 10), 3, doc="the most that the transforms do"),
                Param("mixture_width", POSITIVE, 3, doc="how many chains"),
                Param("chain_depth", integer(), -1, doc="how long they are; below 1: a random length of 1 to 3"),
                Param("alpha", number(), 1.0, doc="above 0: larger ones mix more evenly"),
                Param("all_ops", BOOL, True, doc="with brightness, contrast, colour and sharpness"),
                Param("interpolation", WARPING, "bilinear"),
                _FILL,
            ),
            rule=_augmix,
            example="AugMix(severity=2)",
            random=True,
        ),
    )


def _is_quality(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100


_QUALITY = Kind(
    "a whole number from 1 to 100, or a list of two",
    lambda value: (
        _is_quality(value) or (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_quality, value)))
    ),
)


def _blur(settings: Settings, type_: TensorType) -> TensorType:
    image("GaussianBlur", type_)
    kernel = sides(settings["kernel_size"])
    if not all(size % 2 for size in kernel):
        raise refuse("GaussianBlur", f"kernel_size must be odd, to have a middle, and is {settings['kernel_size']}")
    sigma = two(settings["sigma"])
    ascending("GaussianBlur", "sigma", sigma)
    if sigma[0] <= 0:
        raise refuse("GaussianBlur", f"sigma must be above 0, and is {sigma[0]}")
    check_blur("GaussianBlur", type_, kernel)
    return type_


def _noise(_: Settings, type_: TensorType) -> TensorType:
    image("GaussianNoise", type_, FLOATING | {"u8"}, "an image [C, H, W] of u8 or floating point")
    return type_


def _jpeg(settings: Settings, type_: TensorType) -> TensorType:
    coloured("JPEG", type_)
    image("JPEG", type_, frozenset({"u8"}), "an image u8[C, H, W]")
    if not isinstance(settings["quality"], int):
        ascending("JPEG", "quality", settings["quality"])
    return type_


def _erasing(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = image("RandomErasing", type_)
    ascending("RandomErasing", "scale", settings["scale"], 0)
    ascending("RandomErasing", "ratio", settings["ratio"])
    if settings["scale"][1] > 1:
        raise refuse("RandomErasing", f"scale is a part of the image's area, and {settings['scale'][1]} is more than 1")
    if settings["ratio"][0] <= 0:
        raise refuse("RandomErasing", f"ratio must be above 0, and is {settings['ratio'][0]}")
    value = settings["value"]
    if isinstance(value, list | tuple) and len(value) not in (1, channels):
        raise refuse("RandomErasing", f"value has {len(value)} numbers, but the image has {channels} channels")
    return type_


def _policy(name: str) -> Rule:
    def rule(settings: Settings, type_: TensorType) -> TensorType:
        channels, _, _ = coloured(name, type_)
        if type_.dtype == "i64":
            words = "an image of whole numbers of at most 32 bits, or of floating point"
            raise Fault(TransformMismatch, transform=name, expected=words, found=str(type_))
        check_fill(name, settings, channels)
        return type_

    return rule


def _rand_augment(settings: Settings, type_: TensorType) -> TensorType:
    magnitude, bins = settings["magnitude"], settings["num_magnitude_bins"]
    if magnitude >= bins:
        raise refuse("RandAugment", f"magnitude counts from 0 to below num_magnitude_bins={bins}, and is {magnitude}")
    return _policy("RandAugment")(settings, type_)


def _augmix(settings: Settings, type_: TensorType) -> TensorType:
    if settings["alpha"] <= 0:
        raise refuse("AugMix", f"alpha must be above 0, and is {settings['alpha']}")
    return _policy("AugMix")(settings, type_)
