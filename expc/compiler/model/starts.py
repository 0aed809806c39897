"""How parameters start: initialisers, what `param` and `buffer` declare, and the `init` rules that come after."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from expc.compiler.arithmetic import describe, is_number
from expc.compiler.dimensions import Size
from expc.compiler.errors.names import BadExpression, SelectorMatchesNothing
from expc.compiler.errors.shapes import SettingRefused
from expc.compiler.errors.stages import NotAStage
from expc.compiler.graph import Container, Declared, InitRule, weights
from expc.compiler.model import computed
from expc.compiler.model.arguments import is_lost, match_settings
from expc.compiler.model.patterns import declared
from expc.compiler.model.scope import TensorRef
from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import STR
from expc.compiler.plans.selectors import matching, may_be_python, what_was_meant
from expc.compiler.types import FLOATING
from expc.diagnostics import ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import advice, enumeration, nearest
from expc.spec.values import UNEVALUATED, Given, Recipe

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context
    from expc.compiler.ops.initialisers import Initialiser


def declare(elaborator: "Elaborator", statement: syntax.Declare, context: "Context") -> None:
    """`param` and `buffer`."""
    body = context.body
    body.reserve(statement.name, statement.span)
    type_ = declared(elaborator, statement.type, context, lambda name: _refuse_size(name, statement))
    if type_ is None:
        context.scope.bind(statement.name, elaborator.unknown(statement.span), statement.span)
        return
    for size in type_.dims:
        if not isinstance(size, int) and not elaborator.conditions.lenient:
            _refuse_size(str(size), statement)
    entry = Declared(type_, computed.begin(elaborator, statement, type_, context), statement.span)
    (body.params if statement.kind == "param" else body.buffers)[statement.name] = entry
    elaborator.bind_name(statement.name, TensorRef(statement.name, body), statement.span, context.scope)


def _refuse_size(name: str, statement: syntax.Declare) -> Size:
    """A parameter's size must be known when the module is built."""
    reason = f"the size {name} of a {statement.kind} is not known when the model is built"
    raise ProblemError(BadExpression(span=statement.type.span, reason=reason))


def init(elaborator: "Elaborator", statement: syntax.Init, context: "Context") -> None:
    """`init selector = initialiser`."""
    selector, is_glob = _selector(elaborator, statement.selector, context)
    value = elaborator.evaluate(statement.value, context.setting())
    if value is UNEVALUATED or selector is None:
        return
    if not isinstance(value, Recipe):
        reason = "write an initialiser, such as `zeros` or `normal(std=0.02)`"
        raise ProblemError(NotAStage(span=statement.value.span, what=f"`{statement.value.span.text}`", reason=reason))
    recipe = rule_value(elaborator, value, statement.value.span)
    context.body.inits.append(InitRule(selector, is_glob, recipe, statement.selector.span))


def _selector(elaborator: "Elaborator", node: syntax.Expr, context: "Context") -> tuple[str | None, bool]:
    """The text of a selector, and whether it is a glob; classes and blocks must exist."""
    if isinstance(node, syntax.Constant | syntax.Template):
        text = elaborator.evaluate(node, context.setting())
        return (text if isinstance(text, str) else None), True
    head = node
    while isinstance(head, syntax.Attribute):
        head = head.value
    if not isinstance(head, syntax.Name):
        reason = 'it is no selector: write a glob such as "*.bias", or a class such as `Conv2d.weight`'
        raise ProblemError(NotAStage(span=node.span, what=f"`{node.span.text}`", reason=reason))
    elaborator.name(head, context)
    return node.span.text.replace(" ", ""), False


LOAD: Final = (
    Param("path", STR, doc="a file of weights, or the name of torchvision's"),
    Param("drop", STR, "", "what its keys start with, before those of the model"),
)


WEIGHT_FILES: Final = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
"""How files of weights end: safetensors, and what `torch.save` writes."""


def is_load(recipe: Recipe) -> bool:
    """Whether an `init` takes what it starts from a file."""
    return recipe.name == "load" and recipe.target is None


def rule_value(elaborator: "Elaborator", value: Recipe, span: Span) -> Recipe:
    """What an `init` may say, with its settings by name: an initialiser, or `load("file.safetensors", drop="net.")`.

    Raises `ProblemError` when it is neither, or its settings are wrong.
    """
    if not is_load(value):
        return initialiser(elaborator, value, span)
    settings = match_settings("load", LOAD, LOAD[:1], value.arguments, span)
    path = settings["path"]
    fault = _path_fault(path) if isinstance(path, str) else None
    if fault is not None:
        raise ProblemError(SettingRefused(span=span, operator="load", reason=fault))
    return Recipe("load", tuple(Given(name, setting, span) for name, setting in settings.items()), span=span)


def _path_fault(path: str) -> str | None:
    """Why nothing can be loaded under this name, in words."""
    from expc.compiler.library.pretrained import is_published, published

    if is_published(path):
        return None if path in published() else f"torchvision has no `{path}`{advice(nearest(path, published()))}"
    if path.endswith(WEIGHT_FILES):
        return None
    return (
        f"it reads files that end in {enumeration(WEIGHT_FILES, 'or')}, "
        "and what torchvision publishes, such as `ResNet18_Weights.IMAGENET1K_V1`"
    )


def initialiser(elaborator: "Elaborator", value: Recipe, span: Span) -> Recipe:
    """An initialiser with its settings by name. Raises `ProblemError` when it is none, or its settings are wrong."""
    declaration = elaborator.library.initialisers.get(value.name)
    if declaration is None:
        reason = f"it is {elaborator.library.kind(value.name)}, not an initialiser"
        if is_load(value):
            reason = 'a file starts what an `init` selects: `init "scale" = load("net.safetensors")`'
        raise ProblemError(NotAStage(span=span, what=f"`{value.name}`", reason=reason))
    settings = match_settings(value.name, declaration.settings, declaration.settings, value.arguments, span)
    return Recipe(value.name, tuple(Given(name, setting, span) for name, setting in settings.items()), span=span)


def start(elaborator: "Elaborator", value: Any, dims: Sequence[Size], dtype: str, span: Span) -> Any:
    """What a declared tensor of these sizes starts as: an initialiser, a number, or a list for its first dimension.

    Raises `ProblemError` when it is none of them, or does not fit.
    """
    if isinstance(value, Recipe):
        recipe = initialiser(elaborator, value, span)
        misfit = _misfit(elaborator, recipe, dims) or _fraction(elaborator, recipe, dtype)
        if misfit is not None:
            raise ProblemError(SettingRefused(span=span, operator=recipe.name, reason=misfit))
        return recipe
    if isinstance(value, tuple):
        if not dims or len(value) != dims[0]:
            here = f"the dimension of {dims[0]} that it fills" if dims else "a single number"
            reason = f"a list of {len(value)} does not fit {here}"
            raise ProblemError(NotAStage(span=span, what=f"`{span.text}`", reason=reason))
        return tuple(start(elaborator, item, dims[1:], dtype, span) for item in value)
    if isinstance(value, float) and dtype not in FLOATING and not value.is_integer():
        raise ProblemError(NotAStage(span=span, what=describe(value), reason=f"{dtype} has no fractions"))
    if value is UNEVALUATED or isinstance(value, bool) or is_number(value):
        return 0 if value is UNEVALUATED else value
    reason = "a start is an initialiser, numbers, or one tensor"
    raise ProblemError(NotAStage(span=span, what=describe(value), reason=reason))


def _fraction(elaborator: "Elaborator", recipe: Recipe, dtype: str) -> str | None:
    """Why an initialiser cannot start a tensor of whole numbers: torch refuses, or cuts the fraction off."""
    if dtype in FLOATING:
        return None
    given = (argument.value for argument in recipe.arguments)
    whole = all(not isinstance(value, float) or value.is_integer() for value in given)
    return None if elaborator.library.initialisers[recipe.name].whole and whole else f"{dtype} has no fractions"


def check_rules(elaborator: "Elaborator", rules: Sequence[InitRule], container: Container) -> None:
    """Each `init` of a container must match some parameter, and suit those that no later one starts."""
    if not rules:
        return
    entries = list(weights(container))
    parameters = [weight for weight in entries if not weight.is_buffer]
    chosen = {}
    for rule in rules:
        matched = matching(rule.selector, rule.is_glob, container, entries if is_load(rule.initialiser) else parameters)
        if not matched and not may_be_python(rule.selector, rule.is_glob, container):
            notes = what_was_meant(rule.selector, rule.is_glob, entries)
            elaborator.add(SelectorMatchesNothing(span=rule.span, selector=rule.selector, notes=notes))
        chosen.update({weight.key: (weight, rule) for weight in matched})
    refused: set[InitRule] = set()
    for weight, rule in chosen.values():
        misfit = None if is_load(rule.initialiser) else _misfit(elaborator, rule.initialiser, weight.dims)
        if misfit is not None and rule not in refused:
            refused.add(rule)
            reason = f"{misfit}: `{weight.key}`, which `{rule.selector}` matches"
            span = rule.initialiser.span or rule.span
            elaborator.add(SettingRefused(span=span, operator=rule.initialiser.name, reason=reason))


def _misfit(elaborator: "Elaborator", recipe: Recipe, dims: Sequence[Size]) -> str | None:
    """Why an initialiser cannot start a parameter of these sizes."""
    declaration: Initialiser = elaborator.library.initialisers[recipe.name]
    least, most, rank = declaration.min_rank, declaration.max_rank, len(dims)
    if least <= rank and (most is None or rank <= most):
        settings = {str(given.name): given.value for given in recipe.arguments}
        if declaration.refuses is None or any(map(is_lost, settings.values())):
            return None
        return declaration.refuses(settings, dims)
    takes = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
    return f"it starts tensors of {takes} dimensions, and this one has {rank}"
