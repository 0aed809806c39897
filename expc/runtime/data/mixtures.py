"""MixUp and CutMix: what mixes the samples of a batch, as torchvision's classes of these names do.

Each sample is mixed with the one before it, the first with the last. How is drawn once for a batch.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

from torch import Tensor
from torch.nn.functional import one_hot

from expc.runtime.data.randomness import Draws, Stream

MIXING: Final = frozenset({"MixUp", "CutMix"})
"""The transforms that are not done to each sample by itself."""


def mix(name: str, images: Tensor, labels: Tensor, settings: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Tensor]:
    """Images `[B, C, H, W]` and labels, classes `[B]` or probabilities `[B, classes]`, as images and probabilities.

    The numbers are those of the first sample of the batch.
    """
    stream = draws.of([0]).streams()[0]
    kept, _ = stream.dirichlet(settings["alpha"], settings["alpha"])
    probabilities = one_hot(labels, settings["num_classes"]).float() if labels.ndim == 1 else labels
    if name == "MixUp":
        return _blended(images, kept), _blended(probabilities, kept)
    height, width = images.shape[-2:]
    left, top, right, bottom = _rectangle(kept, height, width, stream)
    cut = images.clone()
    cut[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
    kept = 1 - (right - left) * (bottom - top) / (width * height)
    return cut, _blended(probabilities, kept)


def _blended(values: Tensor, kept: float) -> Tensor:
    return values.roll(1, 0).mul_(1 - kept).add_(values.mul(kept))


def _rectangle(kept: float, height: int, width: int, stream: Stream) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of about the part of the image that is not kept, around a random pixel."""
    x, y = stream.below(width), stream.below(height)
    half = 0.5 * sqrt(1 - kept)
    half_width, half_height = int(half * width), int(half * height)
    return max(x - half_width, 0), max(y - half_height, 0), min(x + half_width, width), min(y + half_height, height)
