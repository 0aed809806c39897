"""The random parameters of torchvision's transforms, as `make_params` of each would give them to its `transform`.

They have torchvision's distributions, and depend on nothing but the sample's own stream of numbers.
"""

from collections.abc import Callable, Mapping
from math import exp, log, sqrt
from typing import Any, Final

import numpy as np
import torch

from expc.compiler.library.transforms.colour import factors
from expc.compiler.library.transforms.image import around
from expc.compiler.library.transforms.warping import two
from expc.compiler.lower.torchvision import import_torchvision
from expc.runtime.data.randomness import Stream

Settings = Mapping[str, Any]
Extent = tuple[int, int, int]
"""Channels, height and width of an image."""
Parameters = dict[str, Any]

_ATTEMPTS: Final = 10
"""How often torchvision tries to fit a random rectangle into an image."""


def _resized_crop(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    _, height, width = extent
    low, high = settings["ratio"]
    for _ in range(_ATTEMPTS):
        area = height * width * stream.uniform(*settings["scale"])
        ratio = exp(stream.uniform(log(low), log(high)))
        w, h = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return {
                "top": stream.below(height - h + 1),
                "left": stream.below(width - w + 1),
                "height": h,
                "width": w,
            }
    h, w = height, width
    if width / height < low:
        h = round(width / low)
    elif width / height > high:
        w = round(height * high)
    return {"top": (height - h) // 2, "left": (width - w) // 2, "height": h, "width": w}


def _rotation(settings: Settings, stream: Stream, _: Extent) -> Parameters:
    return {"angle": stream.uniform(*around("RandomRotation", "degrees", settings["degrees"]))}


def _affine(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    _, height, width = extent
    angle = stream.uniform(*around("RandomAffine", "degrees", settings["degrees"]))
    translate = (0, 0)
    if settings["translate"] is not None:
        most = (settings["translate"][0] * width, settings["translate"][1] * height)
        translate = (round(stream.uniform(-most[0], most[0])), round(stream.uniform(-most[1], most[1])))
    scale = 1.0 if settings["scale"] is None else stream.uniform(*settings["scale"])
    shear, given = (0.0, 0.0), settings["shear"]
    if isinstance(given, list | tuple) and len(given) == 4:
        shear = (stream.uniform(*given[:2]), stream.uniform(*given[2:]))
    elif given is not None:
        shear = (stream.uniform(*around("RandomAffine", "shear", given)), 0.0)
    return {"angle": angle, "translate": translate, "scale": scale, "shear": shear}


def _perspective(settings: Settings, stream: Stream, extent: Extent) -> Parameters | None:
    if stream.uniform() >= settings["p"]:
        return None
    _, height, width = extent
    wide = int(settings["distortion_scale"] * (width // 2)) + 1
    high = int(settings["distortion_scale"] * (height // 2)) + 1
    corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    moved = [
        [stream.below(wide), stream.below(high)],
        [width - wide + stream.below(wide), stream.below(high)],
        [width - wide + stream.below(wide), height - high + stream.below(high)],
        [stream.below(wide), height - high + stream.below(high)],
    ]
    import_torchvision()
    from torchvision.transforms.functional import _get_perspective_coeffs

    return {"coefficients": _get_perspective_coeffs(corners, moved)}


def _elastic(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    import_torchvision()
    from torchvision.transforms.v2.functional import gaussian_blur

    _, height, width = extent
    sigma = two(settings["sigma"])
    parts = []
    for over, by, side in zip(sigma, two(settings["alpha"]), (width, height), strict=True):
        field = torch.from_numpy(stream.field(height * width)).float().reshape(1, 1, height, width) * 2 - 1
        if over > 0:
            kernel = int(8 * over + 1) | 1
            field = gaussian_blur(field, [kernel, kernel], list(sigma))
        parts.append(field * by / side)
    return {"displacement": torch.concat(parts, 1).permute(0, 2, 3, 1)}


def _zoom_out(settings: Settings, stream: Stream, extent: Extent) -> Parameters | None:
    if stream.uniform() >= settings["p"]:
        return None
    _, height, width = extent
    ratio = stream.uniform(*settings["side_range"])
    wide, high = int(width * ratio), int(height * ratio)
    left, top = int((wide - width) * stream.uniform()), int((high - height) * stream.uniform())
    return {"padding": [left, top, wide - left - width, high - top - height]}


def _random_resize(settings: Settings, stream: Stream, _: Extent) -> Parameters:
    low = settings["min_size"]
    return {"size": [low + stream.below(settings["max_size"] - low)]}


def _shortest_size(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    _, height, width = extent
    given = settings["min_size"]
    sizes = [given] if isinstance(given, int) else given
    ratio = sizes[stream.below(len(sizes))] / min(height, width)
    if settings["max_size"] is not None:
        ratio = min(ratio, settings["max_size"] / max(height, width))
    return {"size": (int(height * ratio), int(width * ratio))}


def _scale_jitter(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    _, height, width = extent
    tall, wide = settings["target_size"]
    ratio = min(wide / height, tall / width) * stream.uniform(*settings["scale_range"])
    return {"size": (int(height * ratio), int(width * ratio))}


_FACTORS: Final = ("brightness", "contrast", "saturation", "hue")


def _color_jitter(settings: Settings, stream: Stream, _: Extent) -> Parameters:
    drawn: Parameters = {"fn_idx": stream.permutation(4)}
    for name in _FACTORS:
        span = factors(name, settings[name])
        drawn[f"{name}_factor"] = None if span is None else stream.uniform(*span)
    return drawn


def _photometric_distort(settings: Settings, stream: Stream, extent: Extent) -> Parameters:
    drawn: Parameters = {
        f"{name}_factor": stream.uniform(*settings[name]) if stream.uniform() < settings["p"] else None
        for name in _FACTORS
    }
    drawn["contrast_before"] = stream.uniform() < 0.5
    shuffled = stream.uniform() < settings["p"]
    drawn["channel_permutation"] = torch.tensor(stream.permutation(extent[0])) if shuffled else None
    return drawn


def _channel_permutation(_: Settings, stream: Stream, extent: Extent) -> Parameters:
    return {"permutation": torch.tensor(stream.permutation(extent[0]))}


def _blur(settings: Settings, stream: Stream, _: Extent) -> Parameters:
    sigma = stream.uniform(*two(settings["sigma"]))
    return {"sigma": [sigma, sigma]}


def _sharpness(settings: Settings, stream: Stream, _: Extent) -> Parameters | None:
    return {} if stream.uniform() < settings["p"] else None


def _erasing(settings: Settings, stream: Stream, extent: Extent) -> Parameters | None:
    if stream.uniform() >= settings["p"]:
        return None
    channels, height, width = extent
    low, high = settings["ratio"]
    for _ in range(_ATTEMPTS):
        area = height * width * stream.uniform(*settings["scale"])
        ratio = exp(stream.uniform(log(low), log(high)))
        h, w = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if h < height and w < width:
            place = {"i": stream.below(height - h + 1), "j": stream.below(width - w + 1), "h": h, "w": w}
            return {**place, "v": _painted(settings["value"], stream, (channels, h, w))}
    return None


def _painted(value: Any, stream: Stream, extent: Extent) -> torch.Tensor:
    """What a rectangle is painted with: noise, or a value for each channel."""
    if value == "random":
        uniform = torch.from_numpy(stream.field(int(np.prod(extent))))
        noise: torch.Tensor = torch.special.ndtri(uniform).float().reshape(extent)
        return noise
    values = value if isinstance(value, list | tuple) else [value]
    return torch.tensor([float(number) for number in values])[:, None, None]


DRAW: Final[Mapping[str, Callable[[Settings, Stream, Extent], Parameters | None]]] = {
    "RandomResizedCrop": _resized_crop,
    "RandomRotation": _rotation,
    "RandomAffine": _affine,
    "RandomPerspective": _perspective,
    "ElasticTransform": _elastic,
    "RandomZoomOut": _zoom_out,
    "RandomResize": _random_resize,
    "RandomShortestSize": _shortest_size,
    "ScaleJitter": _scale_jitter,
    "ColorJitter": _color_jitter,
    "RandomPhotometricDistort": _photometric_distort,
    "RandomChannelPermutation": _channel_permutation,
    "GaussianBlur": _blur,
    "RandomAdjustSharpness": _sharpness,
    "RandomErasing": _erasing,
}
"""For each transform what it draws for one image; none where the image stays as it is."""
