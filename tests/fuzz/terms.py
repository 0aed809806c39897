"""The generator's own program: what it writes as `.exp`, and what it runs in torch. It shares no code with expc.

Everything has `text()` and is run with a `Frame`; a refusal is the exception `Refused`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

TORCH = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "u8": torch.uint8,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in TORCH.items()}

Outcome = Any
"""The types of tensors: (dtype, sizes), nested tuples of them, none for a part that is absent."""


class Refused(Exception):
    """torch, or a rule of the language that is written here once more, refuses the program."""


@dataclass(frozen=True)
class Sym:
    """A size by its name, times a number."""

    name: str
    times: int = 1


@dataclass(frozen=True)
class Round:
    """A number that grows with the rounds of a `repeat`."""

    base: int
    step: int


@dataclass(frozen=True)
class Ref:
    """A tensor by its name."""

    name: str


@dataclass(frozen=True)
class Dtype:
    """A dtype by its name in the language."""

    name: str


@dataclass(frozen=True)
class Recipe:
    """A layer that is a setting of another."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass
class Frame:
    """What is known while a body runs."""

    names: dict[str, Any]
    sizes: Mapping[str, int]
    device: str
    log: list[Outcome]
    weights: list[Any]
    labels: dict[str, Any] = field(default_factory=dict)
    round: int = 0
    notes: set[str] = field(default_factory=set)
    """What happened that the language has rules of its own about."""

    def inner(self, names: dict[str, Any], sizes: Mapping[str, int]) -> "Frame":
        """The frame of a body inside."""
        return Frame(names, sizes, self.device, self.log, self.weights, notes=self.notes)


def write(value: Any) -> str:
    """A value as `.exp`."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case Sym(name, times):
            return name if times == 1 else f"{times} * {name}"
        case Round(base, step):
            return f"{base} + {step} * round"
        case Ref(name) | Dtype(name):
            return name
        case Recipe(name, settings):
            return name + arguments((), dict(settings))
        case list() | tuple():
            return f"[{', '.join(map(write, value))}]"
    return repr(value)


def resolve(value: Any, frame: Frame) -> Any:
    """A value as torch takes it."""
    match value:
        case Sym(name, times):
            if name not in frame.sizes:
                raise Refused(f"no {name}")
            return frame.sizes[name] * times
        case Round(base, step):
            return base + step * frame.round
        case Ref(name):
            if name not in frame.names:
                raise Refused(f"no {name}")
            return frame.names[name]
        case Dtype(name):
            return TORCH[name]
        case list() | tuple():
            return [resolve(part, frame) for part in value]
    return value


def measured(value: Any) -> Outcome:
    """The types of real tensors."""
    if isinstance(value, torch.Tensor):
        return NAMES.get(value.dtype, str(value.dtype)), tuple(value.shape)
    return None if value is None else tuple(map(measured, value))


# ------------------------------------------------------------------------------------------------ statements


def arguments(positional: Sequence[Any], named: Mapping[str, Any]) -> str:
    """What stands in the parentheses of a call; nothing for none."""
    parts = [*map(write, positional), *(f"{name}={write(value)}" for name, value in named.items())]
    return f"({', '.join(parts)})" if parts else ""


@dataclass
class Operate:
    """An operator of the table is applied, to what flows or to what it is given."""

    name: str
    is_function: bool
    positional: list[Any]
    named: dict[str, Any]
    label: str | None = None
    flows: bool = True

    def text(self) -> str:
        call = arguments(self.positional, self.named)
        if self.is_function and not self.flows and not call:
            call = "()"
        return f"{self.label}: {self.name}{call}" if self.label else f"{self.name}{call}"

    def run(self, flow: Any, frame: Frame) -> Any:
        from fuzz.calls import call

        result = call(self, flow if self.flows else (), frame)
        frame.log.append(measured(result))
        return result


@dataclass
class Again:
    """A module is used again by its label."""

    label: str

    def text(self) -> str:
        return self.label

    def run(self, flow: Any, frame: Frame) -> Any:
        if self.label not in frame.labels:
            raise Refused(f"no {self.label}")
        from fuzz import stricter  # which needs what is here

        made = frame.labels[self.label]
        stricter.used_again(made, flow)
        result = made(flow)
        frame.log.append(measured(result))
        return result


@dataclass
class Cast:
    """A cast."""

    dtype: str

    def text(self) -> str:
        return self.dtype

    def run(self, flow: Any, frame: Frame) -> Any:
        result = flow.to(TORCH[self.dtype])
        frame.log.append(measured(result))
        return result


@dataclass
class As:
    """A type is asserted: sizes are numbers, names of sizes, or none for a new name."""

    dtype: str
    dims: tuple[Any, ...]
    names: tuple[str, ...]

    def text(self) -> str:
        dims = [name if size is None else write(size) for size, name in zip(self.dims, self.names, strict=True)]
        return f"as {self.dtype}[{', '.join(dims)}]"

    def run(self, flow: Any, frame: Frame) -> Any:
        fits = flow.dtype == TORCH[self.dtype] and flow.dim() == len(self.dims)
        if not fits or any(
            size is not None and resolve(size, frame) != real for size, real in zip(self.dims, flow.shape, strict=True)
        ):
            raise Refused("another type")
        return flow


AT_COMPILE_TIME = {"abs", "ceil", "cos", "exp", "floor", "log", "max", "min", "round", "sqrt", "sum"}
"""These names never take the flow where nothing stands before them."""


def _chain(stages: Sequence[Any]) -> str:
    """Stages at the head of a body."""
    texts = [stage.text() for stage in stages]
    first = stages[0]
    if isinstance(first, Cast) or (isinstance(first, Operate) and first.name in AT_COMPILE_TIME):
        texts = ["flow", *texts]
    return " -> ".join(texts)


@dataclass
class Repeat:
    """Stages, several times."""

    count: int
    stages: list[Any]

    def text(self) -> str:
        body = _chain(self.stages)
        rounds = " as round" if "round" in body else ""
        return f"repeat {self.count}{rounds} {{ {body} }}"

    def run(self, flow: Any, frame: Frame) -> Any:
        outer = frame.round
        for frame.round in range(self.count):
            for stage in self.stages:
                flow = stage.run(flow, frame)
        frame.round = outer
        return flow


@dataclass
class Branch:
    """An inline body that chooses at compile time."""

    condition: str
    stages: list[Any]
    other: str
    holds: bool

    def text(self) -> str:
        body = _chain(self.stages)
        first, second = (body, self.other) if self.holds else (self.other, body)
        return f"{{ if {self.condition} {{ {first} }} else {{ {second} }} }}"

    def run(self, flow: Any, frame: Frame) -> Any:
        for stage in self.stages:
            flow = stage.run(flow, frame)
        return flow


@dataclass
class Inline:
    """An inline body."""

    stages: list[Any]

    def text(self) -> str:
        return f"{{ {_chain(self.stages)} }}"

    def run(self, flow: Any, frame: Frame) -> Any:
        for stage in self.stages:
            flow = stage.run(flow, frame)
        return flow


@dataclass
class UseBlock:
    """A block is applied to what flows."""

    block: "Block"
    settings: dict[str, Any]

    def text(self) -> str:
        return f"{self.block.name}{arguments((), self.settings)}"

    def run(self, flow: Any, frame: Frame) -> Any:
        given = flow if isinstance(flow, tuple) else (flow,)
        sizes: dict[str, int] = {name: resolve(value, frame) for name, value in self.settings.items()}
        names: dict[str, Any] = {}
        if len(given) != len(self.block.inputs):
            raise Refused("another number of inputs")
        for entry, tensor in zip(self.block.inputs, given, strict=True):
            if tensor.dtype != TORCH[entry.dtype] or tensor.dim() != len(entry.dims):
                raise Refused("another type")
            for size, real in zip(entry.dims, tensor.shape, strict=True):
                if isinstance(size, Sym) and size.name not in sizes:
                    sizes[size.name] = real
                elif (sizes[size.name] if isinstance(size, Sym) else size) != real:
                    raise Refused("another size")
            names[entry.name] = tensor
        inner = frame.inner(names, sizes)
        for statement in self.block.statements:
            statement.run(inner)
        return (
            tuple(resolve(ref, inner) for ref in self.block.results)
            if len(self.block.results) > 1
            else resolve(self.block.results[0], inner)
        )


@dataclass
class Refs:
    """Tensors by name, at the head of a chain."""

    items: list[Ref]

    def text(self) -> str:
        texts = [write(item) for item in self.items]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    def run(self, frame: Frame) -> Any:
        found = [resolve(item, frame) for item in self.items]
        return found[0] if len(found) == 1 else tuple(found)


@dataclass
class Infix:
    """`a + b`, and `-a` where there is no right side."""

    operator: str
    left: Any
    right: Any = None

    def text(self) -> str:
        if self.right is None:
            return f"-{write(self.left)}"
        return f"{write(self.left)} {self.operator} {write(self.right)}"

    def run(self, frame: Frame) -> Any:
        from fuzz.calls import infix

        left = resolve(self.left, frame)
        result = infix(self.operator, left, None if self.right is None else resolve(self.right, frame))
        frame.log.append(measured(result))
        return result


@dataclass
class Slice:
    """A slice in an index."""

    start: Any
    stop: Any
    step: Any

    def text(self) -> str:
        start, stop = ("" if part is None else write(part) for part in (self.start, self.stop))
        return f"{start}:{stop}" + ("" if self.step is None else f":{write(self.step)}")


@dataclass
class Subscript:
    """`a[:, 0]`."""

    value: Ref
    items: list[Any]

    def text(self) -> str:
        texts = [
            item.text() if isinstance(item, Slice) else "..." if item is ... else write(item) for item in self.items
        ]
        return f"{write(self.value)}[{', '.join(texts)}]"

    def run(self, frame: Frame) -> Any:
        items = tuple(
            slice(*(resolve(part, frame) for part in (item.start, item.stop, item.step)))
            if isinstance(item, Slice)
            else resolve(item, frame)
            for item in self.items
        )
        value = resolve(self.value, frame)
        if sum(item is ... for item in items) > 1:
            raise Refused("two ellipses")
        result = value[items]
        if any(isinstance(item, slice) for item in items):
            self._note(value, items, frame)
        frame.log.append(measured(result))
        return result

    def _note(self, value: Any, items: tuple[Any, ...], frame: Frame) -> None:
        """Slices beyond the end of a dimension: torch cuts off, which the language refuses of unknown sizes."""
        used = sum(item is not None and item is not ... for item in items)
        axis = 0
        for item in items:
            if item is ...:
                axis += value.dim() - used
            elif item is not None:
                size = value.shape[axis]
                if isinstance(item, slice) and any(
                    part is not None and (part > size or part < -size) for part in (item.start, item.stop)
                ):
                    frame.notes.add("cut off")
                axis += 1


@dataclass
class Bind:
    """`v, w = head -> stage -> stage`. The names are as nested as the result."""

    names: Any
    head: Any
    stages: list[Any]

    def text(self) -> str:
        chain = [] if self.head is None else [self.head.text()]
        return f"{_pattern(self.names)} = {' -> '.join([*chain, *(stage.text() for stage in self.stages)])}"

    def run(self, frame: Frame) -> None:
        value = () if self.head is None else self.head.run(frame)
        for stage in self.stages:
            value = stage.run(value, frame)
        _unpack(self.names, value, frame.names)

    @property
    def bound(self) -> list[str]:
        """The names that it binds."""
        return _flat(self.names)


@dataclass
class Declare:
    """`param p: f32[3, 8] = normal`."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    kind: str = "param"

    def text(self) -> str:
        start = "normal" if self.kind == "param" else "0"
        return f"{self.kind} {self.name}: {self.dtype}[{', '.join(map(str, self.dims))}] = {start}"

    def run(self, frame: Frame) -> None:
        made = torch.empty(self.dims, dtype=TORCH[self.dtype], device=frame.device)
        frame.names[self.name] = made if frame.device == "meta" else made.fill_(0.5)

    @property
    def bound(self) -> list[str]:
        return [self.name]


def _pattern(names: Any, *, top: bool = True) -> str:
    if isinstance(names, str):
        return names
    inside = ", ".join(_pattern(part, top=False) for part in names)
    return inside if top else f"({inside})"


def _flat(names: Any) -> list[str]:
    if isinstance(names, str):
        return [] if names == "_" else [names]
    return [name for part in names for name in _flat(part)]


def _unpack(names: Any, value: Any, into: dict[str, Any]) -> None:
    if isinstance(names, str):
        if names != "_":
            into[names] = value
        return
    if not isinstance(value, tuple | list) or len(value) != len(names):
        raise Refused("another number of values")
    for name, part in zip(names, value, strict=True):
        _unpack(name, part, into)


# ------------------------------------------------------------------------------------------------ programs


@dataclass
class Input:
    """An input: `x: f32[N, 3]`; `classes` says that its values are below that number."""

    name: str
    dtype: str
    dims: tuple[Any, ...]
    classes: int | None = None

    def text(self) -> str:
        kind = self.dtype if self.classes is None else f"class({self.classes})"
        return f"{self.name}: {kind}[{', '.join(map(write, self.dims))}]"

    def tensor(self, sizes: Mapping[str, int], device: str) -> torch.Tensor:
        """A tensor of its type. On a device that computes, its values are the largest it may have."""
        dims = [sizes[size.name] * size.times if isinstance(size, Sym) else size for size in self.dims]
        dtype = TORCH[self.dtype]
        if device == "meta":
            return torch.empty(dims, dtype=dtype, device=device)
        value: float = 0.5 if dtype.is_floating_point else 1
        return torch.full(dims, value if self.classes is None else self.classes - 1, dtype=dtype, device=device)


@dataclass
class Block:
    """A block; sizes in its inputs' types are names of its own."""

    name: str
    inputs: list[Input]
    settings: dict[str, int]
    statements: list[Any]
    results: list[Ref]

    def text(self) -> str:
        parameters = [entry.text() for entry in self.inputs] + [f"{name}: int" for name in self.settings]
        return _body(f"block {self.name}({', '.join(parameters)})", self.statements, self.results)


@dataclass
class Program:
    """A model, and what it needs."""

    inputs: list[Input]
    blocks: list[Block]
    statements: list[Any]
    sizes: dict[str, int]
    where: list[str] = field(default_factory=list)

    def bodies(self) -> list[Any]:
        """The statements of the model and of its blocks."""
        return [*self.statements, *(statement for block in self.blocks for statement in block.statements)]

    def text(self, where: Sequence[str] = ()) -> str:
        """The program as `.exp`; it gives every name that its body binds."""
        results = [Ref(name) for statement in self.statements for name in statement.bound]
        inputs = ", ".join(entry.text() for entry in self.inputs)
        conditions = [*self.where, *where]
        stated = f" where {', '.join(conditions)}" if conditions else ""
        parts = [block.text() for block in self.blocks]
        return "\n".join([*parts, _body(f"model M({inputs}){stated}", self.statements, results)])

    def run(self, sizes: Mapping[str, int], device: str = "meta") -> tuple[list[Outcome], list[Any], set[str]]:
        """The types of everything on the way, the sizes of all weights, and notes. Raises what torch raises."""
        names = {entry.name: entry.tensor(sizes, device) for entry in self.inputs}
        frame = Frame(names, sizes, device, [], [])
        for statement in self.statements:
            statement.run(frame)
            if any(frame.names.get(name, name) is None for name in statement.bound):
                raise Refused("a result that is nothing")
        return frame.log, frame.weights, frame.notes


def _body(head: str, statements: Sequence[Any], results: Sequence[Ref]) -> str:
    lines = [f"  {statement.text()}" for statement in statements]
    given = write(results[0]) if len(results) == 1 else f"({', '.join(map(write, results))})"
    return "\n".join([f"{head} {{", *lines, f"  return {given}", "}", ""])
