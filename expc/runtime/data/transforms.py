"""What transforms do to a batch of images `[B, C, H, W]`, or to one image as a batch of one.

The work is torchvision's; only the random parameters are drawn here, for each sample by itself (`parameters.py`). What
is done to many images at once gives each of them the same numbers as if it were alone.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from expc.compiler.library.transforms import borders, sides
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.types import TORCH_NAMES
from expc.frozen import dataclass
from expc.runtime.data.parameters import DRAW
from expc.runtime.data.policies import POLICIES
from expc.runtime.data.randomness import Draws, beside

Settings = Mapping[str, Any]


def apply(name: str, images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    """The transform called `name` on `images`, one random number or more from `draws` for each of them."""
    return _RUN[name](images, settings, draws)


@dataclass(frozen=True)
class Inner:
    """A transform inside a transform."""

    name: str
    settings: Settings


def plain(settings: Settings) -> dict[str, Any]:
    """Settings without declarations, which cannot be sent to other processes: transforms in them by name."""
    return {
        name: tuple(tuple(Inner(use.name, plain(use.settings)) for use in chain) for chain in value)
        if name == "transforms"
        else value
        for name, value in settings.items()
    }


def varies(name: str, settings: Settings) -> bool:
    """Whether images of one size may be of several sizes afterwards, so that each must go through alone."""
    if name == "RandomRotation":
        return bool(settings["expand"])
    if name in ("RandomApply", "RandomChoice"):
        inner = [use for chain in settings["transforms"] for use in chain]
        return any(use.name in _RESIZING or varies(use.name, use.settings) for use in inner)
    return name in _VARYING


def batched(name: str, settings: Settings) -> bool:
    """Whether a batch goes through at once, on any device; else image by image, which is work for a processor."""
    if name in ("RandomApply", "RandomChoice"):
        inner = (use for chain in settings["transforms"] for use in chain)
        return not varies(name, settings) and all(batched(use.name, use.settings) for use in inner)
    if name == "RandomErasing":
        return bool(settings["value"] != "random")
    return name not in _ONE_BY_ONE and not varies(name, settings)


_VARYING = frozenset({"RandomZoomOut", "RandomResize", "RandomShortestSize", "ScaleJitter"})
_RESIZING = frozenset({"Resize", "Pad", "CenterCrop", "RandomCrop", "RandomResizedCrop"})
"""Each gives images of one size, but another one than it gets."""


@cache
def _v2() -> Any:
    import_torchvision()
    from torchvision.transforms import v2

    return v2


def _functional() -> Any:
    return _v2().functional


def _made(name: str, settings: Settings) -> Any:
    """Torchvision's own transform. Policies are given by name, as the language writes them."""
    given = dict(settings)
    if "policy" in given:
        given["policy"] = _v2().AutoAugmentPolicy(given["policy"])
    return getattr(_v2(), name)(**given)


# ------------------------------------------------------------------------------------------------ whole batches


def _as_it_is(images: Tensor, _: Settings, __: Draws) -> Tensor:
    return images


def _to_tensor(images: Tensor, _: Settings, __: Draws) -> Tensor:
    return images.to(torch.float32).div_(255)


def _to_dtype(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    dtype = getattr(torch, TORCH_NAMES[str(settings["dtype"])])
    return _functional().to_dtype(images, dtype, scale=settings.get("scale", True))  # type: ignore[no-any-return]


def _normalize(images: Tensor, settings: Settings, _: Draws) -> Tensor:
    """As torchvision's, which makes its constants anew, and waits for the device to see that no `std` is 0."""
    mean, std = (_by_channel(tuple(settings[name]), images.dtype, images.device) for name in ("mean", "std"))
    return images.sub(mean).div_(std)


@lru_cache(maxsize=16)
def _by_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device).view(-1, 1, 1)


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
    if images.device.type == "cpu" and images.dtype != torch.bfloat16:
        # numpy copies whole rows where torch goes pixel by pixel: three times as fast.
        pieces = sliding_window_view(images.numpy(), (height, width), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
        return torch.from_numpy(pieces[np.arange(len(images)), tops, lefts])
    places = images.unfold(2, height, 1).unfold(3, width, 1)
    rows = beside(np.arange(len(images)), images)
    return places[rows, :, beside(tops, images), beside(lefts, images)]


def _random_flip(dim: int) -> Callable[[Tensor, Settings, Draws], Tensor]:
    def flip(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
        chosen = beside(draws.uniform() < settings["p"], images)
        return torch.where(chosen[:, None, None, None], images.flip(dim), images)

    return flip


def _fixed(name: str) -> Callable[[Tensor, Settings, Draws], Tensor]:
    """A transform without random parameters."""

    def run(images: Tensor, settings: Settings, _: Draws) -> Tensor:
        return _made(name, settings).transform(images, {})  # type: ignore[no-any-return]

    return run


def _sometimes(name: str) -> Callable[[Tensor, Settings, Draws], Tensor]:
    """A transform of some of the images, without further random parameters."""

    def run(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
        chosen = np.flatnonzero(draws.uniform() < settings["p"])
        if not len(chosen):
            return images
        rows = beside(chosen, images)
        changed = _made(name, settings).transform(images[rows], {"num_input_channels": images.shape[1]})
        return images.index_put((rows,), changed)

    return run


def _random_erasing(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    if settings["value"] == "random":
        return _each("RandomErasing")(images, settings, draws)
    channels, height, width = images.shape[1:]
    draw = DRAW["RandomErasing"]
    drawn = [draw(settings, stream, (channels, height, width)) for stream in draws.streams()]
    edges = [(0,) * 4 if d is None else (d["i"], d["i"] + d["h"], d["j"], d["j"] + d["w"]) for d in drawn]
    top, bottom, left, right = beside(np.array(edges, dtype=np.int64).T.copy(), images)[..., None, None]
    rows, columns = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    written = settings["value"]
    values = tuple(written) if isinstance(written, list | tuple) else (written,)
    value = _by_channel(values, torch.float32, images.device).to(images.dtype)
    return torch.where(inside[:, None], value, images)


# ------------------------------------------------------------------------------------------------ image by image


def _each(name: str) -> Callable[[Tensor, Settings, Draws], Tensor]:
    """A transform with random parameters for each image: torchvision's, with parameters that are drawn here."""

    def run(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
        transform, draw = _made(name, settings), DRAW[name]
        made = []
        for image, stream in zip(images, draws.streams(), strict=True):
            drawn = draw(settings, stream, (image.shape[0], image.shape[1], image.shape[2]))
            made.append(image if drawn is None else transform.transform(image, drawn))
        return torch.stack(made)

    return run


def _policy(name: str) -> Callable[[Tensor, Settings, Draws], Tensor]:
    def run(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
        transform, carry_out = _made(name, settings), POLICIES[name]
        each = zip(images, draws.streams(), strict=True)
        return torch.stack([carry_out(transform, image, stream) for image, stream in each])

    return run


def _noise(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    """As `torchvision.transforms.v2.functional.gaussian_noise`, which draws by itself."""
    count = images[0].numel()
    uniform = torch.from_numpy(np.stack([stream.field(count) for stream in draws.streams()]))
    normal = torch.special.ndtri(uniform).reshape(images.shape)
    mean, sigma = settings["mean"], settings["sigma"]
    if images.dtype == torch.uint8:
        added = (mean * 255 + normal.float() * (sigma * 255)).to(torch.int16)
        noisy, most = images + added, 255
    else:
        noisy, most = images + (mean + normal.to(images.dtype) * sigma), 1
    result: Tensor = noisy.clamp(0, most) if settings["clip"] else noisy
    return result.to(images.dtype)


def _jpeg(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    """Pillow's: torchvision's own needs compiled operators, which are not there beside every build of torch."""
    quality = settings["quality"]
    low, high = (quality, quality) if isinstance(quality, int) else quality
    functional = _functional()
    made = []
    for image, stream in zip(images, draws.streams(), strict=True):
        compressed = functional.jpeg(functional.to_pil_image(image), quality=low + stream.below(high - low + 1))
        made.append(functional.pil_to_tensor(compressed))
    return torch.stack(made)


# ------------------------------------------------------------------------------------------------ made of transforms


def _through(chain: Any, images: Tensor, draws: Draws) -> Tensor:
    for position, use in enumerate(chain):
        images = apply(use.name, images, use.settings, draws.inner(position))
    return images


def _replaced(images: Tensor, chosen: Any, changed: Tensor) -> Tensor:
    """`images` with those at `chosen` changed; all of them are of one size, or there is one."""
    if len(changed) == len(images):
        return changed
    return images.index_put((beside(np.flatnonzero(chosen), images),), changed)


def _random_apply(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    chosen = draws.uniform() < settings["p"]
    if not chosen.any():
        return images
    changed, inside = images[beside(np.flatnonzero(chosen), images)], draws.of(chosen)
    for position, chain in enumerate(settings["transforms"]):
        changed = _through(chain, changed, inside.inner(position))
    return _replaced(images, chosen, changed)


def _random_choice(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    chains = settings["transforms"]
    weights = np.cumsum(settings["p"] or [1.0] * len(chains))
    numbers = np.searchsorted(weights / weights[-1], draws.uniform(), side="right")
    result = images
    for position, chain in enumerate(chains):
        chosen = numbers == position
        if chosen.any():
            rows = beside(np.flatnonzero(chosen), images)
            changed = _through(chain, images[rows], draws.of(chosen).inner(position))
            result = _replaced(result, chosen, changed)
    return result


def _random_order(images: Tensor, settings: Settings, draws: Draws) -> Tensor:
    chains = settings["transforms"]
    made = []
    for row, stream in enumerate(draws.streams()):
        image, one = images[row : row + 1], draws.of([row])
        for position in stream.permutation(len(chains)):
            image = _through(chains[position], image, one.inner(position))
        made.append(image)
    return torch.cat(made)


_RUN: Mapping[str, Callable[[Tensor, Settings, Draws], Tensor]] = {
    **dict.fromkeys(("ToImage", "PILToTensor", "ToPureTensor", "Identity"), _as_it_is),
    "ToTensor": _to_tensor,
    "ToDtype": _to_dtype,
    "ConvertImageDtype": _to_dtype,
    "Normalize": _normalize,
    "RandomCrop": _random_crop,
    "RandomHorizontalFlip": _random_flip(-1),
    "RandomVerticalFlip": _random_flip(-2),
    "Pad": _pad,
    "GaussianNoise": _noise,
    "JPEG": _jpeg,
    "RandomApply": _random_apply,
    "RandomChoice": _random_choice,
    "RandomOrder": _random_order,
    **{name: _fixed(name) for name in ("Resize", "CenterCrop", "Grayscale", "RGB")},
    **{name: _sometimes(name) for name in ("RandomGrayscale", "RandomInvert", "RandomEqualize", "RandomAutocontrast")},
    **{name: _sometimes(name) for name in ("RandomPosterize", "RandomSolarize")},
    **{name: _each(name) for name in DRAW},
    "RandomErasing": _random_erasing,
    **{name: _policy(name) for name in POLICIES},
}

_ONE_BY_ONE = frozenset({*DRAW, *POLICIES, "JPEG", "GaussianNoise", "RandomOrder"})
