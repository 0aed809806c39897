"""Values at compile time, besides numbers, strings and lists: recipes, pipelines, quantities, words.

A recipe says what would be made or done, and does nothing: `Conv2d(16, 3)`, `AdamW(lr=2e-3)`. Each prints as the text
that makes it, so that a resolved setting can be read and written again.
"""

from collections.abc import Mapping
from typing import Any, Final

from expc.diagnostics import Span
from expc.frozen import dataclass, field
from expc.spec import syntax


@dataclass(frozen=True)
class Dtype:
    """An element type by its name in the language: `f32`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Word:
    """A bare word that names nothing declared: one of a setting's choices, such as `auto`, or a mistake."""

    name: str

    def __str__(self) -> str:
        return self.name


UNITS_OF_TIME: Final = ("step", "epoch", "second", "minute", "hour")
"""The units that an interval of a run can have; the others measure memory."""


@dataclass(frozen=True)
class Quantity:
    """A number with a unit in the singular: `Quantity(500, "step")`."""

    number: int | float
    unit: str

    def __str__(self) -> str:
        plural = "s" if self.unit in ("step", "epoch") and self.number != 1 else ""
        unit = {"second": "s", "minute": "min", "hour": "h"}.get(self.unit, self.unit)
        return f"{self.number} {unit}{plural}"


@dataclass(frozen=True)
class Watched:
    """A measured quantity by name: `val.accuracy`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Given:
    """One argument of a recipe, as it was given."""

    name: str | None
    value: Any
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        text = show(self.value)
        return text if self.name is None else f"{self.name}={text}"


@dataclass(frozen=True)
class Recipe:
    """A name with arguments, not applied yet. Calling it again adds arguments.

    `target` is the declaration in an `.exp` file that the name stands for (a block, a model, an extern), or none for
    the names of torch, torchvision and torchmetrics.
    """

    name: str
    arguments: tuple[Given, ...] = ()
    target: Any = field(default=None, compare=False, repr=False)
    span: Span | None = field(default=None, compare=False, repr=False)
    guessed: bool = field(default=False, compare=False, repr=False)
    """The name was misspelt, which was reported: what follows is checked as if it had been right."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})" if self.arguments else self.name


@dataclass(frozen=True)
class Part:
    """Part `index` of the data set that a `split` divides."""

    split: Recipe
    index: int

    def __str__(self) -> str:
        return f"{self.split}[{self.index}]"


@dataclass(frozen=True)
class Lasting:
    """A stage with how long it lasts: `LinearLR(start_factor=0.1) for 100 steps`."""

    stage: Any
    duration: Quantity | int
    duration_span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{show(self.stage)} for {self.duration}"


@dataclass(frozen=True)
class Labelled:
    """A stage with the name that its module gets."""

    label: str
    stage: Any
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.label}: {show(self.stage)}"


@dataclass(frozen=True)
class Closure:
    """A piece of text that needs a flow, with the names it sees: an inline body as a recipe, a deferred expression."""

    expression: syntax.Expr | syntax.Section
    scope: Any = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.expression.span.text


@dataclass(frozen=True)
class Pipeline:
    """Stages one after the other: of layers, of transforms after their data set, of schedules."""

    stages: tuple[Any, ...]
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return " -> ".join(map(show, self.stages))


@dataclass(frozen=True)
class Setting:
    """One line of a settings section, evaluated.

    `origin` says who set it, for people: `mnist.exp:27`, `--set train.epochs=1`.
    """

    key: str
    value: Any
    span: Span = field(compare=False, repr=False)
    key_span: Span = field(compare=False, repr=False)
    origin: str = ""


def origin(span: Span) -> str:
    """Who set the value at `span`: the file and the line, or the option."""
    source = span.source
    return source.name if source.name.startswith("--") else f"{source.name}:{span.line}"


@dataclass(frozen=True)
class Table:
    """The evaluated settings of a section, or of a section inside one; `selector` as in `group "*.bias" { }`."""

    name: str
    settings: tuple["Setting | Table", ...]
    span: Span = field(compare=False, repr=False)
    selector: Any = None


@dataclass(frozen=True)
class Unevaluated:
    """Stands for a value that could not be worked out and was reported already."""


UNEVALUATED = Unevaluated()


def show(value: Any) -> str:
    """A value as the language writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return '"' + escaped.replace("{", "{{").replace("}", "}}") + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + "}"
    return str(value)
