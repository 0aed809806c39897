"""All operators by name."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Final

from expc.compiler.library.index import operator_homes
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
    "neighbours",
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


class _Operators(Mapping[str, Operator]):
    """All operators, each imported with its family when it is first asked for."""

    def __init__(self) -> None:
        self._homes = operator_homes()
        self._found: dict[str, Operator] = {}

    def __getitem__(self, name: str) -> Operator:
        if name not in self._found:
            family = import_module(f"expc.compiler.ops.{self._homes[name]}")
            self._found |= {operator.name: operator for operator in family.OPERATORS}
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


@cache
def operators() -> Mapping[str, Operator]:
    """Every operator of the language by its name: layers, functions and losses."""
    return _Operators()
