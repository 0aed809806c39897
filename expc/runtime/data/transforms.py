"""What transforms do to a batch of images `[B, C, H, W]`, or to one image as a batch of one.

The work is torchvision's; only the random parameters are drawn here, for each sample by itself.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from expc.compiler.transforms import borders, sides
from expc.runtime.data.randomness import Draws
from expc.runtime.torchvision_compat import import_torchvision

Settings = Mapping[str, Any]


def apply(name: str, images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    """The transform called `name` on `images`, one random number or more from `draws` for each of them."""
    return _RUN[name](images, settings, draws)


@cache
def _functional() -> Any:
    import_torchvision()
    from torchvision.transforms.v2 import functional

    return functional


def _to_tensor(images: Tensor, _: Settings, __: Draws) -> Tensor:
    return images.to(torch.float32).div_(255)


def _normalize(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    return _functional().normalize(images, settings["mean"], settings["std"])  # type: ignore[no-any-return]


def _center_crop(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    return _functional().center_crop(images, list(sides(settings["size"])))  # type: ignore[no-any-return]


def _resize(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    size = settings["size"]
    return _functional().resize(  # type: ignore[no-any-return]
        images,
        [size] if isinstance(size, int) else size,
        interpolation=_interpolation(settings["interpolation"]),
        max_size=settings["max_size"],
        antialias=settings["antialias"],
    )


def _interpolation(name: str) -> Any:
    import_torchvision()
    from torchvision.transforms import InterpolationMode

    return InterpolationMode(name)


def _pad(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    return _with_border(images, settings, borders(settings["padding"]))


def _with_border(images: Tensor, settings: Settings, border: tuple[int, int, int, int]) -> Tensor:
    if not any(border):
        return images
    fill, mode = settings["fill"], settings["padding_mode"]
    return _functional().pad(images, list(border), fill=fill, padding_mode=mode)  # type: ignore[no-any-return]


def _random_crop(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    height, width = sides(settings["size"])
    left, top, right, bottom = borders(settings["padding"])
    if settings["pad_if_needed"]:
        short = max(0, height - top - bottom - images.shape[-2])
        narrow = max(0, width - left - right - images.shape[-1])
        left, top, right, bottom = left + narrow, top + short, right + narrow, bottom + short
    images = _with_border(images, settings, (left, top, right, bottom))
    tops, lefts = draws.below(images.shape[-2] - height + 1, images.shape[-1] - width + 1)
    pieces = images.unfold(2, height, 1).unfold(3, width, 1)
    return pieces[torch.arange(len(images)), :, torch.from_numpy(tops), torch.from_numpy(lefts)]


def _random_flip(dim: int) -> Callable[[Tensor, Settings, Draws], Tensor]:
    def flip(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
        chosen = torch.from_numpy(draws.uniform() < settings["p"])
        return torch.where(chosen[:, None, None, None], images.flip(dim), images)

    return flip


_RUN: Mapping[str, Callable[[Tensor, Settings, Draws], Tensor]] = {
    "ToTensor": _to_tensor,
    "Normalize": _normalize,
    "RandomCrop": _random_crop,
    "CenterCrop": _center_crop,
    "Resize": _resize,
    "RandomHorizontalFlip": _random_flip(-1),
    "RandomVerticalFlip": _random_flip(-2),
    "Pad": _pad,
}
