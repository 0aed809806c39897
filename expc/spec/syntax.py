"""The syntax tree: a few generic frozen nodes, each with a span.

The tree says what was written, not what it means: parentheses are kept, names are unresolved. Spans do not take part in
equality, so that two trees are equal when the programs are written alike up to layout. Comments and blank lines live
beside the tree (`expc.spec.trivia`).
"""

from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any, Literal

from expc.diagnostics import Span
from expc.frozen import dataclass, field

Unit = str
"""A unit of a quantity, in the singular: `step`, `epoch`, `second`, `minute`, `hour`, `B`, `KiB`, `MiB`, `GiB`."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """Anything that stands somewhere in the text."""

    span: Span = field(compare=False, repr=False)


# ---------------------------------------------------------------------------------------------------- expressions


@dataclass(frozen=True)
class Expr(Node):
    """Anything that has a value: a constant, a tensor, a recipe, a pipeline."""


@dataclass(frozen=True)
class Missing(Expr):
    """What stands where a broken piece of text was cut out; agrees with everything, reports nothing."""


@dataclass(frozen=True)
class Name(Expr):
    """A name; `flow` and `_` are names too."""

    id: str


@dataclass(frozen=True)
class Constant(Expr):
    """`3`, `1e-3`, `true`, `none`, or a string without braces."""

    value: int | float | bool | str | None


@dataclass(frozen=True)
class Template(Expr):
    """A string with `{expr}` inside: strings and expressions in turn."""

    parts: tuple["str | Expr", ...]


@dataclass(frozen=True)
class Quantity(Expr):
    """A number with a unit: `500 steps`, `30 min`."""

    number: int | float
    unit: Unit


@dataclass(frozen=True)
class ListExpr(Expr):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class TupleExpr(Expr):
    """`(a, b)`: several values side by side."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Paren(Expr):
    """`(expr)`: groups and names nothing."""

    inner: Expr


@dataclass(frozen=True)
class Argument(Node):
    """One argument of a call; `name` is none for a positional one."""

    name: str | None
    value: Expr
    name_span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Call(Expr):
    """`function(arguments)`."""

    function: Expr
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Attribute(Expr):
    """`value.name`."""

    value: Expr
    name: str


@dataclass(frozen=True)
class Slice(Expr):
    """`start:stop:step` inside an index; each may be missing."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True)
class Index(Expr):
    """`value[items]`; `...` among the items is `Name("...")`."""

    value: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Unary(Expr):
    """`-x` or `not x`."""

    operator: Literal["-", "not"]
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    """`left operator right`; operators are those of the language, `and` and `or` included."""

    operator: str
    left: Expr
    right: Expr
    operator_span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Conditional(Expr):
    """`then if condition else orelse`."""

    then: Expr
    condition: Expr
    orelse: Expr


@dataclass(frozen=True)
class Chain(Expr):
    """`head -> stage -> stage`: at least two stages, the first of which is the head."""

    stages: tuple[Expr, ...]


@dataclass(frozen=True)
class Labelled(Expr):
    """`label: stage`; the label is a string, or a template such as `"layer{i}"`."""

    label: "Constant | Template"
    stage: Expr
    quoted: bool = False


@dataclass(frozen=True)
class Lasting(Expr):
    """`stage for 100 steps`: part of a schedule, or a freeze, with how long it lasts."""

    stage: Expr
    duration: Expr


@dataclass(frozen=True)
class Body(Expr):
    """`{ statements }`: the body of a block, or an inline body."""

    statements: tuple["Statement", ...]


@dataclass(frozen=True)
class Repeat(Expr):
    """`repeat count [as variable] { body }`, as a statement or as a stage."""

    count: Expr
    variable: str | None
    body: Body


@dataclass(frozen=True)
class As(Expr):
    """`as f32[N, T, C]` as a stage: asserts a type and binds its new names. `type` may be a record of fields."""

    type: "TypeExpr"


# ---------------------------------------------------------------------------------------------------- types


@dataclass(frozen=True)
class Star(Expr):
    """`*S` among the dimensions of a type: any number of them."""

    name: str


@dataclass(frozen=True)
class TypeExpr(Node):
    """Base of what may stand where a type is expected."""


@dataclass(frozen=True)
class TensorTypeExpr(TypeExpr):
    """`f32[N, 3]`, `bool[]`; `dims` is none for a bare word such as `int`, `layer`, `f32`."""

    dtype: str
    dims: tuple[Expr, ...] | None


@dataclass(frozen=True)
class ClassTypeExpr(TypeExpr):
    """`class(10)` or `class(21)[H, W]`: class indices."""

    classes: Expr
    dims: tuple[Expr, ...] | None


@dataclass(frozen=True)
class Field(Node):
    """`name: type [in training]` in a record type."""

    name: str
    type: TypeExpr
    in_training: bool = False
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class RecordTypeExpr(TypeExpr):
    """`(recon: f32[N, 3], mu: f32[N, z])`, with `* 12_000` where the number of samples is declared."""

    fields: tuple[Field, ...]
    count: Expr | None = None


# ---------------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True)
class Statement(Node):
    """One step of a body or one line of a section."""


@dataclass(frozen=True)
class Pattern(Node):
    """The left side of a binding: a name, or a tuple of patterns."""

    name: str | None
    items: tuple["Pattern", ...] = ()


@dataclass(frozen=True)
class Flow(Statement):
    """A chain that becomes the flow."""

    value: Expr


@dataclass(frozen=True)
class Bind(Statement):
    """`name = chain`, `a, b = chain`; in a section, a setting."""

    target: Pattern
    value: Expr


@dataclass(frozen=True)
class For(Statement):
    """`for a, b in iterable { body }`."""

    target: Pattern
    iterable: Expr
    body: Body


@dataclass(frozen=True)
class If(Statement):
    """`if condition { } else if ... else { }`; an `else if` is a body that holds one `If`."""

    condition: Expr
    then: Body
    orelse: Body | None


@dataclass(frozen=True)
class Declare(Statement):
    """`param NAME: type = init` or `buffer NAME: type = expr`."""

    kind: Literal["param", "buffer"]
    name: str
    type: TypeExpr
    value: Expr
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Init(Statement):
    """`init "glob" = initializer`, `init Conv2d.weight = initializer`."""

    selector: Expr
    value: Expr


@dataclass(frozen=True)
class Return(Statement):
    """`return chain`."""

    value: Expr


@dataclass(frozen=True)
class Section(Statement):
    """`data { ... }` at top level; `loss { ... }` or `group "*.bias" { ... }` inside another section."""

    name: str
    selector: Expr | None
    statements: tuple[Statement, ...]
    name_span: Span = field(compare=False, repr=False, kw_only=True)


# ---------------------------------------------------------------------------------------------------- top level


@dataclass(frozen=True)
class Parameter(Node):
    """A parameter of a block, model, function or extern: a tensor type makes it an input."""

    name: str
    type: TypeExpr | None
    default: Expr | None
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Let(Statement):
    """`let NAME = expr`."""

    name: str
    value: Expr
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Fn(Statement):
    """`fn NAME(params) = expr`."""

    name: str
    parameters: tuple[Parameter, ...]
    value: Expr
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Block(Statement):
    """`block NAME(params) { body }` or `model NAME(params) -> type where conditions { body }`."""

    kind: Literal["block", "model"]
    name: str
    parameters: tuple[Parameter, ...]
    result: TypeExpr | None
    conditions: tuple[Expr, ...]
    body: Body
    name_span: Span = field(compare=False, repr=False, kw_only=True)

    @cached_property
    def inside(self) -> tuple[Node, ...]:
        """Every node in the body."""
        return tuple(walk(self.body))


@dataclass(frozen=True)
class ModelOf(Statement):
    """`model NAME = recipe`."""

    name: str
    value: Expr
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Import(Statement):
    """`import "file.exp"` (names is none) or `from "file.exp" import A, B`."""

    path: Constant
    names: tuple[Name, ...] | None


@dataclass(frozen=True)
class Extern(Statement):
    """`extern KIND NAME(params): type -> type = "package.module:Name"`.

    For `extern dataset`, `result` is the record of a sample and `inputs` is empty.
    """

    kind: str
    name: str
    parameters: tuple[Parameter, ...]
    inputs: tuple[TypeExpr, ...]
    result: TypeExpr | None
    target: Expr
    name_span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class File(Node):
    """A whole file: its top-level declarations in the order of the text.

    `broken` are the places of what could not be read, or only by a guess: nothing else is to be said about them.
    """

    statements: tuple[Statement, ...]
    broken: tuple[Span, ...] = field(default=(), compare=False, repr=False)

    @cached_property
    def mentioned(self) -> tuple[frozenset[str], ...]:
        """The names that each statement mentions."""
        return tuple(
            frozenset(part.id for part in walk(statement) if type(part) is Name) for statement in self.statements
        )

    @cached_property
    def words(self) -> frozenset[str]:
        """Every name that is mentioned or bound, every key and section, and `param` and `buffer`."""
        found = set().union(*self.mentioned)
        for node in walk(self.statements):
            match node:
                case Pattern(name=str(word)) | Section(name=word) | Declare(kind=word):
                    found.add(word)
        return frozenset(found)


# ---------------------------------------------------------------------------------------------------- the whole of it


@cache
def _parts(kind: type) -> tuple[str, ...] | None:
    """The fields of a class of nodes that may hold nodes, the last first; none for what is no node."""
    if not issubclass(kind, Node):
        return None
    fields = reversed(kind.__dataclass_fields__)
    return tuple(name for name in fields if name != "broken" and not name.endswith("span"))


def walk(node: Any) -> Iterator[Node]:
    """Every node in a node, or in a tuple of them, itself among them, in the order of the text."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        kind: Any = type(node)
        if kind is tuple:
            waiting.extend(reversed(node))
            continue
        parts = _parts(kind)
        if parts is not None:
            yield node
            for name in parts:
                waiting.append(getattr(node, name))  # noqa: PERF401 - a list first takes longer, and this runs often
