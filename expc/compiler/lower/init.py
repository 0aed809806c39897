"""How parameters start: `init` rules, and what `param` and `buffer` declare.

torch's own default comes first, then the rules of inner containers, then those of outer ones. Of one container's rules
the last that matches a parameter is applied to it, and only that one. Files fill buffers too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expc.compiler.errors.names import SelectorMatchesNothing
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container, InitRule, Weight, has_python, weights
from expc.compiler.lower.block import build_failure
from expc.compiler.lower.load import load
from expc.compiler.lower.parts import Whole
from expc.compiler.lower.values import fixed_value
from expc.compiler.model.starts import is_load
from expc.compiler.plans.selectors import matching
from expc.spec.values import Recipe


def apply_inits(module: nn.Module, container: Container, whole: Whole, extra_rules: Sequence[InitRule] = ()) -> None:
    """Applies every `init` rule under `container` to the module it became; `extra_rules` are outermost and come last.

    `whole` writes the numbers.

    Raises `ExecutionError` where torch refuses an initialiser, or a file does not have what it should.
    """
    state: dict[str, Tensor] = module.state_dict(keep_vars=True)
    _apply_inside(state, container, whole, "")
    _apply(state, container, whole, extra_rules)


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


def _apply_inside(state: Mapping[str, Tensor], container: Container, whole: Whole, prefix: str) -> None:
    for name, child in container.children.items():
        if isinstance(child, Container):
            _apply_inside(state, child, whole, f"{prefix}{name}.")
    if container.inits:
        inside = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        _apply(inside, container, whole, container.inits)


def _apply(state: Mapping[str, Tensor], container: Container, whole: Whole, rules: Sequence[InitRule]) -> None:
    if not rules:
        return
    entries = [*weights(container), *of_python(state, container)]
    parameters = [entry for entry in entries if not entry.is_buffer]
    chosen: dict[Tensor, tuple[InitRule, list[str]]] = {}
    for rule in rules:
        matched = matching(rule.selector, rule.is_glob, container, entries if is_load(rule.initialiser) else parameters)
        if not matched and has_python(container):
            raise ExecutionError(SelectorMatchesNothing(span=rule.span, selector=rule.selector))
        for weight in matched:
            before = chosen.get(state[weight.key])
            keys = before[1] if before is not None and before[0] is rule else []
            chosen[state[weight.key]] = rule, [*keys, weight.key]
    # In the order of the parameters, so that the numbers drawn for one do not depend on the order of the rules.
    for tensor in dict.fromkeys(state.values()):
        if tensor in chosen and not is_load(chosen[tensor][0].initialiser):
            _follow(chosen[tensor][0], tensor, whole)
    for rule in rules:
        wanted = {tensor: keys for tensor, (last, keys) in chosen.items() if last is rule and not tensor.is_meta}
        if wanted and is_load(rule.initialiser):
            load(rule, wanted, whole)


def of_python(state: Mapping[str, Tensor], container: Container, prefix: str = "") -> list[Weight]:
    """What the Python code of `extern`s holds under `container`: only what is built knows it."""
    found = []
    for name, child in container.children.items():
        inside = f"{prefix}{name}."
        if isinstance(child, Container):
            found += of_python(state, child, inside)
        elif child.operator.python is not None:
            owner = child.operator.name
            found += [
                Weight(key, tuple(tensor.shape), owner, child.span, is_buffer=not isinstance(tensor, nn.Parameter))
                for key, tensor in state.items()
                if key.startswith(inside)
            ]
    return found


def _follow(rule: InitRule, tensor: Tensor, whole: Whole) -> None:
    try:
        whole.fill(tensor, partial(start, value=rule.initialiser))
    except Exception as error:
        raise build_failure(error, rule.span) from error
