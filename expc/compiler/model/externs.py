"""`extern`: Python code with a declared signature.

Nothing here imports the code. Its inside is not checked: its declared type stands for it until it is built, and is
compared with what it really gives then.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any, Final

from expc.compiler.arithmetic import describe
from expc.compiler.dimensions import Size
from expc.compiler.errors.externs import ExternDeclaration
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.patterns import (
    SETTING_WORDS,
    accepts_setting,
    check_dtype,
    declared,
    is_tensor_type,
    match,
)
from expc.compiler.model.scope import MISSING, BlockRef, Context, Scope
from expc.compiler.names import names_in
from expc.compiler.ops.declare import REQUIRED, Kind, Param, PythonCode
from expc.compiler.types import TensorType
from expc.diagnostics import Edit, Fix, Problem, ProblemError, Span
from expc.frozen import dataclass
from expc.spec import syntax
from expc.spec.suggest import advice, nearest
from expc.spec.values import UNEVALUATED, Recipe

Require = Callable[[Size, Size, str], None]

KINDS: Final = {
    "layer": "a layer",
    "loss": "a loss",
    "transform": "a transform",
    "metric": "a metric",
    "optimizer": "an optimizer",
    "schedule": "a schedule",
    "dataset": "a data set",
}
"""The kinds of `extern`, in words."""

_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, eq=False)
class Extern:
    """An `extern` of a file, with what is needed to evaluate its types."""

    statement: syntax.Extern
    scope: Scope
    evaluator: Evaluator

    @property
    def python(self) -> PythonCode:
        """Where the code is. Raises `ProblemError` where the text that says so is none."""
        return _python(self.statement)

    def params(self) -> tuple[Param, ...]:
        """The settings with their defaults. Raises `ProblemError` where a default is not of its type."""
        return tuple(_param(self, parameter) for parameter in self.statement.parameters)

    def results(
        self, settings: Mapping[str, Any], inputs: Sequence[TensorType], require: Require
    ) -> TensorType | tuple[TensorType, ...]:
        """The declared result for inputs of these types. Raises `Fault` where an input does not fit."""
        context = self.context(settings)
        for type_, actual in zip(self.statement.inputs, inputs, strict=True):
            match(self.evaluator, type_, actual, context, require, self.statement.name)
        result = self.statement.result
        if isinstance(result, syntax.RecordTypeExpr):
            return tuple(self.type(field.type, context) for field in result.fields)
        assert result is not None  # noqa: S101 - `check` asked for it
        return self.type(result, context)

    def type(self, written: syntax.TypeExpr, context: Context) -> TensorType:
        """A declared type whose names are all known. Raises `ProblemError` where one is not."""

        def unknown(name: str) -> Size:
            raise ProblemError(_unfixed(self, name, written.span, context))

        type_ = declared(self.evaluator, written, context, unknown)
        if type_ is None:
            raise ProblemError(_problem(self.statement, written.span, "a size in it is not known"))
        return type_

    def context(self, settings: Mapping[str, Any]) -> Context:
        """What the types see: the settings, then the file."""
        scope = Scope(self.scope)
        for parameter in self.statement.parameters:
            scope.bind(parameter.name, settings[parameter.name], parameter.span)
        return Context(scope)


def find(value: Any, *kinds: str) -> BlockRef | None:
    """The `extern` of one of these kinds that a recipe stands for."""
    target = value.target if isinstance(value, Recipe) else None
    if isinstance(target, BlockRef) and isinstance(target.statement, syntax.Extern) and target.statement.kind in kinds:
        return target
    return None


# ---------------------------------------------------------------------------------------------------- checking


def check(extern: Extern) -> None:
    """Raise `ProblemError` for the first thing that is wrong with a declaration."""
    statement = extern.statement
    extern.python  # noqa: B018 - says whether the text is right
    _check_form(statement)
    extern.params()
    context = Context(Scope(extern.scope))
    for parameter in statement.parameters:
        context.scope.bind(parameter.name, UNEVALUATED, parameter.span)
    for type_ in statement.inputs:
        _bind_names(type_, context)
    for type_ in (*statement.inputs, *_result_types(statement)):
        _check_names(extern, type_, context)


def check_all(evaluator: Evaluator, tree: syntax.File, scope: Scope) -> Iterator[Problem]:
    """What is wrong with the `extern`s of a file, used or not."""
    for statement in tree.statements:
        if isinstance(statement, syntax.Extern) and statement.kind in KINDS:
            try:
                check(Extern(statement, scope, evaluator))
            except ProblemError as error:
                yield error.problem


def modules(trees: Iterable[syntax.File]) -> dict[tuple[str, str], None]:
    """The Python modules that the `extern`s of files name, each with the folder that it is sought in first."""
    statements = (s for tree in trees for s in tree.statements if isinstance(s, syntax.Extern))
    found: dict[tuple[str, str], None] = {}
    for statement in statements:
        with suppress(ProblemError):  # it is reported where the declaration is checked
            code = _python(statement)
            found[code.module, code.folder] = None
    return found


def _check_form(statement: syntax.Extern) -> None:
    inputs, result, kind = statement.inputs, statement.result, statement.kind

    def refuse(reason: str, span: Span | None = None) -> None:
        raise ProblemError(_problem(statement, span or statement.name_span, reason))

    for parameter in statement.parameters:
        if is_tensor_type(parameter.type):
            refuse("a tensor is no setting: the types of what flows stand after the parentheses", parameter.span)
        if isinstance(parameter.type, syntax.TensorTypeExpr) and parameter.type.dtype == "layer":
            refuse("a layer cannot be given to Python code; settings are numbers, strings and lists", parameter.span)
    if kind in ("optimizer", "schedule"):
        if result is not None:
            refuse(f"{KINDS[kind]} has settings only, and no signature", result.span)
    elif kind == "dataset":
        if inputs or not isinstance(result, syntax.RecordTypeExpr):
            refuse("a data set says what is in a sample: `: (image: f32[3, 64, 64], label: class(7))`")
    elif result is None or not inputs:
        refuse(f"{KINDS[kind]} says what goes in and what comes out: `: {_EXAMPLES[kind]}`")
    elif isinstance(result, syntax.RecordTypeExpr) and kind != "layer":
        refuse("only a layer may give several results", result.span)
    elif kind == "transform" and len(inputs) != 1:
        refuse("a transform takes one field of a sample", inputs[1].span)
    elif kind in ("loss", "metric") and _rank(result) != 0:
        refuse(f"{KINDS[kind]} gives one number, `f32[]`", result.span)


_EXAMPLES: Final = {
    "layer": "f32[N, C] -> f32[N, C]",
    "loss": "f32[N, K], class(K)[N] -> f32[]",
    "metric": "f32[N, K], class(K)[N] -> f32[]",
    "transform": "f32[C, H, W] -> f32[C, H, W]",
}


def _rank(type_: syntax.TypeExpr) -> int | None:
    return len(type_.dims) if isinstance(type_, syntax.TensorTypeExpr) and type_.dims is not None else None


def _result_types(statement: syntax.Extern) -> tuple[syntax.TypeExpr, ...]:
    result = statement.result
    if isinstance(result, syntax.RecordTypeExpr):
        return tuple(field.type for field in result.fields)
    return () if result is None else (result,)


def _bind_names(type_: syntax.TypeExpr, context: Context) -> None:
    """What an input fixes: a dimension that is a name, and the one new name of a product."""
    for node in (*(getattr(type_, "dims", None) or ()), getattr(type_, "classes", None)):
        if isinstance(node, syntax.Star):
            context.scope.bind(node.name, (), node.span)
        elif node is not None:
            parts = (node.left, node.right) if isinstance(node, syntax.Binary) and node.operator == "*" else (node,)
            for part in parts:
                if isinstance(part, syntax.Name) and part.id[0].isupper():
                    context.scope.bind(part.id, UNEVALUATED, part.span)


def _check_names(extern: Extern, type_: syntax.TypeExpr, context: Context) -> None:
    if not isinstance(type_, syntax.TensorTypeExpr | syntax.ClassTypeExpr) or not is_tensor_type(type_):
        reason = f"`{type_.span.text}` is not the type of a tensor, such as `f32[N, C]`"
        raise ProblemError(_problem(extern.statement, type_.span, reason))
    check_dtype(type_)
    for node in _nodes(type_):
        if isinstance(node, syntax.Star):
            if context.scope.lookup(node.name) is MISSING:
                raise ProblemError(_unfixed(extern, f"*{node.name}", node.span, context))
            continue
        for name in names_in(node):
            if extern.evaluator.meaning(syntax.Name(name, span=node.span), context) is MISSING:
                raise ProblemError(_unfixed(extern, name, node.span, context))


def _nodes(type_: syntax.TypeExpr) -> list[syntax.Expr]:
    nodes = list(getattr(type_, "dims", None) or ())
    return [*nodes, type_.classes] if isinstance(type_, syntax.ClassTypeExpr) else nodes


def _unfixed(extern: Extern, name: str, span: Span, context: Context) -> Problem:
    """A name in a type that neither an input, nor a setting, nor the file says anything about."""
    near = nearest(name, [known for known in context.scope.names() if known[0].isupper() == name[0].isupper()])
    reason = f"nothing fixes the size `{name}`: no input, no setting and no `let` has that name{advice(near)}"
    fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near is not None and span.text == name else ()
    return _problem(extern.statement, span, reason, fixes)


def _problem(statement: syntax.Extern, span: Span, reason: str, fixes: tuple[Fix, ...] = ()) -> ExternDeclaration:
    return ExternDeclaration(span=span, kind=statement.kind, extern=statement.name, reason=reason, fixes=fixes)


def _python(statement: syntax.Extern) -> PythonCode:
    target, span = statement.target, statement.target.span
    text = target.value if isinstance(target, syntax.Constant) else None
    if not isinstance(text, str) or _TARGET.fullmatch(text) is None:
        guess = "" if not isinstance(text, str) else _repaired(text)
        hint = f"; did you mean `{guess}`?" if guess else ""
        fixes = (Fix(f'write `"{guess}"`', (Edit(span, f'"{guess}"'),)),) if guess else ()
        reason = f'where the code is is written `"package.module:Name"`{hint}'
        raise ProblemError(_problem(statement, span, reason, fixes))
    module, _, path = text.partition(":")
    folder = str(PurePath(statement.span.source.name).parent)
    result = statement.result
    names = tuple(field.name for field in result.fields) if isinstance(result, syntax.RecordTypeExpr) else ()
    return PythonCode(statement.kind, statement.name, module, path, folder, statement.name_span, names)


def _repaired(text: str) -> str:
    """`my/layers.py:Mine` and `my.layers.Mine` as they are meant."""
    guess = text.replace(".py", "").replace("/", ".").lstrip(".")
    if ":" not in guess:
        module, _, name = guess.rpartition(".")
        guess = f"{module}:{name}"
    return guess if _TARGET.fullmatch(guess) else ""


def _param(extern: Extern, parameter: syntax.Parameter) -> Param:
    def accepts(value: Any) -> bool:
        return accepts_setting(parameter.type, value) is None

    word = parameter.type.dtype if isinstance(parameter.type, syntax.TensorTypeExpr) else "any"
    kind = Kind(SETTING_WORDS.get(word, ""), accepts)
    if parameter.default is None:
        return Param(parameter.name, kind, REQUIRED)
    value = extern.evaluator.evaluate(parameter.default, Context(extern.scope))
    if value is not None and not accepts(value):
        reason = f"the default of `{parameter.name}` must be {kind.words}, but is {describe(value)}"
        raise ProblemError(_problem(extern.statement, parameter.default.span, reason))
    return Param(parameter.name, kind, value)
