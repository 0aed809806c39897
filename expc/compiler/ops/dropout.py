"""Layers that drop elements or whole channels at random while training."""

from typing import Final

from expc.compiler.ops.declare import Operator, Param
from expc.compiler.ops.kinds import PROBABILITY
from expc.compiler.ops.rules import EXAMPLES, FORMS, INPLACE, elementwise, same_shape
from expc.compiler.types import FLOATING

_P: Final = Param("p", PROBABILITY, 0.5)


def _channels(count: int) -> Operator:
    return elementwise(
        f"Dropout{count}d",
        "Sets whole channels of each sample to zero with probability p while training.",
        _P,
        INPLACE,
        shape=same_shape(FLOATING, FORMS[count]),
        example=f"x -> Dropout{count}d(0.5)",
        example_inputs=EXAMPLES[count],
        random=True,
        mode=True,
    )


OPERATORS: Final = (
    elementwise(
        "Dropout",
        "Sets elements to zero with probability p while training, and scales the others up.",
        _P,
        INPLACE,
        example="x -> Dropout(0.5)",
        random=True,
        mode=True,
    ),
    *(_channels(count) for count in (1, 2, 3)),
    elementwise(
        "AlphaDropout",
        "Dropout that keeps the mean and variance that SELU makes.",
        _P,
        INPLACE,
        example="x -> AlphaDropout(0.1)",
        random=True,
        mode=True,
    ),
    elementwise(
        "FeatureAlphaDropout",
        "AlphaDropout of whole channels.",
        _P,
        INPLACE,
        shape=same_shape(FLOATING, "N, C, *"),
        example="x -> FeatureAlphaDropout(0.1)",
        random=True,
        mode=True,
    ),
)
