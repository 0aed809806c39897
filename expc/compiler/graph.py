"""The graph: a tree of containers with a type on every edge. What the checker makes and lowering builds.

A container becomes one `nn.Module` that walks its steps. Values are compared by identity: each is made by one step, or
is an input. A container's inputs are its declared tensors, then what its body uses from outside, then whole numbers for
the symbols (`N`) that its steps need and none of its tensors shows.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Union

from expc.compiler.dimensions import Size, Symbol
from expc.compiler.ops.declare import Operator
from expc.compiler.types import TensorType, Type
from expc.diagnostics import Span
from expc.frozen import dataclass, field
from expc.spec.values import Recipe


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor. `source` says how it came about, for the trail of an error; none for inputs."""

    type: Type
    span: Span
    name: str | None = None
    source: "Source | None" = None

    def __str__(self) -> str:
        return f"a tensor {self.type}"

    def __reduce__(self) -> tuple[Any, tuple[Type, Span, str | None]]:
        """Pickles without `source`: the chain of all values before is as deep as the network."""
        return Value, (self.type, self.span, self.name)


@dataclass(frozen=True, eq=False)
class Source:
    """How a value was made: what was applied to which tensors, and the arithmetic of the sizes that changed.

    The title is empty where a value only enters a body.
    """

    title: str
    inputs: tuple[Value, ...]
    arithmetic: tuple[str, ...] = ()


Result = Union[Value, None, tuple["Result", ...], "Record"]
"""What a step or a container gives: one tensor, nothing, several, or several by name."""


@dataclass(frozen=True, eq=False)
class Record:
    """Results by name, in the declared order."""

    fields: Mapping[str, Value]
    training_only: frozenset[str] = frozenset()


Argument = Any
"""A `Value`, a `Size`, a number, a string, none, a `Dtype`, a `SliceOf`, or a tuple of arguments."""


@dataclass(frozen=True, eq=False)
class SliceOf:
    """`start:stop:step` among the items of an index."""

    start: Argument
    stop: Argument
    step: Argument


@dataclass(frozen=True, eq=False)
class Apply:
    """An operator is applied. `module` is the child that holds its weights (layers), or none (functions).

    `arguments` has the tensor arguments (and for functions the settings) by torch's names; absent ones are left out.
    """

    operator: Operator
    module: str | None
    arguments: Mapping[str, Argument]
    result: Result
    span: Span


@dataclass(frozen=True, eq=False)
class Invoke:
    """A child container is run. `arguments` stand in the order of the child's `inputs`.

    `again` is the child for inputs of other types than the first, where the same modules run on them.
    """

    module: str
    arguments: tuple[Argument, ...]
    result: Result
    span: Span
    again: "Container | None" = None


@dataclass(frozen=True, eq=False)
class Read:
    """A `param` or `buffer` is read. `path` leads to it from this container: `("wte", "weight")`."""

    path: tuple[str, ...]
    result: Value
    span: Span


@dataclass(frozen=True, eq=False)
class Subscript:
    """A tensor is indexed: `x[:, 0]`. An `Ellipsis` stands for `...`, `None` for a new dimension."""

    value: Value
    items: tuple[Argument, ...]
    result: Value
    span: Span


@dataclass(frozen=True, eq=False)
class Cast:
    """A tensor is converted to another dtype."""

    value: Value
    dtype: str
    result: Value
    span: Span


Step = Apply | Invoke | Read | Subscript | Cast


@dataclass(frozen=True, eq=False)
class Leaf:
    """A module of torch. `settings` are complete: inferred ones are filled in, defaults included.

    `tied` maps a parameter of the module to the path, from the container that holds this leaf, of the parameter it is.
    """

    operator: Operator
    settings: Mapping[str, Any]
    weights: Mapping[str, tuple[Size, ...]]
    buffers: Mapping[str, tuple[Size, ...]]
    span: Span
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Declared:
    """A `param` or `buffer`: its type and how it starts.

    `start` is an initialiser's recipe, a number, nested lists of them, or a container without inputs, which is run once
    when the model is built and reads the buffers declared before.
    """

    type: TensorType
    start: Any
    span: Span


@dataclass(frozen=True, eq=False)
class InitRule:
    """`init selector = initializer`, relative to the container that holds it.

    `selector` is a glob over whole keys (`*.weight`), or a class or block with an optional parameter (`Conv2d.weight`).
    """

    selector: str
    is_glob: bool
    initialiser: Recipe
    span: Span


@dataclass(frozen=True, eq=False)
class Container:
    """A body: a block, a model, an inline body with braces, or a loss.

    `inputs` are the tensors and symbols that a caller passes. `sizes` says where each symbol that the steps need is
    found: (input, axis), with axis none where the input is the number itself.
    """

    title: str
    """The block's name; `Body` for an inline one."""
    inputs: tuple[Value | Symbol, ...]
    input_names: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int | None]]
    steps: tuple[Step, ...]
    result: Result
    children: Mapping[str, "Leaf | Container"]
    params: Mapping[str, Declared]
    buffers: Mapping[str, Declared]
    inits: tuple[InitRule, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Model:
    """A network: its body, the symbols of its input types, and the conditions on them that `where` states.

    `floors` are lower bounds of single symbols that follow from the body, which nobody needs to write.
    """

    name: str
    body: Container
    symbols: Mapping[str, Symbol]
    conditions: tuple[str, ...] = ()
    floors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Weight:
    """One entry of the `state_dict`. `tied_to` is the key that the same tensor has elsewhere."""

    key: str
    dims: tuple[Size, ...]
    owner: str
    """The class of the module that holds it: `Conv2d`, or a block's name."""
    span: Span
    is_buffer: bool
    tied_to: str | None = None


def weights(container: Container, prefix: str = "") -> Iterator[Weight]:
    """Every parameter and buffer under `container`, in the order of torch's `state_dict`."""
    for name, declared in container.params.items():
        yield Weight(prefix + name, declared.type.dims, container.title, declared.span, is_buffer=False)
    for name, declared in container.buffers.items():
        yield Weight(prefix + name, declared.type.dims, container.title, declared.span, is_buffer=True)
    for name, child in container.children.items():
        inside = f"{prefix}{name}."
        if isinstance(child, Container):
            yield from weights(child, inside)
            continue
        for key, dims in ordered(child.weights, child.buffers).items():
            tied = prefix + ".".join(child.tied[key]) if key in child.tied else None
            buffer = key in child.buffers
            yield Weight(inside + key, dims, child.operator.name, child.span, is_buffer=buffer, tied_to=tied)


def ordered(
    weights: Mapping[str, tuple[Size, ...]], buffers: Mapping[str, tuple[Size, ...]]
) -> dict[str, tuple[Size, ...]]:
    """The parameters and buffers of one layer in torch's order: those of numbered parts, `0.weight`, part by part."""
    keys = {**weights, **buffers}
    parts = {key: key.partition(".")[0] for key in keys}
    if not all(part.isdigit() for part in parts.values()):
        return keys
    return {key: keys[key] for key in sorted(keys, key=lambda key: int(parts[key]))}


def has_python(container: Container) -> bool:
    """Whether the Python code of an `extern` is among the modules: its parameters are known only when it is built."""
    return any(
        has_python(child) if isinstance(child, Container) else child.operator.python is not None
        for child in container.children.values()
    )
