"""How parameters start: initialisers, what `param` and `buffer` declare, and the `init` rules that come after."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expc.compiler import operators
from expc.compiler.arithmetic import describe, is_number
from expc.compiler.dimensions import Size
from expc.compiler.errors.names import NotAStage, NotYet, SelectorMatchesNothing
from expc.compiler.errors.shapes import SettingRefused
from expc.compiler.graph import Container, InitRule, weights
from expc.compiler.selectors import matching, nearest_key
from expc.diagnostics import ProblemError, Span
from expc.spec.values import UNEVALUATED, Given, Recipe

if TYPE_CHECKING:
    from expc.compiler.elaborate import Elaborator


def initialiser(elaborator: "Elaborator", value: Recipe, span: Span) -> Recipe:
    """An initialiser with its settings by name. Raises `ProblemError` when it is none, or its settings are wrong."""
    declaration = elaborator.library.initialisers.get(value.name)
    if declaration is None:
        if value.name == "load":
            raise ProblemError(NotYet(span=span, what="`load`"))
        reason = f"it is {elaborator.library.kind(value.name)}, not an initialiser"
        raise ProblemError(NotAStage(span=span, what=f"`{value.name}`", reason=reason))
    settings = operators.match_settings(value.name, declaration.settings, declaration.settings, value.arguments, span)
    return Recipe(value.name, tuple(Given(name, setting, span) for name, setting in settings.items()), span=span)


def start(elaborator: "Elaborator", value: Any, dims: Sequence[Size], span: Span) -> Any:
    """What a declared tensor of these sizes starts as: an initialiser, a number, or a list for its first dimension.

    Raises `ProblemError` when it is none of them, or does not fit.
    """
    if isinstance(value, Recipe):
        recipe = initialiser(elaborator, value, span)
        misfit = _misfit(elaborator, recipe, len(dims))
        if misfit is not None:
            raise ProblemError(SettingRefused(span=span, operator=recipe.name, reason=misfit))
        return recipe
    if isinstance(value, tuple):
        if not dims or len(value) != dims[0]:
            here = f"the dimension of {dims[0]} that it fills" if dims else "a single number"
            reason = f"a list of {len(value)} does not fit {here}"
            raise ProblemError(NotAStage(span=span, what=f"`{span.text}`", reason=reason))
        return tuple(start(elaborator, item, dims[1:], span) for item in value)
    if value is UNEVALUATED or isinstance(value, bool) or is_number(value):
        return 0 if value is UNEVALUATED else value
    raise ProblemError(NotAStage(span=span, what=describe(value), reason="a start is an initialiser or numbers"))


def check_rules(elaborator: "Elaborator", rules: Sequence[InitRule], container: Container) -> None:
    """Each `init` of a container must match some parameter, and suit those that no later one starts."""
    entries = [weight for weight in weights(container) if not weight.is_buffer]
    chosen = {}
    for rule in rules:
        matched = matching(rule.selector, rule.is_glob, container, entries)
        if not matched:
            near = nearest_key(rule.selector, entries)
            notes = (f"the nearest key is `{near}`",) if near else ()
            elaborator.add(SelectorMatchesNothing(span=rule.span, selector=rule.selector, notes=notes))
        chosen.update({weight.key: (weight, rule) for weight in matched})
    refused: set[InitRule] = set()
    for weight, rule in chosen.values():
        misfit = _misfit(elaborator, rule.initialiser, len(weight.dims))
        if misfit is not None and rule not in refused:
            refused.add(rule)
            reason = f"{misfit}: `{weight.key}`, which `{rule.selector}` matches"
            span = rule.initialiser.span or rule.span
            elaborator.add(SettingRefused(span=span, operator=rule.initialiser.name, reason=reason))


def _misfit(elaborator: "Elaborator", recipe: Recipe, rank: int) -> str | None:
    """Why an initialiser cannot start a parameter of so many dimensions."""
    declaration = elaborator.library.initialisers[recipe.name]
    least, most = declaration.min_rank, declaration.max_rank
    if least <= rank and (most is None or rank <= most):
        return None
    takes = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
    return f"it starts tensors of {takes} dimensions, and this one has {rank}"
