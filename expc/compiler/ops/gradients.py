"""Where torch has no gradient: tensors that it cannot differentiate by, and tensors that it takes as constants.

What holds is measured by `tests/unit/compiler/test_gradients.py`, which goes back through every operator of the table.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

_LOSSES: Final = ("cross_entropy", "nll_loss", "binary_cross_entropy", "multi_margin_loss")

_NO_DERIVATIVE: Final[Mapping[str, Collection[str]]] = {
    "floor_divide": ("input", "other"),
    "heaviside": ("input", "values"),
    "igamma": ("input",),
    "igammac": ("input",),
    "binomial": ("count", "prob"),
    "vander": ("x",),
    "batch_norm": ("running_mean", "running_var"),
    **dict.fromkeys(("soft_margin_loss", "SoftMarginLoss"), ("target",)),
    **dict.fromkeys(_LOSSES, ("weight",)),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
}

_CONSTANT: Final[Mapping[str, Collection[str]]] = {
    **dict.fromkeys(("detach", "zeros_like", "ones_like", "full_like", "histc"), ("input",)),
    **dict.fromkeys(("rand_like", "randn_like", "randint_like"), ("input",)),
    **dict.fromkeys(("hinge_embedding_loss", "HingeEmbeddingLoss"), ("target",)),
    **dict.fromkeys(("cosine_embedding_loss", "CosineEmbeddingLoss"), ("target",)),
}

ONE_BY_ONE: Final = frozenset({"broadcast_tensors", "meshgrid"})
"""Operators that give a tensor for each of theirs, made from that one alone."""


def lacks_derivative(operator: str, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether torch stops with an error where the argument called `name` has a gradient, given all `arguments`."""
    if operator == "remainder":  # torch knows that of a tensor, and not that of a number
        return name == "other" and isinstance(arguments["input"], int | float)
    if operator == "group_norm":  # torch looks for the device of a weight that is not there
        return name == "bias" and arguments.get("weight") is None
    return name in _NO_DERIVATIVE.get(operator, ())


def is_constant(operator: str, name: str) -> bool:
    """Whether no gradient goes to the argument called `name`: the result does not change with it, as torch sees it."""
    return name in _CONSTANT.get(operator, ())
