"""All operators by name."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

from expc.compiler.ops.declare import Operator

FAMILIES: Final = (
    "linear",
    "convolution",
    "pooling",
    "normalization",
    "activation",
    "dropout",
    "embedding",
    "recurrent",
    "cells",
    "attention",
    "transformer",
    "shaping",
    "resizing",
    "distance",
    "pointwise",
    "arithmetic",
    "binary",
    "reduction",
    "statistics",
    "reshaping",
    "enlarging",
    "selecting",
    "scattering",
    "joining",
    "products",
    "matrices",
    "creation",
    "windows",
    "drawing",
    "rearrange",
    "functional",
    "patches",
    "weighted",
    "applied",
    "aliases",
    "losses",
    "adaptive",
    "vision",
)
"""The modules beside this one that hold operators, each in a tuple `OPERATORS`."""


@cache
def operators() -> Mapping[str, Operator]:
    """Every operator of the language by its name: layers, functions and losses.

    The families are imported at the first call, so that a command that checks nothing does not pay for them.
    """
    found: dict[str, Operator] = {}
    for family in FAMILIES:
        for operator in import_module(f"expc.compiler.ops.{family}").OPERATORS:
            if operator.name in found:
                raise ValueError(f"two operators are called {operator.name}")
            found[operator.name] = operator
    return MappingProxyType(found)
