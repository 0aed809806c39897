"""The memory that a network keeps between its forward and its backward pass, step by step.

Walks the graph as it runs in training. Each storage is counted once, where it is first kept: what ReLU keeps and the
next convolution keeps is one tensor, and a view keeps what it looks at. Parameters and buffers are not counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from expc.compiler.cost.storage import VIEWS, Held, Sizes, Storage, dense, kept_order, permuted, viewed
from expc.compiler.dimensions import Size, substitute
from expc.compiler.graph import Apply, Cast, Container, Leaf, Read, Record, Result, SliceOf, Step, Subscript, Value
from expc.compiler.library.index import operator_homes
from expc.compiler.ops.declare import REQUIRED, Call
from expc.compiler.ops.kept import As, Item, Use, has_gradient, kept, size_of
from expc.compiler.types import FLOATING, TensorType, at

Env = dict[Value, Held]
"""The tensors of one run of a container."""

ELEMENTWISE: Final = frozenset({"pointwise", "arithmetic", "binary", "activation", "dropout", "aliases"})
"""The families of operators whose result lies in memory as their input does."""


class Activations:
    """Counts what is kept. `sizes` gives numbers to symbols; bytes stay symbolic in the others."""

    def __init__(self, sizes: Mapping[str, Size]) -> None:
        self._sizes = dict(sizes)
        self._kept: set[Storage] = set()
        self._types_at: dict[TensorType, TensorType] = {}

    def given(self, values: Sequence[Any], *, gradients: bool = False) -> Env:
        """The inputs of the network; `gradients` says whether they, too, have one."""
        tensors = [value for value in values if isinstance(value, Value)]
        return {value: self._new(value.type, gradients and _floating(value.type)) for value in tensors}

    def entering(self, container: Container, arguments: Sequence[Any], env: Env) -> Env:
        """The inputs of a child, which are tensors of its caller."""
        pairs = zip(container.inputs, arguments, strict=False)
        return {inside: env[outside] for inside, outside in pairs if isinstance(inside, Value) and outside in env}

    def leaving(self, container: Container, result: Result, inner: Env, outer: Env) -> None:
        """What a child gives becomes its caller's."""
        for inside, outside in zip(_values(container.result), _values(result), strict=False):
            if inside in inner:
                outer[outside] = inner[inside]

    def step(self, step: Step, container: Container, env: Env) -> Size:
        """The bytes that a step keeps and none before it did. Children are the caller's business."""
        match step:
            case Apply():
                return self._apply(step, container, env)
            case Read():
                self._read(step, container, env)
            case Subscript():
                return self._subscript(step, env)
            case Cast():
                held = env.get(step.value)
                type_ = step.result.type
                if held is not None and isinstance(type_, TensorType):
                    gradient = held.gradient and type_.dtype in FLOATING
                    same = step.value.type == type_
                    env[step.result] = held if same else self._new(type_, gradient, strides=kept_order(held))
        return 0

    # ------------------------------------------------------------------------------------------------ what is made

    def _new(self, type_: Any, gradient: bool, strides: Sizes | None = None, *, counted: bool = True) -> Held:
        here = self._at(type_)
        if not isinstance(here, TensorType):
            return Held(Storage(0), "f32", (), (), gradient)
        storage = Storage(size_of(here), counted)
        return Held(storage, here.dtype, here.dims, dense(here.dims) if strides is None else strides, gradient)

    def _read(self, step: Read, container: Container, env: Env) -> None:
        """A parameter has a gradient; a buffer has none."""
        owner: Any = container
        for name in step.path[:-1]:
            owner = owner.children[name]
        type_ = step.result.type
        gradient = _floating(type_) and step.path[-1] not in owner.buffers
        env[step.result] = self._new(type_, gradient, counted=False)

    def _subscript(self, step: Subscript, env: Env) -> Size:
        held = env.get(step.value)
        type_ = step.result.type
        if held is None or not isinstance(type_, TensorType):
            return 0
        indices = [item for item in step.items if isinstance(item, Value) and item in env]
        if indices:
            env[step.result] = self._new(type_, held.gradient)
            return self._keep([env[index] for index in indices]) if held.gradient else 0
        dims = self._at(type_).dims
        env[step.result] = Held(held.storage, held.dtype, dims, _indexed(step.items, held, dims), held.gradient)
        return 0

    # --------------------------------------------------------------------------------------------------- operators

    def _apply(self, step: Apply, container: Container, env: Env) -> Size:
        leaf = container.children[step.module] if step.module is not None else None
        settings, weights = (leaf.settings, leaf.weights) if isinstance(leaf, Leaf) else ({}, {})
        call = self._call(step, settings)
        arguments = {name: held for name, value in step.arguments.items() for name, held in _named(name, value, env)}
        gradient = (bool(weights) or any(held.gradient for held in arguments.values())) and has_gradient(
            step.operator.name
        )
        self._results(step, call, env, gradient)
        rule = kept(step.operator.name)
        if not gradient or rule is None:
            return 0
        results = dict(_named("result", step.result, env))

        def needs(name: str) -> bool:
            mine = [held for key, held in arguments.items() if key == name or key.startswith(f"{name}.")]
            return any(held.gradient for held in mine) or (not mine and name in weights)

        result = self._types(step.result)
        found = (self._item(item, arguments | results) for item in rule(Use(call, result, needs)))
        return self._keep([held for held in found if held is not None])

    def _item(self, item: Item, named: Mapping[str, Held]) -> Held | Storage | None:
        if isinstance(item, As):
            held = named.get(item.name)
            if held is None or viewed(held.dims, held.strides, item.dims) is not None:
                return held
            return Storage(size_of(TensorType(held.dtype, item.dims)))
        if isinstance(item, str):
            return named.get(item)
        return Storage(item)

    def _keep(self, found: Sequence[Held | Storage]) -> Size:
        total: Size = 0
        for one in found:
            storage = one.storage if isinstance(one, Held) else one
            if storage.counted and storage not in self._kept:
                self._kept.add(storage)
                total = total + storage.bytes
        return total

    def _results(self, step: Apply, call: Call, env: Env, gradient: bool) -> None:
        """Gives each value of the result its place: a view, or memory of its own."""
        first = next((env[value] for value in _values(tuple(step.arguments.values())) if value in env), None)
        givers = [env[value] for value in _values(tuple(step.arguments.values())) if value in env]
        view = VIEWS.get(step.operator.name)
        for number, value in enumerate(_values(step.result)):
            type_ = self._at(value.type)
            if not isinstance(type_, TensorType):
                env[value] = self._new(type_, gradient)
                continue
            own = gradient and type_.dtype in FLOATING
            source = givers[number] if step.operator.name in _EACH and number < len(givers) else first
            if source is not None and (view is not None or _does_nothing(call)):
                strides = source.strides if view is None else view(call, source, type_.dims)
                if strides is not None:
                    env[value] = Held(source.storage, type_.dtype, type_.dims, strides, own)
                    continue
            env[value] = self._new(type_, own, _order(call, type_, givers))

    def _call(self, step: Apply, settings: Mapping[str, Any]) -> Call:
        declared = (*step.operator.settings, *step.operator.arguments)
        defaults = {param.name: param.default for param in declared if param.default is not REQUIRED}
        given = {name: self._types(argument) for name, argument in step.arguments.items()}
        values = {name: self._at(value) for name, value in {**defaults, **settings}.items()}
        return Call(step.operator, {**values, **given}, require=lambda _: None)

    def _types(self, argument: Any) -> Any:
        if isinstance(argument, Value):
            return self._at(argument.type)
        if isinstance(argument, tuple):
            return tuple(map(self._types, argument))
        return self._at(argument)

    def _at(self, value: Any) -> Any:
        """A type or a size with the known symbols replaced."""
        if isinstance(value, TensorType):
            known = self._types_at.get(value)
            if known is None:
                known = self._types_at[value] = at(value, self._sizes)
            return known
        return substitute(value, self._sizes) if hasattr(value, "terms") else value


def _floating(type_: Any) -> bool:
    return isinstance(type_, TensorType) and type_.dtype in FLOATING


_EACH: Final = frozenset({"broadcast_tensors", "meshgrid"})
"""Views of one tensor after another."""


def _does_nothing(call: Call) -> bool:
    """Dropout of nothing gives its input itself."""
    name = call.operator.name
    return name in ("Dropout", "dropout", "StochasticDepth", "AlphaDropout", "alpha_dropout") and call["p"] == 0


def _order(call: Call, type_: TensorType, givers: Sequence[Held]) -> Sizes:
    """The strides of a new tensor."""
    name, dims = call.operator.name, type_.dims
    if name == "scaled_dot_product_attention" and len(dims) == 4 and not call["dropout_p"]:
        return permuted(dims, (0, 2, 1, 3))
    if name in ("MultiheadAttention", "RNN", "LSTM", "GRU") and len(dims) == 3 and call["batch_first"]:
        return permuted(dims, (1, 0, 2))
    if _family(name) in ELEMENTWISE or name.startswith("BatchNorm"):
        for held in givers:
            if held.dims == dims:
                return kept_order(held)
    return dense(dims)


@cache
def _family(name: str) -> str:
    return operator_homes().get(name, "")


def _values(result: Any) -> Iterator[Value]:
    """The tensors in nested results or arguments, in order."""
    if isinstance(result, Value):
        yield result
    elif isinstance(result, Record):
        yield from result.fields.values()
    elif isinstance(result, tuple | list):
        for item in result:
            yield from _values(item)


def _named(name: str, value: Any, env: Env) -> Iterator[tuple[str, Held]]:
    """The tensors of an argument or result by name: `input`, `operands.1`, `result.0`."""
    if isinstance(value, Value):
        if value in env:
            yield name, env[value]
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from _named(f"{name}.{number}", item, env)


def _indexed(items: Sequence[Any], held: Held, dims: Sizes) -> Sizes:
    """The strides of a slice."""
    strides: list[Size] = []
    here = 0
    taken = sum(item is not None and item is not Ellipsis for item in items)
    for item in items:
        if item is None:
            strides.append(1)
        elif item is Ellipsis:
            rest = len(held.dims) - taken
            strides += held.strides[here : here + rest]
            here += rest
        elif isinstance(item, SliceOf):
            step = item.step if isinstance(item.step, int) else 1
            strides.append(held.strides[here] * step)
            here += 1
        else:
            here += 1
    strides += held.strides[here:]
    return tuple(strides) if len(strides) == len(dims) else dense(dims)
