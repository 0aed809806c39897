"""Which step makes each value of an experiment, and which use it: how lint rules walk the graph.

The walk goes through blocks as if they were written out, and from a loss on into the model.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.graph import Apply, Cast, Container, Invoke, Leaf, Record, Step, Subscript, Value
from expc.compiler.model.body import arguments, tensors
from expc.compiler.types import FLOATING, TensorType
from expc.diagnostics import Edit, Fix, Span
from expc.frozen import dataclass

if TYPE_CHECKING:
    from expc.compiler.program import Program

SAME: Final = frozenset(
    (
        *("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
        *("Flatten", "flatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous", "clone", "ravel"),
    )
)
"""Operators whose result has the values of their input, or zeros, in the same order."""

MOVED: Final = SAME | {"Unflatten", "unflatten", "transpose", "permute", "movedim", "t", "Permute", "select", "narrow"}
"""Operators whose result has values of their input only, at other places."""

AFFINE: Final = frozenset(
    (
        *("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
        *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
)
"""Layers that multiply by a weight and add a bias, and do nothing else."""

PLAIN_AFFINE: Final = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d"})

UNBOUNDED: Final = AFFINE | {
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish"),
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm", "RMSNorm", "GroupNorm", "layer_norm", "rms_norm"),
}
"""Operators whose results go beyond 1."""

_PLAIN_NAMES: Final = {"Tanh": "tanh", "Sigmoid": "sigmoid", "LogSigmoid": "logsigmoid", "LogSoftmax": "log_softmax"}


def plain(name: str) -> str:
    """One name for a layer and the function that does the same: `relu` for `ReLU`, `leaky_relu` for `LeakyReLU`."""
    return _PLAIN_NAMES.get(name, name.lower().replace("_", ""))


@dataclass(frozen=True, eq=False)
class Node:
    """An operator that is applied: the step, its module where it is a layer, and the container that holds both.

    `region` tells the named parts of a model apart: a block, or an inline body with a label.
    """

    step: Apply
    leaf: Leaf | None
    home: Container
    region: object

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.step.operator.name

    @property
    def span(self) -> Span:
        """Where it is applied."""
        return self.step.span

    @property
    def input(self) -> Value | None:
        """The first tensor that it is applied to."""
        return next((part for part in arguments(self.step) if isinstance(part, Value)), None)

    def tensor(self, name: str) -> Value | None:
        """The tensor that it is given as `name`."""
        value = self.step.arguments.get(name)
        return value if isinstance(value, Value) else None

    def setting(self, name: str) -> Any:
        """A setting of the layer, or an argument of the function; none where it has no such or was not given it."""
        if self.leaf is not None:
            return self.leaf.settings.get(name)
        if name in self.step.arguments:
            return self.step.arguments[name]
        declared = (*self.step.operator.arguments, *self.step.operator.settings)
        return next((param.default for param in declared if param.name == name), None)

    @property
    def type(self) -> TensorType | None:
        """The type of the first tensor that it makes."""
        return next((value.type for value in tensors(self.step.result) if isinstance(value.type, TensorType)), None)


class Wires:
    """The values of a program's model and losses, each with what makes it and what uses it."""

    def __init__(self, program: "Program") -> None:
        self._made: dict[int, Node | Step] = {}
        self._users: dict[int, list[Node | Step]] = {}
        self._outside: dict[int, Value | None] = {}
        self._results: set[int] = set()
        self._runs: dict[int, int] = {}
        self._fields: dict[int, str] = {}
        self._reruns: dict[int, Container] = {}
        self._first: dict[int, Value] = {}
        self.nodes: list[Node] = []
        """Every operator that the model applies, in order."""
        self.losses: list[Node] = []
        """Every operator that a loss applies."""
        self.shared: set[int] = set()
        """Modules that are applied more than once, by `id`."""
        if program.model is None:
            return
        body = program.model.body
        self._collect(body, self.nodes, None)
        self._results = {id(self.origin(value)) for value in tensors(body.result)}
        for name, value in zip(body.input_names, body.inputs, strict=True):
            if name in program.inputs and isinstance(value, Value):
                self._fields[id(value)] = program.inputs[name]
        outputs = _outputs(body)
        for plan in program.train.losses if program.train is not None else ():
            for name, value in zip(plan.body.input_names, plan.body.inputs, strict=True):
                if isinstance(value, Value) and name in outputs:
                    self._outside[id(value)] = outputs[name]
                elif isinstance(value, Value) and name not in plan.weights:
                    self._fields[id(value)] = name
            self._collect(plan.body, self.losses, plan)

    def origin(self, value: Value) -> Value:
        """The value as the outermost body knows it that passed it in."""
        while (outer := self._outside.get(id(value))) is not None:
            value = outer
        return value

    def made(self, value: Value) -> "Node | Step | None":
        """What makes a value; none for inputs of the model, data, and inputs of what runs several times."""
        return self._made.get(id(self.origin(value)))

    def step(self, value: Value) -> Step | None:
        """The step that makes a value, whatever it is; none where nothing or several do."""
        found = self.made(value)
        return found.step if isinstance(found, Node) else found

    def inside(self, step: Invoke) -> Iterator[Value]:
        """What the container gives that a step runs again."""
        child = self._reruns.get(id(step))
        yield from tensors(child.result) if child is not None else ()

    def first(self, value: Value) -> Value | None:
        """What the first run of a container that runs again had for one of its inputs."""
        return self._first.get(id(value))

    def node(self, value: Value | None) -> Node | None:
        """The operator that makes a value, if one does."""
        found = self.made(value) if value is not None else None
        return found if isinstance(found, Node) else None

    def source(self, value: Value | None, through: Collection[str] = SAME) -> Node | None:
        """The operator that makes a value, but for those that are called `through`, and indexing and casts."""
        for _ in range(_FARTHEST):
            if value is None:
                return None
            found = self.made(value)
            if isinstance(found, Subscript) or (isinstance(found, Cast) and found.dtype in FLOATING):
                value = found.value
            elif isinstance(found, Node) and found.name in through:
                value = found.input
            else:
                return found if isinstance(found, Node) else None
        return None

    def uses(self, value: Value) -> "list[Node | Step]":
        """The steps of the model and of losses that use a value."""
        return self._users.get(id(self.origin(value)), [])

    def feeds_only(self, node: Node, user: Node, through: Collection[str] = SAME) -> bool:
        """Whether what `node` makes goes to `user`, by way of operators called `through`, and nowhere else."""
        value = node.step.result
        for _ in range(_FARTHEST):
            if not isinstance(value, Value) or id(self.origin(value)) in self._results:
                return False
            users = self.uses(value)
            if len(users) != 1:
                return False
            (one,) = users
            if one is user:
                return True
            if not isinstance(one, Node) or one.name not in through:
                return False
            value = one.step.result
        return False

    def field(self, value: Value | None, through: Collection[str] = MOVED) -> str | None:
        """The field of the data that a value is, but for operators called `through`, indexing and casts."""
        for _ in range(_FARTHEST):
            if value is None:
                return None
            found = self.made(value)
            if found is None:
                return self._fields.get(id(self.origin(value)))
            if isinstance(found, Cast | Subscript):
                value = found.value
            elif isinstance(found, Node) and found.name in through:
                value = found.input
            else:
                return None
        return None

    def loss_nodes(self, names: Collection[str]) -> Iterator[Node]:
        """The losses called `names`, in `train` and in the model."""
        return (node for nodes in (self.losses, self.nodes) for node in nodes if node.name in names)

    def _collect(self, container: Container, nodes: list[Node], region: object) -> None:
        for step in container.steps:
            if isinstance(step, Invoke):
                self._enter(step, container, nodes, region)
                continue
            made: Node | Step = step
            if isinstance(step, Apply):
                leaf = container.children.get(step.module) if step.module is not None else None
                made = Node(step, leaf if isinstance(leaf, Leaf) else None, container, region)
                nodes.append(made)
                if leaf is not None:
                    self._again(leaf)
            for value in tensors(step.result):
                self._made[id(value)] = made
            for part in arguments(step):
                if isinstance(part, Value):
                    self._users.setdefault(id(self.origin(part)), []).append(made)

    def _enter(self, step: Invoke, container: Container, nodes: list[Node], region: object) -> None:
        child = container.children[step.module] if step.again is None else step.again
        if not isinstance(child, Container):
            return
        if self._runs.get(id(child)):
            self._repeated(step, child)
            return
        self._runs[id(child)] = 1
        if step.again is not None:
            self._share(child)
            first = container.children[step.module]
            if isinstance(first, Container):
                self._share(first)
        for inside, outside in zip(child.inputs, step.arguments, strict=True):
            if isinstance(inside, Value) and inside is not outside:
                self._outside[id(inside)] = outside
        named = child.title if child.title != "Body" and step.module.isdigit() else child
        self._collect(child, nodes, region if child.title == "Body" and step.module.isdigit() else named)

    def _repeated(self, step: Invoke, child: Container) -> None:
        """A container that runs again: what goes in is no one value, and what comes out is made by the step."""
        self._reruns[id(step)] = child
        for inside in child.inputs:
            outside = self._outside.get(id(inside))
            if isinstance(inside, Value) and outside is not None:
                self._first[id(inside)], self._outside[id(inside)] = outside, None
        for part in arguments(step):
            if isinstance(part, Value):
                self._users.setdefault(id(self.origin(part)), []).append(step)
        for value in tensors(step.result):
            self._made[id(value)] = step
        self._share(child)

    def _share(self, container: Container) -> None:
        for child in container.children.values():
            self.shared.add(id(child))
            if isinstance(child, Container):
                self._share(child)

    def _again(self, module: Leaf | Container) -> None:
        count = self._runs[id(module)] = self._runs.get(id(module), 0) + 1
        if count > 1:
            self.shared.add(id(module))


_FARTHEST: Final = 1000
"""So many steps back a value is followed: no chain of operators that change nothing is as long."""


def _outputs(body: Container) -> dict[str, Value]:
    result = body.result
    if isinstance(result, Record):
        return dict(result.fields)
    if isinstance(result, tuple):
        return {f"output{i}": value for i, value in enumerate(result) if isinstance(value, Value)}
    return {"output": result} if isinstance(result, Value) else {}


def at(type_: object, axis: int) -> Size | None:
    """The size of one dimension of a type, counted from either end; none where there is none."""
    if not isinstance(type_, TensorType) or not -type_.rank <= axis < type_.rank:
        return None
    return type_.dims[axis]


def dropping(span: Span) -> tuple[Fix, ...]:
    """The change that drops a stage with the arrow before it; none where no arrow stands before it."""
    before = span.source.text[: span.start].rstrip()
    chain = before.removesuffix("->").rstrip()
    if len(chain) == len(before):
        return ()
    return (Fix(f"drop `{span.text}`", (Edit(Span(span.source, len(chain), span.end), ""),)),)


def following(span: Span, stage: str) -> tuple[Fix, ...]:
    """The change that puts a stage after another."""
    return (Fix(f"write `-> {stage}` after it", (Edit(Span(span.source, span.end, span.end), f" -> {stage}"),)),)


def setting(span: Span, name: str, value: str, safety: Any = "unsafe") -> tuple[Fix, ...]:
    """The change that adds a setting to a stage; none where the stage is no plain name or call, or has it."""
    text = span.text
    if f"{name}=" in text.replace(" ", ""):
        return ()
    end = span.end
    if text.isidentifier():
        edit = Edit(Span(span.source, end, end), f"({name}={value})")
    elif text.endswith(")"):
        comma = "" if text[:-1].rstrip().endswith(("(", ",")) else ", "
        edit = Edit(Span(span.source, end - 1, end - 1), f"{comma}{name}={value}")
    else:
        return ()
    return (Fix(f"write `{name}={value}`", (edit,), safety),)
