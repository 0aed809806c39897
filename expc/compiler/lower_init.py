"""How parameters start: `init` rules, and what `param` and `buffer` declare.

torch's own default comes first, then the rules of inner containers, then those of outer ones. Of one container's rules
the last that matches a parameter is applied to it, and only that one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from expc.compiler.errors.names import SelectorMatchesNothing
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container, InitRule, Weight, has_python, weights
from expc.compiler.lower_block import build_failure
from expc.compiler.lower_values import fixed_value
from expc.compiler.selectors import matching
from expc.spec.values import Recipe


def apply_inits(module: nn.Module, container: Container, extra_rules: Sequence[InitRule] = ()) -> None:
    """Applies every `init` rule under `container` to the module it became; `extra_rules` are outermost and come last.

    Raises `ExecutionError` where torch refuses an initialiser.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    _apply_inside(parameters, container, "")
    _apply(parameters, container, extra_rules)


def start(tensor: Tensor, value: Any) -> None:
    """Fills a tensor as declared: by an initialiser, a number, or a list of them for its first dimension."""
    with torch.no_grad():
        if isinstance(value, Recipe):
            _initialise(tensor, value)
        elif isinstance(value, list | tuple):
            for part, item in zip(tensor, value, strict=True):
                start(part, item)
        else:
            tensor.fill_(value)


def _initialise(tensor: Tensor, recipe: Recipe) -> None:
    positional = [fixed_value(given.value) for given in recipe.arguments if given.name is None]
    named = {given.name: fixed_value(given.value) for given in recipe.arguments if given.name is not None}
    getattr(nn.init, f"{recipe.name}_")(tensor, *positional, **named)


def _apply_inside(parameters: Mapping[str, Tensor], container: Container, prefix: str) -> None:
    for name, child in container.children.items():
        if isinstance(child, Container):
            _apply_inside(parameters, child, f"{prefix}{name}.")
    inside = {key.removeprefix(prefix): tensor for key, tensor in parameters.items() if key.startswith(prefix)}
    _apply(inside, container, container.inits)


def _apply(parameters: Mapping[str, Tensor], container: Container, rules: Sequence[InitRule]) -> None:
    if not rules:
        return
    entries = [weight for weight in weights(container) if not weight.is_buffer]
    entries += of_python(parameters, container)
    chosen: dict[Tensor, InitRule] = {}
    for rule in rules:
        matched = matching(rule.selector, rule.is_glob, container, entries)
        if not matched and has_python(container):
            raise ExecutionError(SelectorMatchesNothing(span=rule.span, selector=rule.selector))
        chosen.update((parameters[weight.key], rule) for weight in matched)
    # In the order of the parameters, so that the numbers drawn for one do not depend on the order of the rules.
    for tensor in dict.fromkeys(parameters.values()):
        if tensor in chosen:
            _follow(chosen[tensor], tensor)


def of_python(parameters: Mapping[str, Tensor], container: Container, prefix: str = "") -> list[Weight]:
    """The parameters that the Python code of `extern`s holds under `container`: only what is built knows them."""
    found = []
    for name, child in container.children.items():
        inside = f"{prefix}{name}."
        if isinstance(child, Container):
            found += of_python(parameters, child, inside)
        elif child.operator.python is not None:
            own = ((key, tensor) for key, tensor in parameters.items() if key.startswith(inside))
            owner = child.operator.name
            found += [Weight(key, tuple(tensor.shape), owner, child.span, is_buffer=False) for key, tensor in own]
    return found


def _follow(rule: InitRule, tensor: Tensor) -> None:
    try:
        start(tensor, rule.initialiser)
    except Exception as error:
        raise build_failure(error, rule.span) from error
