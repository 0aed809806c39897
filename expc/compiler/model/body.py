"""Collects what a body does, and closes it into a container of the graph."""

from collections.abc import Iterator, Mapping
from typing import Any

from expc.compiler.dimensions import Dim, Symbol, as_symbol, symbols
from expc.compiler.errors.names import DuplicateName
from expc.compiler.errors.stages import Misplaced
from expc.compiler.graph import (
    Apply,
    Cast,
    Container,
    Declared,
    InitRule,
    Invoke,
    Leaf,
    Read,
    Record,
    Result,
    SliceOf,
    Step,
    Subscript,
    Value,
)
from expc.compiler.model.scope import ModuleRef, Scope
from expc.compiler.types import is_known
from expc.diagnostics import Label, ProblemError, Span
from expc.frozen import dataclass, field
from expc.spec import syntax


@dataclass(eq=False)
class BodyBuilder:
    """A body being elaborated: its inputs, its steps so far, and the modules that it holds."""

    title: str
    span: Span
    inputs: list[Value] = field(default_factory=list)
    input_names: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    children: dict[str, Leaf | Container] = field(default_factory=dict)
    params: dict[str, Declared] = field(default_factory=dict)
    buffers: dict[str, Declared] = field(default_factory=dict)
    inits: list[InitRule] = field(default_factory=list)
    labels: dict[str, ModuleRef] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    position: int = 0
    _results: Mapping[str, syntax.TypeExpr] = field(default_factory=dict)
    _results_scope: Scope | None = None

    def declare_results(self, types: Mapping[str, syntax.TypeExpr], scope: Scope) -> None:
        """Remember what is declared for the names that are results, when `scope` binds them."""
        self._results, self._results_scope = types, scope

    def result_type(self, name: str, scope: Scope) -> syntax.TypeExpr | None:
        """What is declared for `name`, where binding it in `scope` makes it a result."""
        return self._results.get(name) if scope is self._results_scope else None

    def claim(self, label: str | None, span: Span) -> str:
        """The name of the next module: its label, or its position among all modules of the body."""
        name = str(self.position) if label is None else label
        self.position += 1
        self.reserve(name, span)
        return name

    def reserve(self, name: str, span: Span) -> None:
        """Take a name of the body for a module, a parameter or a buffer. Raises `ProblemError` if it is taken."""
        if name in self.places:
            labels = (Label(self.places[name], "the first is here"),)
            raise ProblemError(DuplicateName(span=span, word=name, reason="names two modules", labels=labels))
        if not name or "." in name:
            raise ProblemError(Misplaced(span=span, what=f'"{name}" cannot name a module: torch allows no dot in it'))
        self.places[name] = span

    def close(self, result: Result) -> Container:
        """The finished container. What the body uses from outside becomes further inputs."""
        made = {id(value) for step in self.steps for value in tensors(step.result)}
        known = {id(value) for value in self.inputs}
        captured: dict[int, Value] = {}
        needed: dict[str, Symbol] = {}
        for used in (*(argument for step in self.steps for argument in arguments(step)), *tensors(result)):
            if isinstance(used, Value) and id(used) not in made and id(used) not in known:
                captured.setdefault(id(used), used)
            elif isinstance(used, Dim):
                needed.update((symbol.name, symbol) for symbol in sorted(symbols(used)))
        inputs: list[Value | Symbol] = [*self.inputs, *captured.values()]
        names = [*self.input_names, *(value.name or "captured" for value in captured.values())]
        sizes: dict[str, tuple[int, int | None]] = {}
        for name, symbol in needed.items():
            found: tuple[int, int | None] | None = _shown(symbol, inputs)
            if found is None:
                found = (len(inputs), None)
                inputs.append(symbol)
                names.append(name)
            sizes[name] = found
        return Container(
            title=self.title,
            inputs=tuple(inputs),
            input_names=tuple(names),
            sizes=sizes,
            steps=tuple(self.steps),
            result=result,
            children=self.children,
            params=self.params,
            buffers=self.buffers,
            inits=tuple(self.inits),
            span=self.span,
        )


def tensors(result: Result) -> Iterator[Value]:
    """Every tensor in a result."""
    if isinstance(result, Value):
        yield result
    elif isinstance(result, tuple):
        for part in result:
            yield from tensors(part)
    elif isinstance(result, Record):
        yield from result.fields.values()


def arguments(step: Step) -> Iterator[Any]:
    """What a step is given, lists taken apart: tensors, sizes, numbers."""
    match step:
        case Apply():
            for argument in step.arguments.values():
                yield from _flat(argument)
        case Invoke():
            for argument in step.arguments:
                yield from _flat(argument)
        case Subscript():
            yield step.value
            for item in step.items:
                yield from _flat(item)
        case Cast():
            yield step.value
        case Read():
            return


def _flat(argument: Any) -> Iterator[Any]:
    if isinstance(argument, tuple | list):
        for part in argument:
            yield from _flat(part)
    elif isinstance(argument, dict):
        yield from _flat(tuple(argument.values()))
    elif isinstance(argument, SliceOf):
        yield from _flat((argument.start, argument.stop, argument.step))
    else:
        yield argument


def _shown(symbol: Symbol, inputs: list[Value | Symbol]) -> tuple[int, int | None] | None:
    for position, value in enumerate(inputs):
        if isinstance(value, Value) and is_known(value.type):
            for axis, size in enumerate(value.type.dims):
                if as_symbol(size) == symbol:
                    return position, axis
    return None
