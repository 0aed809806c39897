"""One field of a batch through one transform: images as they are, masks beside them, classes and numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from expc.compiler.plans.data_stages import NEAREST
from expc.compiler.types import TORCH_NAMES
from expc.runtime.data.randomness import Draws
from expc.runtime.data.transforms import apply, varies

Values = Tensor | list[Tensor]
"""One field of several samples: one tensor `[B, ...]`, or a list of tensors where sizes differ."""


def through(transform: str, values: Values, settings: Mapping[str, Any], draws: Draws, *, mask: bool) -> Values:
    """A field after the transform; one tensor wherever samples are of one size.

    A mask `[H, W]` goes the way of an image of one channel. It is never blended: what lies between two classes is one
    of them.
    """
    if isinstance(values, Tensor) and not varies(transform, settings):
        return _whole(transform, values, settings, draws, mask=mask)
    each = [
        _whole(
            transform,
            value[None],
            settings,
            Draws(draws.seed, draws.epoch, draws.samples[i : i + 1], draws.purpose),
            mask=mask,
        )[0]
        for i, value in enumerate(values)
    ]
    return torch.stack(each) if len({value.shape for value in each}) == 1 else each


def _whole(transform: str, values: Tensor, settings: Mapping[str, Any], draws: Draws, *, mask: bool) -> Tensor:
    if transform == "to":
        return values.to(getattr(torch, TORCH_NAMES[settings["dtype"]]))
    if transform == "OneHot":
        return torch.nn.functional.one_hot(values, settings["num_classes"]).movedim(-1, 1).float()
    if not mask:
        return apply(transform, values, settings, draws)
    return apply(transform, values[:, None], _nearest(settings), draws)[:, 0]


def _nearest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a mask goes through with: those of an image, but for blending, in transforms inside too."""
    found = {**settings, **{name: value for name, value in NEAREST.items() if name in settings}}
    if "transforms" in found:
        chains = found["transforms"]
        found["transforms"] = tuple(
            tuple(replace(inner, settings=_nearest(inner.settings)) for inner in chain) for chain in chains
        )
    return found
