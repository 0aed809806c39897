"""Transforms that turn, shear and bend an image."""

from typing import Any

from expc.compiler.library.transforms.image import (
    FILL,
    ONE_OR_TWO,
    PAIR,
    SPAN,
    WARPING,
    Settings,
    around,
    ascending,
    at_least,
    check_blur,
    check_fill,
    image,
    refuse,
    unknown_sides,
)
from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import BOOL, FLOAT, PROBABILITY, either, list_of, optional
from expc.compiler.program import Transform
from expc.compiler.types import TensorType

_CENTER = Param("center", optional(PAIR), None, doc="[x, y] of the point that stays; none: the middle of the image")
_DEGREES = Param("degrees", SPAN, doc="of the angle: from -degrees to degrees, or [least, most]")


def warping() -> tuple[Transform, ...]:
    """The family."""
    return (
        Transform(
            name="RandomRotation",
            doc="The image turned by a random angle.",
            settings=(
                _DEGREES,
                Param("interpolation", WARPING, "nearest"),
                Param("expand", BOOL, False, doc="make the image large enough for all of the turned one"),
                _CENTER,
                FILL,
            ),
            rule=_rotation,
            example="RandomRotation(30)",
            random=True,
            geometric=True,
        ),
        Transform(
            name="RandomAffine",
            doc="The image turned, moved, scaled and sheared at random.",
            settings=(
                _DEGREES,
                Param("translate", optional(list_of(PROBABILITY, 2)), None, doc="at most, in parts of [width, height]"),
                Param("scale", optional(PAIR), None, doc="[least, most]"),
                Param(
                    "shear",
                    optional(either(SPAN, list_of(FLOAT, 4))),
                    None,
                    doc="degrees: along x from -shear to shear, [least, most], or the same of x and of y",
                ),
                Param("interpolation", WARPING, "nearest"),
                FILL,
                _CENTER,
            ),
            rule=_affine,
            example="RandomAffine(10, translate=[0.1, 0.1], scale=[0.9, 1.1])",
            random=True,
            geometric=True,
        ),
        Transform(
            name="RandomPerspective",
            doc="The image as if it were seen from a random side, or as it is.",
            settings=(
                Param("distortion_scale", PROBABILITY, 0.5, doc="how far corners move, as a part of half a side"),
                Param("p", PROBABILITY, 0.5, doc="how often"),
                Param("interpolation", WARPING, "bilinear"),
                FILL,
            ),
            rule=_perspective,
            example="RandomPerspective(0.3)",
            random=True,
            geometric=True,
        ),
        Transform(
            name="ElasticTransform",
            doc="The image as if seen through water: each pixel moves, and its neighbours with it.",
            settings=(
                Param("alpha", ONE_OR_TWO, 50.0, doc="how far, along x and along y"),
                Param("sigma", ONE_OR_TWO, 5.0, doc="how smoothly, along x and along y"),
                Param("interpolation", WARPING, "bilinear"),
                FILL,
            ),
            rule=_elastic,
            example="ElasticTransform(alpha=20, sigma=4)",
            random=True,
            geometric=True,
        ),
    )


def two(value: Any) -> tuple[float, float]:
    """One number, or a list of one or two, as two."""
    given = value if isinstance(value, list | tuple) else (value,)
    return float(given[0]), float(given[-1])


def _rotation(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("RandomRotation", type_)
    around("RandomRotation", "degrees", settings["degrees"])
    check_fill("RandomRotation", settings, channels)
    if not settings["expand"]:
        return type_
    # A turned rectangle is at least as high and wide as its smaller side.
    low = max(1, min(at_least(height), at_least(width)) - 1)
    return unknown_sides(type_, (low, low))


def _affine(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = image("RandomAffine", type_)
    around("RandomAffine", "degrees", settings["degrees"])
    scale, shear = settings["scale"], settings["shear"]
    if scale is not None:
        ascending("RandomAffine", "scale", scale)
        if scale[0] <= 0:
            raise refuse("RandomAffine", f"scale must be above 0, and is {scale[0]}")
    if isinstance(shear, list | tuple):
        for which, pair in (("x", shear[:2]), ("y", shear[2:])):
            if pair:
                ascending("RandomAffine", f"shear along {which}", pair)
    elif shear is not None:
        around("RandomAffine", "shear", shear)
    check_fill("RandomAffine", settings, channels)
    return type_


def _perspective(settings: Settings, type_: TensorType) -> TensorType:
    channels, height, width = image("RandomPerspective", type_)
    if 1 in (height, width):
        raise refuse("RandomPerspective", f"an image of {height} x {width} has no four corners to move")
    check_fill("RandomPerspective", settings, channels)
    return type_


def _elastic(settings: Settings, type_: TensorType) -> TensorType:
    channels, _, _ = image("ElasticTransform", type_)
    check_fill("ElasticTransform", settings, channels)
    sigma = two(settings["sigma"])
    if min(sigma) < 0 or (min(sigma) == 0) != (max(sigma) == 0):
        raise refuse("ElasticTransform", f"sigma must be above 0 along x and along y, or 0 along both, and is {sigma}")
    for over in sigma if max(sigma) else ():
        kernel = int(8 * over + 1) | 1
        check_blur("ElasticTransform", type_, (kernel, kernel))
    return type_
