"""The samplers of `torch.utils.data`: which samples an epoch has. Settings by torch's names, without the data."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from expc.compiler.ops.declare import Kind, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, STR, number, optional
from expc.compiler.program import Sampler

BALANCED: Final = "balanced"
"""Weights that make every class as frequent as any other."""
_WEIGHT: Final = number(0)


def _weights(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_WEIGHT.accepts, value)) and any(value)
    return isinstance(value, str)


_WEIGHTS: Final = Kind(
    '"balanced", a list with a number of at least 0 for each class, not all 0, or the name of a field of numbers',
    _weights,
)
_COUNT: Final = Param("num_samples", optional(POSITIVE), None, doc="in an epoch; none: as many as there are")


@cache
def samplers() -> Mapping[str, Sampler]:
    """Every sampler by its name."""
    declared = (
        Sampler(
            name="WeightedRandomSampler",
            doc=(
                "Draws each sample as often as its weight says, its own or that of its class. `balanced` weights make "
                "all classes equally frequent."
            ),
            settings=(
                Param("weights", _WEIGHTS, doc="one for each class, a field that holds them, or `balanced`"),
                _COUNT,
                Param("replacement", BOOL, True, doc="a sample may come several times in an epoch"),
                Param(
                    "label",
                    optional(STR),
                    None,
                    doc="the field of the data set that says the class; none: the first that is one",
                    by_name=True,
                ),
            ),
            example='sampler = WeightedRandomSampler("balanced")',
        ),
        Sampler(
            name="RandomSampler",
            doc="Draws samples in a random order: what `shuffle` does, or some of them, or the same ones again.",
            settings=(
                Param("replacement", BOOL, False, doc="a sample may come several times in an epoch"),
                _COUNT,
            ),
            example="sampler = RandomSampler(num_samples=10_000)",
        ),
        Sampler(
            name="SequentialSampler",
            doc="Takes the samples as they stand: what `shuffle = false` says.",
            settings=(),
            example="sampler = SequentialSampler",
        ),
    )
    return MappingProxyType({sampler.name: sampler for sampler in declared})
