"""What a network costs, layer by layer, read off the graph.

Parameters, multiply-accumulates of one forward pass, and the bytes that are kept for the backward pass.
"""

from collections.abc import Collection, Iterator, Mapping
from math import prod
from typing import Any, Final

from expc.compiler.cost.activations import Activations, Env
from expc.compiler.dimensions import Size, substitute
from expc.compiler.graph import Apply, Container, Invoke, Leaf, Record, Result, Value
from expc.compiler.ops.declare import REQUIRED, Call
from expc.compiler.types import at, is_known
from expc.diagnostics import Span
from expc.frozen import dataclass

PYTHON: Final = "Python"
"""What stands in the title of a row whose parameters and work nobody knows before it is built."""


@dataclass(frozen=True)
class Row:
    """One step of a network that has weights, multiplies or keeps something, or a container with the sum of its steps.

    `key` is the module's whole name, as in the `state_dict`; of a function it is empty. `parameters` counts a tensor
    that several modules share once, where it first appears. `kept` is in bytes, and counts what several steps keep
    where it is kept first.
    """

    key: str
    title: str
    depth: int
    result: str
    parameters: int
    macs: Size
    kept: Size
    span: Span


def rows(model: Container, sizes: Mapping[str, Size], batch: Mapping[str, Size] | None = None) -> tuple[Row, ...]:
    """The rows of `model`, in the order of its steps; the first is the network itself, with the totals.

    `sizes` gives numbers to symbols, `batch` further ones to count what is kept with; numbers stay symbolic in the
    others.
    """
    activations = Activations({**sizes, **(batch or {})})
    env = activations.given(model.inputs)
    return tuple(_Walk(sizes, activations, batch or ()).container(model, env, key="", depth=0))


class _Walk:
    """Goes through the steps as they run."""

    def __init__(self, sizes: Mapping[str, Size], activations: Activations, batch: Collection[str]) -> None:
        self._sizes = sizes
        self._activations = activations
        self._batch = batch
        self._seen: set[int] = set()
        """The containers and leaves that were counted already."""

    def container(self, container: Container, env: Env, key: str, depth: int) -> list[Row]:
        inside: list[Row] = []
        for name, declared in container.params.items():
            count = 0 if id(container) in self._seen else _count(declared.type.dims)
            inside.append(Row(_join(key, name), "param", depth + 1, str(declared.type), count, 0, 0, declared.span))
        self._seen.add(id(container))
        for step in container.steps:
            if isinstance(step, Invoke):
                child = step.again or container.children[step.module]
                if step.again is not None:
                    self._seen |= {id(part) for part in _parts(step.again)}
                assert isinstance(child, Container), step.module  # noqa: S101 - what `Invoke` says
                given = self._activations.entering(child, step.arguments, env)
                inside += self.container(child, given, _join(key, step.module), depth + 1)
                self._activations.leaving(child, step.result, given, env)
                continue
            kept = self._activations.step(step, container, env)
            if isinstance(step, Apply):
                inside += self._apply(container, step, kept, key, depth + 1)
            elif kept != 0:
                inside.append(Row("", "index", depth + 1, self._text(step.result), 0, 0, kept, step.span))
        direct = [row for row in inside if row.depth == depth + 1]
        macs: Size = 0
        kept_inside: Size = 0
        for row in direct:
            macs, kept_inside = macs + row.macs, kept_inside + row.kept
        total = sum(row.parameters for row in direct)
        result = self._text(container.result)
        return [Row(key, container.title, depth, result, total, macs, kept_inside, container.span), *inside]

    def _text(self, result: Result) -> str:
        """The type of a result, with the sizes that are known; the batch stays a name."""
        return text(result, {name: size for name, size in self._sizes.items() if name not in self._batch})

    def _apply(self, container: Container, step: Apply, kept: Size, key: str, depth: int) -> Iterator[Row]:
        operator = step.operator
        leaf = container.children[step.module] if step.module is not None else None
        if leaf is None and operator.macs is None and kept == 0:
            return
        parameters = 0
        if isinstance(leaf, Leaf) and id(leaf) not in self._seen:
            self._seen.add(id(leaf))
            parameters = sum(_count(dims) for name, dims in leaf.weights.items() if name not in leaf.tied)
        settings = leaf.settings if isinstance(leaf, Leaf) else {}
        macs = 0 if operator.macs is None else operator.macs(_call(step, settings), _types(step.result))
        whole = "" if step.module is None else _join(key, step.module)
        title = operator.name if operator.python is None else f"{operator.name} ({PYTHON})"
        yield Row(
            whole, title, depth, self._text(step.result), parameters, substitute(macs, self._sizes), kept, step.span
        )


def _parts(container: Container) -> Iterator[Container | Leaf]:
    yield container
    for child in container.children.values():
        if isinstance(child, Container):
            yield from _parts(child)
        else:
            yield child


def text(result: Result, sizes: Mapping[str, Size] | None = None) -> str:
    """The type of what a step gives, as the language writes it, at these sizes."""

    def shown(value: Value) -> str:
        return str(at(value.type, dict(sizes)) if sizes and is_known(value.type) else value.type)

    if isinstance(result, Value):
        return shown(result)
    if isinstance(result, Record):
        return "(" + ", ".join(f"{name}: {shown(value)}" for name, value in result.fields.items()) + ")"
    if isinstance(result, tuple):
        return "(" + ", ".join(text(part, sizes) for part in result) + ")"
    return "none"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _count(dims: tuple[Size, ...]) -> int:
    return prod(dim for dim in dims if isinstance(dim, int))


def _call(step: Apply, settings: Mapping[str, Any]) -> Call:
    """The call as the operator's type rule saw it."""
    declared = (*step.operator.settings, *step.operator.arguments)
    defaults = {param.name: param.default for param in declared if param.default is not REQUIRED}
    given = {name: _types(argument) for name, argument in step.arguments.items()}
    return Call(step.operator, {**defaults, **settings, **given}, require=lambda _: None)


def _types(argument: Any) -> Any:
    """Values replaced by their types, in nested tuples too."""
    if isinstance(argument, Value):
        return argument.type
    if isinstance(argument, tuple):
        return tuple(map(_types, argument))
    return argument
