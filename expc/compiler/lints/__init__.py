"""Lint rules: each in its own file, with its page, its check and its fix.

A rule is the function `check(program) -> Iterator[Problem]` of its module; `rules()` finds them. Rules run on a program
that has no errors, and read the graph only.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final

from expc.diagnostics import Problem

_RULES: Final = (
    "softmax_before_cross_entropy",
    "surplus_outputs",
    "bias_before_batchnorm",
    "batch_axis_mismatch",
    "batchnorm_batch_of_one",
    "monitor_direction",
)


@cache
def rules() -> tuple[Callable[[Any], Iterator[Problem]], ...]:
    """Every rule that runs on a whole program."""
    return tuple(import_module(f"expc.compiler.lints.{name}").check for name in _RULES)
