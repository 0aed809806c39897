"""Which step made a value: how lint rules walk a graph backwards, through blocks."""

from collections.abc import Iterator

from expc.compiler.body import tensors
from expc.compiler.graph import Apply, Container, Invoke, Leaf, Record, Step, Value
from expc.compiler.program import Program


class Producers:
    """The steps of a graph by the values that they make, and how often each value is used."""

    def __init__(self, container: Container) -> None:
        self._made: dict[int, tuple[Step, Container]] = {}
        self._uses: dict[int, int] = {}
        self._outside: dict[int, Value] = {}
        self._collect(container)

    def step(self, value: Value) -> tuple[Step, Container] | None:
        """The step that made a value, and the container that holds the step; none for inputs of the whole graph."""
        return self._made.get(id(self._outermost(value)))

    def apply(self, value: Value) -> tuple[Apply, Container] | None:
        """The operator that made a value, if one did."""
        found = self.step(value)
        return (found[0], found[1]) if found is not None and isinstance(found[0], Apply) else None

    def uses(self, value: Value) -> int:
        """How many steps and results use a value."""
        return self._uses.get(id(value), 0)

    def _outermost(self, value: Value) -> Value:
        """The value as the body knows it that passed it into a block."""
        while id(value) in self._outside:
            value = self._outside[id(value)]
        return value

    def _collect(self, container: Container) -> None:
        for step in container.steps:
            if isinstance(step, Invoke):
                child = container.children[step.module]
                if isinstance(child, Container):
                    for inside, outside in zip(child.inputs, step.arguments, strict=True):
                        if isinstance(inside, Value) and inside is not outside:
                            self._outside[id(inside)] = outside
                    self._collect(child)
                continue
            for value in tensors(step.result):
                self._made[id(value)] = (step, container)
            for value in _inputs(step):
                outer = self._outermost(value)
                self._uses[id(outer)] = self._uses.get(id(outer), 0) + 1
        for value in tensors(container.result):
            self._uses[id(value)] = self._uses.get(id(value), 0)


def applications(container: Container) -> Iterator[tuple[Apply, Leaf | None, Container]]:
    """Every use of an operator in a graph, with its module where it is a layer."""
    for step in container.steps:
        if isinstance(step, Apply):
            leaf = container.children.get(step.module) if step.module is not None else None
            yield step, leaf if isinstance(leaf, Leaf) else None, container
        elif isinstance(step, Invoke):
            child = container.children[step.module]
            if isinstance(child, Container):
                yield from applications(child)


def named_outputs(program: Program) -> dict[str, Value]:
    """The model's outputs by the names that the loss knows them by."""
    assert program.model is not None  # noqa: S101 - callers looked
    result = program.model.body.result
    if isinstance(result, Record):
        return dict(result.fields)
    if isinstance(result, tuple):
        return {f"output{i}": value for i, value in enumerate(result) if isinstance(value, Value)}
    return {"output": result} if isinstance(result, Value) else {}


def input_of(step: Apply) -> Value | None:
    """The first tensor that an operator is applied to."""
    return next((value for value in _inputs(step)), None)


def _inputs(step: Step) -> Iterator[Value]:
    if isinstance(step, Apply):
        for argument in step.arguments.values():
            if isinstance(argument, Value):
                yield argument
            elif isinstance(argument, tuple):
                yield from (part for part in argument if isinstance(part, Value))
    elif hasattr(step, "value"):
        yield step.value
