"""What names and expressions stand for while the oracle runs a program."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from expc.spec import syntax


@dataclass(eq=False)
class Tensor:
    """A tensor that flows: `data` is on the meta device, `known` has the values where they are known whole numbers.

    `classes`: the values are below it, where the data says so. `used`: something has read it.
    """

    data: torch.Tensor
    known: torch.Tensor | None = None
    classes: int | None = None
    used: bool = False
    training_only: bool = False


class Absent:
    """What a lookup gives where nothing has the name."""


ABSENT = Absent()


@dataclass(frozen=True)
class Argument:
    """One argument of a call, evaluated. `call` is the place of the call: within one, nothing is given twice."""

    name: str | None
    value: Any
    call: int | None = None


@dataclass(frozen=True, eq=False)
class Recipe:
    """A name with arguments, to be applied. `target` is the declaration in the file, where there is one."""

    name: str
    arguments: tuple[Argument, ...] = ()
    target: "syntax.Block | syntax.ModelOf | syntax.Extern | None" = None
    scope: "Scope | None" = None


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Stages one after the other."""

    stages: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Closure:
    """`{ ... }`, `repeat`, `as T`: needs a flow, and sees the names of its place."""

    node: syntax.Expr
    place: "Place"


@dataclass(frozen=True, eq=False)
class Labelled:
    """A stage whose module has a name."""

    label: str
    stage: Any


@dataclass(frozen=True)
class Lasting:
    """`stage for duration`."""

    stage: Any
    duration: Any


@dataclass(frozen=True)
class Quantity:
    """`500 steps`."""

    number: Any
    unit: str


@dataclass(frozen=True)
class Dtype:
    """`f32`."""

    name: str


@dataclass(frozen=True)
class Builtin:
    """`max`, `range`."""

    name: str


@dataclass(frozen=True)
class Word:
    """A bare word in a section."""

    name: str


@dataclass(frozen=True)
class Watched:
    """`val.loss`."""

    role: str
    name: str


@dataclass(frozen=True, eq=False)
class Function:
    """A `fn` of the file."""

    node: syntax.Fn
    scope: "Scope"


@dataclass(eq=False)
class Let:
    """A `let` of the file, evaluated when first asked for."""

    node: syntax.Let
    scope: "Scope"
    value: Any = ABSENT
    active: bool = False


@dataclass(eq=False)
class Frame:
    """A container that is being built or run: the modules, parameters and buffers that it holds, in their order."""

    title: str
    children: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    buffers: set[str] = field(default_factory=set)
    inits: list[tuple[syntax.Expr, str, Any]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    again: bool = False
    """The modules are there already: the container is shared and runs a second time."""
    position: int = 0

    def entries(self, prefix: str = "") -> Iterator[tuple[str, torch.Tensor, bool]]:
        """Every parameter and buffer with its key, and whether it is a buffer."""
        for name, tensor in self.tensors.items():
            yield f"{prefix}{name}", tensor, name in self.buffers
        for name, child in self.children.items():
            inside = f"{prefix}{name}."
            if isinstance(child, Frame):
                yield from child.entries(inside)
            else:
                for key, tensor in child.named_parameters():
                    yield inside + key, tensor, False
                for key, tensor in child.named_buffers():
                    yield inside + key, tensor, True


@dataclass(frozen=True, eq=False)
class ModuleRef:
    """A label used again."""

    name: str
    module: Any
    owner: Frame
    how: Any = None
    """What made a container, so that it can run again."""


@dataclass(frozen=True, eq=False)
class WeightRef:
    """`wte.weight`."""

    tensor: torch.Tensor
    owner: Frame


@dataclass(frozen=True, eq=False)
class TensorRef:
    """The name of a `param` or a `buffer`."""

    name: str
    owner: Frame


@dataclass(eq=False)
class Scope:
    """One level of names."""

    parent: "Scope | None" = None
    names: dict[str, Any] = field(default_factory=dict)

    def lookup(self, name: str) -> Any:
        """The value of a name, or `ABSENT`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return ABSENT

    @property
    def is_file(self) -> bool:
        """Whether these are the names of the file itself."""
        return self.parent is None


@dataclass(frozen=True, eq=False)
class Place:
    """Where an expression is evaluated. `wants`: a tensor is wanted here, so that stages are applied."""

    scope: Scope
    flow: Any = None
    frame: Frame | None = None
    wants: bool = False
    arithmetic: bool = False

    def at(self, **changes: Any) -> "Place":
        """The same place with something else."""
        values = {"scope": self.scope, "flow": self.flow, "frame": self.frame}
        return Place(**{**values, "wants": self.wants, "arithmetic": self.arithmetic, **changes})

    def setting(self) -> "Place":
        """The same place where no tensor is wanted."""
        return self.at(wants=False, arithmetic=False)


STAGES = (Recipe, Pipeline, Closure, Labelled, ModuleRef, TensorRef, WeightRef, Dtype)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)


def flows(value: Any) -> bool:
    """Whether a value is a tensor, or a tuple that holds one."""
    if isinstance(value, tuple):
        return any(map(flows, value))
    return isinstance(value, Tensor | TensorRef | WeightRef)
