"""Type expressions: what is declared, and whether what arrives fits it."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.arithmetic import is_size
from expc.compiler.dimensions import Dim, Size, divides, exact_quotient
from expc.compiler.errors.names import WrongDeclaredType
from expc.compiler.errors.shapes import DtypeMismatch, RankMismatch, ResultMismatch
from expc.compiler.graph import Value
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.scope import MISSING, Context
from expc.compiler.ops.declare import Fault
from expc.compiler.types import DTYPES, TensorType
from expc.diagnostics import Edit, Fix, ProblemError
from expc.spec import syntax
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED

SETTING_TYPES: Final = ("int", "float", "bool", "str", "list", "layer", "any")
SETTING_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a string",
    "list": "a list",
    "layer": "a layer, such as `ReLU`",
}
"""What a setting of each type is, in words."""


def is_tensor_type(type_: syntax.TypeExpr | None) -> bool:
    """Whether a parameter of this type is an input: a tensor that flows."""
    if isinstance(type_, syntax.TensorTypeExpr):
        return type_.dims is not None
    return isinstance(type_, syntax.ClassTypeExpr)


def check_dtype(type_: syntax.TypeExpr) -> None:
    """Raise `ProblemError` if the dtype does not exist."""
    if isinstance(type_, syntax.TensorTypeExpr) and type_.dims is not None and type_.dtype not in DTYPES:
        near = {"float": "f32", "int": "i64", "double": "f64", "half": "f16", "long": "i64"}.get(type_.dtype)
        near = near or nearest(type_.dtype, DTYPES)
        hint = f"; did you mean `{near}`?" if near else f"; there are {', '.join(sorted(DTYPES))}"
        start = type_.span.start
        place = type_.span.__class__(type_.span.source, start, start + len(type_.dtype))
        fixes = (Fix(f"write `{near}`", (Edit(place, near),)),) if near else ()
        raise ProblemError(WrongDeclaredType(span=place, reason=f"`{type_.dtype}` is not a dtype{hint}", fixes=fixes))


def _unbound(node: syntax.Expr, context: Context) -> str | None:
    """The name that a dimension introduces: capitalised and not bound yet."""
    if isinstance(node, syntax.Name) and node.id[0].isupper() and context.scope.lookup(node.id) is MISSING:
        return node.id
    return None


def size_of(evaluator: Evaluator, node: syntax.Expr, context: Context) -> Any:
    """The size that a dimension expression stands for, or `UNEVALUATED`. Raises `ProblemError`."""
    value = evaluator.evaluate(node, context.setting())
    if value is UNEVALUATED:
        return UNEVALUATED
    if not is_size(value):
        raise ProblemError(WrongDeclaredType(span=node.span, reason=f"a dimension is a whole number, not `{value}`"))
    if isinstance(value, int) and value < 1:
        raise ProblemError(WrongDeclaredType(span=node.span, reason=f"a dimension cannot be {value}"))
    return value


def declared(
    evaluator: Evaluator, type_: syntax.TypeExpr, context: Context, unknown: Callable[[str], Size]
) -> TensorType | None:
    """The tensor type that is written, its new names bound to `unknown(name)`. None after an error in a dimension.

    Raises `ProblemError` where it is no type.
    """
    check_dtype(type_)
    dims: list[Size] = []
    complete = True
    for node in _dims(type_):
        if isinstance(node, syntax.Star):
            rest = context.scope.lookup(node.name)
            if not isinstance(rest, tuple):
                raise ProblemError(
                    WrongDeclaredType(
                        span=node.span, reason=f"`*{node.name}` needs a rank that is known: not in a model"
                    )
                )
            dims += rest
            continue
        name = _unbound(node, context)
        if name is not None:
            context.scope.bind(name, unknown(name), node.span)
        size = size_of(evaluator, node, context)
        if size is UNEVALUATED:
            complete = False
        else:
            dims.append(size)
    classes = None
    if isinstance(type_, syntax.ClassTypeExpr):
        classes = size_of(evaluator, type_.classes, context)
        complete = complete and classes is not UNEVALUATED
    return TensorType(_dtype(type_), tuple(dims), classes) if complete else None


def match(
    evaluator: Evaluator,
    type_: syntax.TypeExpr,
    actual: TensorType,
    context: Context,
    require: Callable[[Size, Size, str], None],
    what: str,
) -> None:
    """Match a tensor against a declared type: new names bind, known ones must agree.

    Raises `ProblemError` where the declaration is wrong, and `Fault` where the tensor does not fit.
    """
    check_dtype(type_)
    nodes = _dims(type_)
    if actual.dtype != _dtype(type_):
        expected = type_.span.text
        raise Fault(DtypeMismatch, operator=what, expected=f"{_dtype(type_)} ({expected})", found=str(actual))
    stars = [node for node in nodes if isinstance(node, syntax.Star)]
    if len(stars) > 1:
        reason = "one `*` can stand in a type: with two, nothing says where one ends"
        raise ProblemError(WrongDeclaredType(span=stars[1].span, reason=reason))
    if (actual.rank != len(nodes)) if not stars else (actual.rank < len(nodes) - 1):
        raise Fault(RankMismatch, operator=what, expected=type_.span.text, found=str(actual))
    spare = actual.rank - len(nodes) + 1
    position = 0
    pending: list[tuple[syntax.Expr, Size, int]] = []
    for axis, node in enumerate(nodes):
        if isinstance(node, syntax.Star):
            context.scope.bind(node.name, actual.dims[position : position + spare], node.span)
            position += spare
            continue
        size = actual.dims[position]
        position += 1
        name = _unbound(node, context)
        if name is not None:
            context.scope.bind(name, size, node.span)
        else:
            pending.append((node, size, axis))
    for node, size, _ in pending:
        _solve(evaluator, node, size, context)
    for node, size, axis in pending:
        expected = size_of(evaluator, node, context)
        if expected is not UNEVALUATED and expected != size:
            require(expected, size, f"dimension {axis} (`{node.span.text}`)")
    if isinstance(type_, syntax.ClassTypeExpr):
        _match_classes(evaluator, type_, actual, context, require)


def _match_classes(
    evaluator: Evaluator,
    type_: syntax.ClassTypeExpr,
    actual: TensorType,
    context: Context,
    require: Callable[[Size, Size, str], None],
) -> None:
    """`class(K)` binds the number of classes, `class(10)` must be it; of mere whole numbers nothing is known."""
    name = _unbound(type_.classes, context)
    if name is not None:
        context.scope.bind(name, UNEVALUATED if actual.classes is None else actual.classes, type_.classes.span)
    elif actual.classes is not None:
        expected = size_of(evaluator, type_.classes, context)
        if expected is not UNEVALUATED and expected != actual.classes:
            require(expected, actual.classes, "the number of classes")


def result_fault(what: str, expected: str, found: TensorType) -> Fault:
    """A body gives something else than was declared."""
    return Fault(ResultMismatch, what=what, expected=expected, found=str(found))


def _solve(evaluator: Evaluator, node: syntax.Expr, size: Size, context: Context) -> None:
    """Bind the one new name of a product such as `heads * D` so that it comes to `size`."""
    if not (isinstance(node, syntax.Binary) and node.operator == "*"):
        return
    for new, other in ((node.left, node.right), (node.right, node.left)):
        name = _unbound(new, context)
        if name is not None:
            factor = evaluator.evaluate(other, context.setting())
            if isinstance(factor, int) and factor > 0:
                # Where the factor does not divide the size, the product is another one, which is told where both meet.
                exact = divides(factor, size)
                context.scope.bind(name, exact_quotient(size, factor) if exact else size // factor, new.span)
            return


def _dims(type_: syntax.TypeExpr) -> tuple[syntax.Expr, ...]:
    if isinstance(type_, syntax.TensorTypeExpr | syntax.ClassTypeExpr):
        return type_.dims or ()
    raise ProblemError(WrongDeclaredType(span=type_.span, reason=f"`{type_.span.text}` is not the type of a tensor"))


def _dtype(type_: syntax.TypeExpr) -> str:
    return type_.dtype if isinstance(type_, syntax.TensorTypeExpr) else "i64"


def check_setting_type(type_: syntax.TypeExpr | None) -> None:
    """Raise `ProblemError` if a setting cannot be of the type that is written."""
    if not isinstance(type_, syntax.TensorTypeExpr) or type_.dims is not None or type_.dtype in SETTING_TYPES:
        return
    word = type_.dtype
    near = {"string": "str", "boolean": "bool", "number": "float", "tuple": "list"}.get(word)
    near = near or nearest(word, SETTING_TYPES)
    hint = f"; did you mean `{near}`?" if near else f"; there are {', '.join(SETTING_TYPES)}"
    if word in DTYPES:
        near, hint = f"{word}[]", f": a tensor of no dimensions is `{word}[]`"
    fixes = (Fix(f"write `{near}`", (Edit(type_.span, near),)),) if near else ()
    raise ProblemError(
        WrongDeclaredType(span=type_.span, reason=f"`{word}` is no type of a setting{hint}", fixes=fixes)
    )


def accepts_setting(type_: syntax.TypeExpr | None, value: Any) -> str | None:
    """What a setting of a block must be, in words, when `value` is something else; none when it fits."""
    if type_ is None or not isinstance(type_, syntax.TensorTypeExpr) or value is UNEVALUATED:
        return None
    word = type_.dtype
    if word == "any":
        return None
    fits = {
        "int": is_size(value),
        "float": (is_size(value) and not isinstance(value, Dim)) or isinstance(value, float),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "list": isinstance(value, tuple),
        "layer": not isinstance(value, int | float | str | bool | tuple | Dim | Value | None.__class__),
    }
    return None if fits.get(word, True) else SETTING_WORDS[word]
