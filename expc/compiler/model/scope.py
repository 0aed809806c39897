"""Names and what they stand for, from the innermost body out to the file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from expc.compiler.graph import Container, Leaf
from expc.diagnostics import Span
from expc.frozen import dataclass, field
from expc.spec import syntax

if TYPE_CHECKING:
    from expc.compiler.model.body import BodyBuilder


class Missing:
    """What a lookup gives where no scope knows the name."""


MISSING: Final = Missing()


@dataclass(eq=False)
class Scope:
    """One level of names. `homes` are top-level declarations, evaluated when first asked for."""

    parent: "Scope | None" = None
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)

    def lookup(self, name: str) -> Any:
        """The value of `name`, or `MISSING`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return MISSING

    def place(self, name: str) -> Span | None:
        """Where `name` was bound."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.places:
                return scope.places[name]
            scope = scope.parent
        return None

    def bind(self, name: str, value: Any, span: Span) -> None:
        """Give `name` a value at this level."""
        self.values[name] = value
        self.places[name] = span

    def names(self) -> Iterator[str]:
        """Every visible name, for suggestions."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.values
            scope = scope.parent


@dataclass(frozen=True, eq=False)
class Context:
    """Where an expression is evaluated: its names, the flow that arrives, and the body that collects steps."""

    scope: Scope
    flow: Any = None
    body: Any = None
    tensor: bool = False
    """A tensor is wanted: stages are applied. Elsewhere, in settings, they are recipes."""
    in_arithmetic: bool = False

    def with_flow(self, flow: Any) -> "Context":
        """The same place with another value arriving, where a tensor is wanted."""
        return Context(self.scope, flow, self.body, tensor=True)

    def setting(self) -> "Context":
        """The same place where no tensor is wanted."""
        return Context(self.scope, self.flow, self.body) if self.tensor or self.in_arithmetic else self

    def operands(self) -> "Context":
        """The same place inside arithmetic."""
        return Context(self.scope, self.flow, self.body, self.tensor, in_arithmetic=True)

    def enclosed(self) -> "Context":
        """The same place inside parentheses, where arithmetic around them is over."""
        return Context(self.scope, self.flow, self.body, self.tensor) if self.in_arithmetic else self

    def wanting(self) -> "Context":
        """The same place where a tensor is wanted."""
        return self if self.tensor else Context(self.scope, self.flow, self.body, True, self.in_arithmetic)

    def inner(self) -> "Context":
        """The same place with a new level of names."""
        return Context(Scope(self.scope), self.flow, self.body, self.tensor, self.in_arithmetic)


@dataclass(frozen=True, eq=False)
class Declared:
    """A top-level `let`, not evaluated yet, with the file scope it belongs to."""

    statement: syntax.Let
    scope: Scope


@dataclass(frozen=True, eq=False)
class Function:
    """A `fn` of the file."""

    statement: syntax.Fn
    scope: Scope

    def __str__(self) -> str:
        return f"the function `{self.statement.name}`"


@dataclass(frozen=True, eq=False)
class BlockRef:
    """A block or a model of the file, or a model that is made of a recipe, or an extern: a recipe's target."""

    statement: syntax.Block | syntax.ModelOf | syntax.Extern
    scope: Scope


@dataclass(frozen=True, eq=False)
class Builtin:
    """A function at compile time by its name: `range`, `max`, `sqrt`."""

    name: str

    def __str__(self) -> str:
        return f"the function `{self.name}`"


@dataclass(frozen=True, eq=False)
class ModuleRef:
    """A label: the module that it names, in the body that holds it. Used again, it shares the module."""

    name: str
    module: Leaf | Container
    owner: "BodyBuilder"
    """The body that the label belongs to."""
    stage: Any
    """What made the module, and where: tensors of other sizes go through it once more."""
    context: Context

    def __str__(self) -> str:
        return f"the module `{self.name}`"


@dataclass(frozen=True, eq=False)
class WeightRef:
    """`wte.weight`: a parameter of a labelled module, by its path from the body that holds the label."""

    path: tuple[str, ...]
    owner: "BodyBuilder"

    def __str__(self) -> str:
        return f"the parameter `{'.'.join(self.path)}`"


@dataclass(frozen=True, eq=False)
class TensorRef:
    """The name of a `param` or `buffer`; reading it gives a tensor."""

    name: str
    owner: "BodyBuilder"

    def __str__(self) -> str:
        return f"the tensor `{self.name}`"
