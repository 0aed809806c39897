"""How an operator is declared: everything about it in one place.

A declaration holds the operator's name, its settings and tensor arguments in torch's order with torch's defaults, its
type rule, its cost, how torch builds it, and an example. Checker, lowering, emission, reference pages and tests all
read it. There is no class per operator: shapes that many share are plain functions that return an `Operator`.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, Final, Literal, NoReturn

from expc.compiler.dimensions import Dim, Size
from expc.compiler.types import TensorType
from expc.diagnostics import Problem, Span
from expc.frozen import dataclass, field


class Required:
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = Required()


@dataclass(frozen=True)
class Kind:
    """What a setting may be: `words` completes "expected ...", `accepts` decides; `choices` are all that it may be."""

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Param:
    """One setting or argument, by torch's name.

    `inferred`: the setting follows from the input and is not written positionally; written by name, it is checked.
    `tensor`: takes a tensor that flows (`kind` then says whether a number, a list or `none` will do as well).
    `by_name`: torch takes it by name only, or after a deprecated parameter that the language leaves out.
    `variadic`: takes one list, or the positional values from here on, `reshape([N, -1])` or `reshape(N, -1)`; the rule
    and `build` see a tuple.
    `rest`: takes every further setting that is named, as a dict, as `rearrange("n (h d) -> n h d", h=8)` does.
    `constant`: takes a list of numbers that torch wants as a tensor; the rule sees the list, `build` the tensor.
    `layer`: takes a recipe of a layer; the rule sees an `Inner`, `build` a function that makes the layer (`inner.py`).
    """

    name: str
    kind: Kind
    default: Any = REQUIRED
    doc: str = ""
    inferred: bool = False
    tensor: bool = False
    by_name: bool = False
    variadic: bool = False
    rest: bool = False
    constant: bool = False
    layer: bool = False

    @property
    def required(self) -> bool:
        """Whether a call must say it."""
        return self.default is REQUIRED and not self.inferred


@dataclass(frozen=True)
class PythonCode:
    """Where the Python code of an `extern` is: `path` (`Name`, `Outer.Name`) in `module`, sought in `folder` first."""

    kind: str
    """`layer`, `transform`, `loss`, `metric`, `optimizer`, `schedule` or `dataset`."""
    name: str
    """What the file calls it."""
    module: str
    path: str
    folder: str
    span: Span
    """Where the declaration says its name."""
    results: tuple[str, ...] = ()
    """The names of several results, or of a sample's fields."""

    @property
    def target(self) -> str:
        """As the file writes it: `package.module:Name`."""
        return f"{self.module}:{self.path}"


class Fault(Exception):
    """A type rule refuses a call. `problem` is a class whose other fields are `facts`; the checker knows the place."""

    def __init__(self, problem: type[Problem], **facts: Any) -> None:
        super().__init__(problem.name)
        self.problem = problem
        self.facts = facts


Requirement = tuple[Literal["equal", "at least", "at most", "divisible"], Size, Size, str]


@dataclass
class Call:
    """One use of an operator, as its type rule sees it.

    `values` has every setting and argument by name: tensors as `TensorType`, lists of tensors as tuples of them, sizes
    as `int` or `Dim`, what was not given as its default. A rule returns the result's `TensorType` (or nested tuples of
    them, `None` for a part that is absent), raises `Fault`, and states what must hold of unknown sizes by `require_*`.
    """

    operator: "Operator"
    values: dict[str, Any]
    require: Callable[[Requirement], None]
    arithmetic: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def tensor(self, name: str = "input") -> TensorType:
        """The type of the tensor argument called `name`."""
        value = self.values[name]
        assert isinstance(value, TensorType), name  # noqa: S101 - the checker passes tensors only
        return value

    def infer(self, name: str, size: Size) -> Size:
        """Fill the inferred setting `name` from the input; one that was written must equal it."""
        written = self.values.get(name)
        if written is None or written is REQUIRED:
            self.values[name] = size
        else:
            self.require_equal(written, size, name)
        return size

    def require_equal(self, a: Size, b: Size, what: str) -> None:
        """`a` (written, expected) must equal `b` (arriving) at every size; `what` names the pair in the message."""
        if a != b:
            self.require(("equal", a, b, what))

    def require_at_least(self, size: Size, bound: Size, what: str) -> None:
        """`size` must be `bound` or more."""
        if isinstance(size, Dim) or isinstance(bound, Dim) or size < bound:
            self.require(("at least", size, bound, what))

    def require_at_most(self, size: Size, bound: Size, what: str) -> None:
        """`size` must be `bound` or less."""
        if isinstance(size, Dim) or isinstance(bound, Dim) or size > bound:
            self.require(("at most", size, bound, what))

    def require_divisible(self, size: Size, divisor: Size, what: str) -> None:
        """`size` must be a multiple of `divisor`."""
        if isinstance(size, Dim) or isinstance(divisor, Dim) or divisor == 0 or size % divisor:
            self.require(("divisible", size, divisor, what))

    def explain(self, text: str) -> None:
        """A line for the trail of a size: the arithmetic that made it, with its numbers."""
        self.arithmetic.append(text)

    def fail(self, problem: type[Problem], **facts: Any) -> NoReturn:
        """Refuse the call."""
        raise Fault(problem, **facts)


ShapeRule = Callable[[Call], Any]
"""Gives the result's type: a `TensorType`, or nested tuples of them for modules that return several."""

Weights = Callable[[Call], dict[str, tuple[Size, ...]]]
"""Gives the parameters and their shapes, in the order of the module's `state_dict`."""


@dataclass(frozen=True)
class Operator:
    """An operator of the language: a layer (`torch.nn` class) or a function."""

    name: str
    kind: Literal["layer", "function", "loss"]
    doc: str
    settings: tuple[Param, ...]
    arguments: tuple[Param, ...]
    shape: ShapeRule
    example: str
    """A chain that applies it, for instance `x -> Conv2d(8, 3)`."""
    example_inputs: Mapping[str, str] = field(default_factory=lambda: {"x": "f32[N, 3, H, W]"})
    """The types of the names in `example`, as text."""
    home: Literal["torch.nn", "torch.nn.functional", "torch", "torch.Tensor", "torchvision.ops", "expc"] = "torch.nn"
    build: Callable[..., Any] | None = None
    """Layers: `build(nn, settings)` makes the module, by default `nn.<name>(**settings)`. Functions:
    `build(torch, values)` makes the result, by default `<home>.<name>(*arguments)`. It never imports torch itself."""
    weights: Weights | None = None
    macs: Callable[[Call, Any], Size] | None = None
    """Multiply-accumulates of one call, from the call and its result type; none for elementwise work."""
    random: bool = False
    """Draws random numbers, in training at least."""
    mode: bool = False
    """Acts differently in training: a function's `build` gets `values["training"]`."""
    creates: bool = False
    """Makes a tensor from no tensor: a function's `build` gets `values["device"]`, where the flow lives."""
    buffers: Weights | None = None
    batch_statistics: bool = False
    """Samples of a batch meet in it while training."""
    python: PythonCode | None = None
    """The Python code of an `extern`, whose inside is not checked."""

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[..., "Operator"], tuple[Any, ...]]:
        """Pickles as its name where the table has it: its rules are functions, some of them without a name."""
        from expc.compiler.ops.table import operators

        if operators().get(self.name) is self:
            return _from_table, (self.name,)
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.python is not None:
            # Its rule and its kinds see the file's names; what is built already needs neither.
            settings = tuple(Param(param.name, _ANYTHING, param.default) for param in self.settings)
            arguments = tuple(Param(param.name, _ANYTHING, tensor=True) for param in self.arguments)
            changed = {"settings": settings, "arguments": arguments, "shape": _checked_before}
            return _from_fields, ({**values, **changed},)
        return _from_fields, (values,)

    @cached_property
    def positional(self) -> tuple[Param, ...]:
        """What may be written without a name, in order.

        Functions take every argument so. Layers take the settings that torch requires, less the inferred ones, or the
        first where torch requires none: so `BatchNorm2d(64)`, pasted from Python, is never an `eps` of 64.
        """
        if self.kind == "function":
            return tuple(param for param in self.arguments if not param.by_name)
        if self.python is not None:
            return self.settings
        return positional_settings(self.settings)

    @cached_property
    def names(self) -> frozenset[str]:
        """What its settings and arguments are called."""
        return frozenset(param.name for param in (*self.settings, *self.arguments))

    def make(self, home: Any, values: Mapping[str, Any]) -> Any:
        """The layer as a module of `home`, which is `torch.nn` or stands for it: only what differs from torch's own
        defaults is passed, lists as tuples.
        """
        settings = {
            param.name: tuple(value) if isinstance(value, list) else value
            for param in self.settings
            if (value := values[param.name]) != param.default
        }
        return getattr(home, self.name)(**settings) if self.build is None else self.build(home, settings)


def positional_settings(settings: tuple[Param, ...]) -> tuple[Param, ...]:
    """The settings that may be written without a name: those that torch requires, less the inferred ones.

    Where torch requires none, it is the first.
    """
    required = tuple(param for param in settings if param.default is REQUIRED)
    if required:
        return tuple(param for param in required if not param.inferred)
    return tuple(param for param in settings if not param.inferred)[:1]


def _from_table(name: str) -> Operator:
    from expc.compiler.ops.table import operators

    return operators()[name]


def _accept(_: Any) -> bool:
    return True


def _checked_before(_: Call) -> NoReturn:
    raise NotImplementedError("the type of Python code is checked before it is built")


_ANYTHING: Final = Kind("anything", _accept)


def _from_fields(fields: dict[str, Any]) -> Operator:
    return Operator(**fields)
