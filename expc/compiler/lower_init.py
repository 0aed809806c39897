"""How parameters start: `init` rules, and what `param` and `buffer` declare.

torch's own default comes first, then the rules of inner containers, then those of outer ones. Of one container's rules
the last that matches a parameter is applied to it, and only that one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container, InitRule
from expc.compiler.lower_block import build_failure
from expc.compiler.lower_values import fixed_value
from expc.spec.values import Recipe

Owners = tuple[tuple[str, str], ...]
"""The modules that a parameter stands in, innermost last: (class or block, key from there)."""


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
    owners = dict(_owners(container))
    keys: dict[Tensor, list[str]] = {}
    for key, tensor in parameters.items():
        keys.setdefault(tensor, []).append(key)
    for tensor, names in keys.items():
        chosen = [rule for rule in rules if any(_matches(rule, name, owners.get(name, ())) for name in names)]
        if chosen:
            _follow(chosen[-1], tensor)


def _follow(rule: InitRule, tensor: Tensor) -> None:
    try:
        start(tensor, rule.initialiser)
    except ExecutionError:
        raise
    except Exception as error:
        raise build_failure(error, rule.span) from error


def _matches(rule: InitRule, key: str, owners: Owners) -> bool:
    if rule.is_glob:
        return _glob(rule.selector).fullmatch(key) is not None
    name, _, rest = rule.selector.partition(".")
    return any(name == owner and (not rest or rest == inside) for owner, inside in owners)


@cache
def _glob(selector: str) -> re.Pattern[str]:
    """`*` stands for any characters, dots included, and `?` for one."""
    return re.compile("".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in selector))


def _owners(container: Container, prefix: str = "") -> Iterator[tuple[str, Owners]]:
    """Every parameter's key under `container`, and the modules below `container` in which it stands."""
    for name in container.params:
        yield prefix + name, ()
    for name, child in container.children.items():
        if isinstance(child, Container):
            below, title = list(_owners(child)), child.title
        else:
            below, title = [(weight, ()) for weight in child.weights], child.operator.name
        for key, owners in below:
            yield f"{prefix}{name}.{key}", ((title, key), *owners)
