"""Layers given as settings of other layers: `TransformerEncoder(TransformerEncoderLayer(4), 6)`, `activation=SiLU`."""

from collections.abc import Callable, Mapping
from typing import Any

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import REQUIRED, Call, Kind, Operator
from expc.compiler.ops.rules import refuse
from expc.compiler.types import TensorType
from expc.frozen import dataclass
from expc.spec.values import show

Shapes = dict[str, tuple[Size, ...]]


@dataclass(frozen=True)
class Inner:
    """A layer of torch that is not made yet: its name, and the settings that differ from their defaults.

    What is inferred from the input stays open until the layer is used.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={show(value)}" for name, value in self.settings)
        return f"{self.name}({settings})" if settings else self.name

    @property
    def operator(self) -> Operator:
        """Its declaration."""
        from expc.compiler.ops.table import operators

        return operators()[self.name]

    @property
    def values(self) -> dict[str, Any]:
        """Every setting and argument by name, defaults filled in."""
        operator = self.operator
        defaults = {param.name: param.default for param in (*operator.settings, *operator.arguments)}
        return {**defaults, **dict(self.settings)}

    def call(self, outer: Call, *tensors: TensorType, **named: Any) -> tuple[Any, Call]:
        """The result's type when it runs inside `outer` on these tensors, and its call, with all sizes inferred.

        Raises `Fault` where its own rule does.
        """
        operator = self.operator
        given = dict(zip((param.name for param in operator.arguments), tensors, strict=False))
        call = Call(operator, {**self.values, **given, **named}, outer.require, outer.arithmetic)
        return operator.shape(call), call

    def parts(self, prefix: str, *, buffers: bool = False) -> Shapes:
        """Its parameters, or its buffers, as a child called `prefix`, once its sizes are inferred."""
        rule = self.operator.buffers if buffers else self.operator.weights
        found = {} if rule is None else rule(Call(self.operator, self.values, lambda _: None))
        return {f"{prefix}.{name}": shape for name, shape in found.items()}

    def macs(self, result: Any, *tensors: TensorType) -> Size:
        """The multiply-accumulates of one call."""
        operator = self.operator
        given = dict(zip((param.name for param in operator.arguments), tensors, strict=False))
        call = Call(operator, {**self.values, **given}, lambda _: None)
        return 0 if operator.macs is None else operator.macs(call, result)


def inner(operator: Operator, values: Mapping[str, Any]) -> Inner:
    """The layer with these settings by name, of which those that have their default are not kept."""
    kept = [(param.name, values[param.name]) for param in operator.settings]
    defaults = {param.name: param.default for param in operator.settings}
    return Inner(operator.name, tuple((name, value) for name, value in kept if value != defaults[name]))


def layer(words: str, accepts: Callable[[Operator], bool]) -> Kind:
    """A layer as a setting; `words` complete "expected ...". The parameter must say `layer=True`."""
    return Kind(words, lambda value: isinstance(value, Inner) and accepts(value.operator))


def run(call: Call, name: str, *tensors: TensorType, **named: Any) -> Any:
    """The result's type of the layer in the setting `name` on these tensors; the setting gets its inferred sizes."""
    value: Inner = call[name]
    result, inside = value.call(call, *tensors, **named)
    call.values[name] = inner(inside.operator, inside.values)
    return result


def keeps_type(call: Call, name: str, x: TensorType) -> None:
    """The layer in the setting `name` must give what it gets, in shape and dtype."""
    result = run(call, name, x)
    if not isinstance(result, TensorType) or (result.dtype, result.dims) != (x.dtype, x.dims):
        refuse(call, f"{name}={call[name].name} must keep the shape and dtype of what it gets, {x}")


def factory(made: Callable[[Operator, Mapping[str, Any]], Any], value: Inner) -> Callable[..., Any]:
    """A function that makes the layer, as Python passes classes around: `norm(64)`, `act(inplace=True)`.

    What it gets by position are the sizes that the layer infers here; one that is written stays as it is, which the
    checker has compared. `made` makes a layer from its operator and all its settings.
    """
    operator, values = value.operator, value.values
    inferred = [param.name for param in operator.settings if param.inferred]

    def make(*sizes: Any, **more: Any) -> Any:
        for name in more:
            if name not in values:
                raise TypeError(f"{operator.name} has no argument {name}")
        sized = {name: size for name, size in zip(inferred, sizes, strict=False) if values[name] in (REQUIRED, None)}
        return made(operator, {**values, **sized, **more})

    return make
