"""An `extern` as a declaration of the kind that torch's own have: an operator, a data set, a transform, a metric ..."""

from collections.abc import Callable, Mapping
from typing import Any

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import SizeMismatch
from expc.compiler.library.lookup import Library
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.externs import Extern, Require, check, find
from expc.compiler.model.patterns import (
    size_of,
)
from expc.compiler.model.scope import BlockRef
from expc.compiler.ops.declare import Call, Fault, Operator, Param
from expc.compiler.ops.kinds import TENSOR
from expc.compiler.program import Dataset, Metric, Optimizer, SampleField, Schedule, Transform
from expc.compiler.types import TensorType
from expc.diagnostics import ProblemError, Report
from expc.spec import syntax
from expc.spec.values import UNEVALUATED


def declaration(library: Library, value: Any, kind: str) -> Any:
    """The data set, transform, metric, optimizer or schedule that a recipe of an `extern` stands for; none for others.

    Raises `ProblemError` where its declaration is wrong.
    """
    ref = find(value, kind)
    if ref is None:
        return None
    assert isinstance(ref.statement, syntax.Extern)  # noqa: S101 - `find` looked
    extern = Extern(ref.statement, ref.scope, Evaluator(library, Report()))
    check(extern)
    name, doc, params, python = ref.statement.name, f"`{extern.python.target}`", extern.params(), extern.python
    match kind:
        case "dataset":
            return Dataset(name, doc, params, _sample(extern), _length(extern), name, python=python)
        case "transform":
            return Transform(name, doc, params, _of_field(extern), name, python=python)
        case "optimizer":
            return Optimizer(name, doc, params, name, python=python)
        case "schedule":
            return Schedule(name, doc, params, name, python=python)
        case _:
            return Metric(name, doc, params, _accepts(extern), _complete, None, name, python=python)


def operator(evaluator: Evaluator, ref: BlockRef) -> Operator:
    """A layer or a loss as an operator, its sizes those of the body that uses it. Raises `ProblemError`."""
    statement = ref.statement
    assert isinstance(statement, syntax.Extern)  # noqa: S101 - the caller matched the rest
    extern = Extern(statement, ref.scope, evaluator)
    check(extern)
    names = _input_names(statement)

    def shape(call: Call) -> TensorType | tuple[TensorType, ...]:
        return extern.results(call.values, [call.tensor(name) for name in names], call.require_equal)

    return Operator(
        name=statement.name,
        kind="loss" if statement.kind == "loss" else "layer",
        doc=f"`{extern.python.target}`",
        settings=extern.params(),
        arguments=tuple(Param(name, TENSOR, tensor=True) for name in names),
        shape=shape,
        example=statement.name,
        python=extern.python,
    )


def _input_names(statement: syntax.Extern) -> list[str]:
    if len(statement.inputs) == 1:
        return ["input"]
    return [f"input{number}" for number in range(1, len(statement.inputs) + 1)]


def _sample(extern: Extern) -> Callable[[Mapping[str, Any]], tuple[SampleField, ...]]:
    def sample(settings: Mapping[str, Any]) -> tuple[SampleField, ...]:
        result, context = extern.statement.result, extern.context(settings)
        assert isinstance(result, syntax.RecordTypeExpr)  # noqa: S101 - `check` asked for it
        return tuple(SampleField(field.name, extern.type(_with_dims(field.type), context)) for field in result.fields)

    return sample


def _with_dims(type_: syntax.TypeExpr) -> syntax.TypeExpr:
    """`class(7)` of one sample is a single index."""
    if isinstance(type_, syntax.ClassTypeExpr) and type_.dims is None:
        return syntax.ClassTypeExpr(type_.classes, (), span=type_.span)
    return type_


def _length(extern: Extern) -> Callable[[Mapping[str, Any]], int | None]:
    def length(settings: Mapping[str, Any]) -> int | None:
        result = extern.statement.result
        count = result.count if isinstance(result, syntax.RecordTypeExpr) else None
        if count is None:
            return None
        size = size_of(extern.evaluator, count, extern.context(settings))
        return size if isinstance(size, int) else None

    return length


def _of_field(extern: Extern) -> Callable[[Mapping[str, Any], TensorType], TensorType]:
    def rule(settings: Mapping[str, Any], type_: TensorType) -> TensorType:
        result = extern.results(settings, [type_], _equal(extern.statement))
        assert isinstance(result, TensorType)  # noqa: S101 - `check` asked for one
        return result

    return rule


def _accepts(extern: Extern) -> Callable[[TensorType, TensorType], str | None]:
    def accepts(output: TensorType, target: TensorType) -> str | None:
        inputs = extern.statement.inputs
        if len(inputs) != 2:
            return f"it takes {len(inputs)} tensors, and a metric compares (output, target)"
        settings = {parameter.name: UNEVALUATED for parameter in extern.statement.parameters}
        try:
            extern.results(settings, [output, target], _equal(extern.statement))
        except (Fault, ProblemError) as error:
            if isinstance(error, ProblemError):
                return error.problem.message
            declared_types = " and ".join(type_.span.text for type_ in inputs)
            return f"it takes {declared_types}, but gets {output} and {target}"
        return None

    return accepts


def _complete(settings: Mapping[str, Any], *_: TensorType) -> tuple[str, dict[str, Any]]:
    return "", dict(settings)


def _equal(statement: syntax.Extern) -> Require:
    """Sizes that must be the same, where no condition can be asked for."""

    def require(expected: Size, found: Size, what: str) -> None:
        if expected != found:
            raise Fault(SizeMismatch, operator=statement.name, what=what, expected=str(expected), found=str(found))

    return require
