"""The first samples of the validation data as a person sees them, with what the model makes of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from expc.compiler.program import DataPlan, Fields, MetricPlan, Step
from expc.runtime.pictures import Picture, of_samples

Scales = list[tuple[Sequence[float], Sequence[float]]]
"""The means and spreads that an image was normalised with, in order."""


class Gallery:
    """Keeps the first `count` samples of each evaluation on `val`; none for a count of 0.

    `remark` is told where there is nothing to draw of them.

    What is drawn: images `[N, 1 or 3, H, W]`, among fields and outputs; masks of classes `[N, H, W]`, and outputs that
    score them. Where a classifier is measured, or gives the one output, captions say the class and what it was taken
    for.
    """

    def __init__(
        self,
        count: int = 0,
        plan: DataPlan | None = None,
        metrics: Sequence[MetricPlan] = (),
        remark: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._count: Final = count
        self._remark: Final = remark
        self._left = 0
        self._kept: Final[dict[str, list[Tensor]]] = {}
        self._scales: Final = {} if plan is None else _scales(plan)
        self._fields: Final = frozenset() if plan is None else {field.name for field in plan.fields}
        judged = [(m.output, m.target) for m in metrics if m.torchmetrics_class.startswith("classification.Multiclass")]
        self._pairs: Final = tuple(dict.fromkeys(judged)) or (("output", "target"),)

    def begin(self, role: str) -> None:
        """An evaluation begins."""
        self._left = self._count if role == "val" else 0
        self._kept.clear()

    def take(self, named: Mapping[str, Tensor], samples: int) -> None:
        """Keep what is still wanted of a batch, on its device."""
        if not self._left:
            return
        for name, value in named.items():
            if isinstance(value, Tensor) and value.ndim and len(value) == samples:
                self._kept.setdefault(name, []).append(value[: self._left].detach().clone())
        self._left -= min(self._left, samples)

    def pictures(self) -> Iterator[tuple[str, Picture]]:
        """The pictures by name."""
        drawn = False
        for name, picture in self._drawn():
            drawn = True
            yield name, picture
        if self._kept and not drawn:
            self._remark(
                "`images` draws nothing: no field of `val`, and nothing that the model gives, is an image or a mask"
            )

    def _drawn(self) -> Iterator[tuple[str, Picture]]:
        kept = {name: torch.cat(parts).cpu() for name, parts in self._kept.items() if len(_shapes(parts)) == 1}
        captions = self._captions(kept)
        masks = [value for value in kept.values() if _is_mask(value)]
        for name, value in kept.items():
            if "." in name or (name == "target" and any(_same(value, kept[o]) for o in kept if o != name)):
                continue  # what the file computes for a metric; a field that has a name of its own
            if name not in self._fields and any(_scores(value, mask) for mask in masks):
                yield name, of_samples([_coloured(scores.argmax(0)) for scores in value], captions)
            elif _is_mask(value):
                yield name, of_samples([_coloured(mask) for mask in value], captions)
            elif _is_image(value):
                yield name, of_samples(_seen(value, self._scales.get(name, [])), captions)

    def _captions(self, kept: Mapping[str, Tensor]) -> list[tuple[str, bool]]:
        """For each sample a line for each classifier, and whether all of them are right."""
        lines: list[list[tuple[int, int]]] = []
        for output, target in self._pairs:
            scores, classes = kept.get(output), kept.get(target)
            if scores is None or classes is None or scores.ndim != 2 or classes.ndim != 1 or scores.shape[1] < 2:
                continue
            judged = list(zip(classes.long().tolist(), scores.argmax(1).tolist(), strict=True))
            if not classes.is_floating_point() and judged not in lines:
                lines.append(judged)
        samples = list(zip(*lines, strict=True))
        words = ("\n".join(f"{is_}" if is_ == said else f"{is_}, not {said}" for is_, said in each) for each in samples)
        return [(text, all(a == b for a, b in each)) for text, each in zip(words, samples, strict=True)]


def _shapes(parts: Sequence[Tensor]) -> set[torch.Size]:
    return {part.shape[1:] for part in parts}


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _is_image(value: Tensor) -> bool:
    is_numbers = value.is_floating_point() or value.dtype == torch.uint8
    return value.ndim == 4 and value.shape[1] in (1, 3) and min(value.shape[2:]) >= 4 and is_numbers


def _scores(value: Tensor, mask: Tensor) -> bool:
    """Whether this has a score for each class of a mask, at each pixel."""
    is_of_its_size = value.ndim == 4 and value.is_floating_point() and value[:, 0].shape == mask.shape
    return is_of_its_size and value.shape[1] > max(1, int(mask.max()))


def _is_mask(value: Tensor) -> bool:
    return value.ndim == 3 and value.dtype == torch.int64 and min(value.shape[1:]) >= 4


def _seen(images: Tensor, scales: Scales) -> list[Picture]:
    """As bytes: as it was before it was normalised; else what leaves 0 to 1 is stretched."""
    if images.dtype == torch.uint8:
        values = images.float() / 255
    else:
        values = images.float()
        for mean, std in reversed(scales):
            values = values * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
        values = values.nan_to_num(0.0)
        low, high = values.min(), values.max()
        if low < -0.01 or high > 1.01:
            values = (values - low) / (high - low)
    pixels = (values.clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1)
    return [each.numpy() for each in pixels.permute(0, 2, 3, 1).contiguous()]


def _coloured(mask: Tensor) -> Picture:
    """Each class in a colour of its own, the first in black; grey where there is none."""
    numbers = mask.numpy()
    colours = np.stack([(numbers * step) % 256 for step in (97, 173, 59)], axis=-1).astype(np.uint8)
    colours[numbers < 0] = 128
    return colours


def _scales(plan: DataPlan) -> dict[str, Scales]:
    """What each field was normalised with."""
    found: dict[str, Scales] = {}
    for stage in plan.stages:
        if isinstance(stage, Fields):
            found = {new: found[old] for new, old in stage.kept if old in found}
        elif isinstance(stage, Step):
            for read, write in zip(stage.reads, stage.writes, strict=False):
                before = found.get(read, [])
                settings = stage.use.settings
                own = [(settings["mean"], settings["std"])] if stage.use.name == "Normalize" else []
                found[write] = [*before, *own]
    return found
