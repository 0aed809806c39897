"""The automatic policies: RandAugment, TrivialAugmentWide, AutoAugment and AugMix.

Their tables of transforms and strengths, and how each is carried out, are torchvision's own (its methods with an
underscore), so that an image becomes what torchvision makes of it. Which transform, how strong and in which direction
is drawn here.
"""

# ruff: noqa: SLF001 - see above

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from expc.runtime.data.randomness import Stream


def _strength(bins: Any, place: int, stream: Stream, *, signed: bool) -> float:
    """The strength at `place` out of `bins`, in a random direction where it has one; none needs one."""
    if bins is None:
        return 0.0
    strength = float(bins[place])
    return -strength if signed and stream.uniform() < 0.5 else strength


def _carried_out(transform: Any, image: Tensor, name: str, strength: float) -> Tensor:
    return transform._apply_image_or_video_transform(  # type: ignore[no-any-return]
        image, name, strength, interpolation=transform.interpolation, fill=transform._fill
    )


def _rand_augment(transform: Any, image: Tensor, stream: Stream) -> Tensor:
    for _ in range(transform.num_ops):
        image = _one(transform, transform._AUGMENTATION_SPACE, image, stream, transform.magnitude)
    return image


def _one(transform: Any, space: Mapping[str, Any], image: Tensor, stream: Stream, place: int) -> Tensor:
    name = list(space)[stream.below(len(space))]
    strengths, signed = space[name]
    bins = strengths(transform.num_magnitude_bins, image.shape[-2], image.shape[-1])
    return _carried_out(transform, image, name, _strength(bins, place, stream, signed=signed))


def _trivial_augment(transform: Any, image: Tensor, stream: Stream) -> Tensor:
    place = stream.below(transform.num_magnitude_bins)
    return _one(transform, transform._AUGMENTATION_SPACE, image, stream, place)


def _auto_augment(transform: Any, image: Tensor, stream: Stream) -> Tensor:
    policy = transform._policies[stream.below(len(transform._policies))]
    for name, often, place in policy:
        if stream.uniform() >= often:
            continue
        strengths, signed = transform._AUGMENTATION_SPACE[name]
        bins = strengths(10, image.shape[-2], image.shape[-1])
        image = _carried_out(transform, image, name, _strength(bins, place or 0, stream, signed=signed))
    return image


def _augmix(transform: Any, image: Tensor, stream: Stream) -> Tensor:
    space = transform._AUGMENTATION_SPACE if transform.all_ops else transform._PARTIAL_AUGMENTATION_SPACE
    kept, mixed = stream.dirichlet(transform.alpha, transform.alpha)
    weights = torch.tensor(stream.dirichlet(*[transform.alpha] * transform.mixture_width)) * mixed
    mix = torch.tensor(kept) * image[None]
    for weight in weights:
        changed = image[None]
        for _ in range(transform.chain_depth if transform.chain_depth > 0 else 1 + stream.below(3)):
            name = list(space)[stream.below(len(space))]
            strengths, signed = space[name]
            bins = strengths(transform._PARAMETER_MAX, image.shape[-2], image.shape[-1])
            strength = _strength(bins, stream.below(transform.severity), stream, signed=signed)
            changed = _carried_out(transform, changed, name, strength)
        mix.add_(weight * changed)
    return mix[0].to(image.dtype)


POLICIES: Final[Mapping[str, Callable[[Any, Tensor, Stream], Tensor]]] = {
    "RandAugment": _rand_augment,
    "TrivialAugmentWide": _trivial_augment,
    "AutoAugment": _auto_augment,
    "AugMix": _augmix,
}
