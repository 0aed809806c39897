"""Patches of images as columns, and images put together from them: the functions `unfold` and `fold` as layers."""

from dataclasses import replace
from typing import Final

from expc.compiler.ops import functional
from expc.compiler.ops.declare import Operator


def _as_layer(name: str, function: str) -> Operator:
    """The layer that does what a function on one tensor does."""
    found = next(operator for operator in functional.OPERATORS if operator.name == function)
    tensor, *settings = found.arguments
    return replace(
        found,
        name=name,
        kind="layer",
        settings=tuple(settings),
        arguments=(tensor,),
        example=found.example.replace(function, name),
        home="torch.nn",
    )


OPERATORS: Final = (_as_layer("Unfold", "unfold"), _as_layer("Fold", "fold"))
