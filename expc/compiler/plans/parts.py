"""How a loss is added up from the parts of a batch (`accumulate`), so that it is the loss of the whole batch.

What a loss takes of samples it reduces to numbers: by sums, by means, by means over what counts (`ignore_index`, class
weights, masks). Where all that follows is linear, as in `cross_entropy(a, y) + 0.4 * cross_entropy(b, y)`, each part
can have its own loss: a sum as it is; a mean times the part's share of the samples; a mean over what counts as a sum,
divided by what counts in the whole batch. What only the data decides is computed ahead, on all samples at once.

A loss that is not so (a root of a mean, samples compared with each other) has no such parts, and `in_parts` gives none.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Dim, Symbol, as_symbol, symbols
from expc.compiler.graph import Apply, Cast, Container, Leaf, Record, Result, Step, Value
from expc.compiler.model.body import tensors
from expc.compiler.ops.arguments import function, tensor
from expc.compiler.ops.declare import Operator, Param
from expc.compiler.ops.kinds import INT, TENSOR
from expc.compiler.plans.inlining import inlined
from expc.compiler.plans.rows import (
    BY_ELEMENT,
    BY_ROW,
    COUNTING,
    Rows,
    axis_of,
    batch_of,
    degree_of,
    first_of,
    setting,
    sizes_of,
    values_of,
)
from expc.compiler.program import LossPlan
from expc.compiler.types import FLOATING, TensorType
from expc.frozen import dataclass


@dataclass(frozen=True, eq=False)
class InParts:
    """A loss that is added up from parts.

    `body` takes what the loss takes, then by name what `ahead` gives for the whole batch, and powers of the part's
    share of the samples: `share.1`.
    """

    body: Container
    ahead: Container
    names: tuple[str, ...]
    """What each result of `ahead` is called."""
    powers: tuple[int, ...]


def in_parts(loss: LossPlan, data: frozenset[str]) -> InParts | None:
    """The loss in parts, where it has any; `data` are the names of the data's fields."""
    batch = batch_of(loss, data)
    if batch is None:
        return None
    try:
        return _Parts(replace(loss, body=inlined(loss.body)), data, batch).made()
    except _NotLinearError:
        return None


def batch_axes(loss: LossPlan, data: frozenset[str]) -> dict[str, int | None]:
    """The dimension of each of the network's outputs along which its samples lie; none where it has none."""
    batch = batch_of(loss, data)
    return {
        name: None if batch is None else axis_of(value.type, batch)
        for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True)
        if isinstance(value, Value) and isinstance(value.type, TensorType)
        if name not in data and name not in loss.weights
    }


class _NotLinearError(Exception):
    """The loss of the whole is no sum over its parts."""


def _counted(torch: Any, values: Mapping[str, Any]) -> Any:
    """How many targets count, each as much as its class weighs."""
    target, weight = values["target"], values["weight"]
    counts = target != values["ignore_index"]
    return counts.sum() if weight is None else (weight[torch.where(counts, target, 0).long()] * counts).sum()


_SCALAR: Final = TensorType("f32", ())


def _shapeless(_: Any) -> TensorType:
    return _SCALAR


_COUNTED: Final = function(
    "counted",
    "What a mean over classes divides by.",
    (tensor("target"), Param("ignore_index", INT), Param("weight", TENSOR, None, tensor=True, constant=True)),
    _shapeless,
    build=_counted,
)
_TIMES: Final = function(
    "times",
    "A number or a tensor, times a number.",
    (tensor("input"), tensor("other")),
    _shapeless,
    build=lambda _, values: values["input"] * values["other"],
)
_TOTAL: Final = function(
    "total", "The sum of all elements.", (tensor("input"),), _shapeless, build=lambda _, values: values["input"].sum()
)
_OVER: Final = function(
    "over",
    "A tensor divided by another.",
    (tensor("input"), tensor("other")),
    _shapeless,
    build=lambda _, values: values["input"] / values["other"],
)


class _Parts:
    def __init__(self, loss: LossPlan, data: frozenset[str], batch: Symbol) -> None:
        self._body, self._rows = loss.body, Rows(loss, data, batch)
        self._scaled: dict[tuple[Any, int], Value] = {}
        self._steps: list[Step] = []
        self._ahead: dict[Value, str] = {}
        self._counts: list[Step] = []
        self._shares: dict[int, Value] = {}
        self._children: dict[str, Any] = dict(loss.body.children)

    def made(self) -> InParts:
        """The loss in parts. Raises `_NotLinearError`."""
        result: Result = self._body.result
        if isinstance(result, Record):
            result = Record({n: self._linear(v, 0) for n, v in result.fields.items()}, result.training_only)
        else:
            result = self._linear(result, 0)
        before = self._needed(self._steps, stop=True)
        counting = (*self._needed([*self._counts], wanted=set(self._ahead)), *self._counts)
        data = self._read_by(counting)
        ahead = self._container(list(data), list(data.values()), counting, tuple(self._ahead))
        # `_needed` has found what is computed ahead: only now are all of them known.
        shares = {f"share.{power}": value for power, value in self._shares.items()}
        more = {**{name: value for value, name in self._ahead.items()}, **shares}
        body = replace(
            self._body,
            inputs=(*self._body.inputs, *more.values()),
            input_names=(*self._body.input_names, *more),
            steps=(*before, *self._steps),
            result=result,
            children=self._children,
        )
        return InParts(body, ahead, tuple(self._ahead.values()), tuple(self._shares))

    # ------------------------------------------------------------------------------------------------- what is linear

    def _linear(self, value: Any, power: int) -> Value:
        """What is to be summed over the parts for `value`; `power` of the share is what later divisions need."""
        if (value, power) not in self._scaled:
            self._scaled[value, power] = self._found(value, power)
        return self._scaled[value, power]

    def _found(self, value: Any, power: int) -> Value:
        if not isinstance(value, Value) or self._rows.kinds[value] in ("fixed", "ahead"):
            return self._share(value, power + 1)
        step = self._rows.made.get(value)
        if self._rows.kinds[value] == "rows" or self._rows.depending(value):
            raise _NotLinearError
        if step is None:
            # The network has reduced its samples itself: to their mean, as far as anybody can tell.
            return self._share(value, power + 1)
        if isinstance(step, Cast):
            return self._emit(replace(step, value=self._linear(step.value, power), result=_fresh(step)))
        if not isinstance(step, Apply):
            raise _NotLinearError
        return self._reduced(step, power) or self._combined(step, power)

    def _combined(self, step: Apply, power: int) -> Value:
        name, given = step.operator.name, step.arguments
        changed: dict[str, Any]
        if step.module is not None:
            raise _NotLinearError
        if name in ("add", "sub", "subtract") and not isinstance(given.get("alpha", 1), Value):
            changed = {key: self._linear(given[key], power) for key in ("input", "other")}
        elif name in ("neg", "negative", "sum", "mean") and isinstance(given["input"], Value):
            changed = {"input": self._linear(given["input"], power)}
        elif name == "stack" and isinstance(given["tensors"], list | tuple):
            changed = {"tensors": tuple(self._linear(item, power) for item in given["tensors"])}
        elif name in ("mul", "multiply", "div", "divide", "true_divide"):
            left, right = given["input"], given["other"]
            divides = name not in ("mul", "multiply")
            if divides and given.get("rounding_mode") is not None:
                raise _NotLinearError
            if self._is_factor(right):
                degree = self._degree(right)
                changed = {"input": self._linear(left, power + degree if divides else power - degree)}
            elif not divides and self._is_factor(left):
                changed = {"other": self._linear(right, power - self._degree(left))}
            else:
                raise _NotLinearError
        else:
            raise _NotLinearError
        return self._emit(replace(step, arguments={**given, **changed}, result=_fresh(step)))

    def _is_factor(self, value: Any) -> bool:
        return self._rows.kinds.get(value) in ("fixed", "ahead") if isinstance(value, Value) else True

    def _degree(self, value: Any) -> int:
        degree = degree_of(value, self._rows.batch) if isinstance(value, int | Dim) else 0
        if degree is None:
            raise _NotLinearError
        return degree

    def _reduced(self, step: Apply, power: int) -> Value | None:
        """The sum or the mean of the samples' values; none where the step is no such reduction."""
        leaf = self._body.children.get(step.module) if step.module is not None else None
        reduction = setting(step, leaf, "reduction")
        name, first = step.operator.name, first_of(step)
        if step.module is None and name in ("sum", "mean"):
            if first is None or self._rows.kinds.get(first) != "rows" or self._rows.depending(step.result):  # type: ignore[arg-type]
                return None
            return self._share(self._emit(replace(step, result=_fresh(step))), power + (name == "mean"))
        if name not in BY_ELEMENT | BY_ROW | COUNTING or reduction == "none" or not self._rows.alike(step):
            return None
        count = self._count(step, leaf) if reduction == "mean" else None
        if count is None:
            return self._share(self._emit(replace(step, result=_fresh(step))), power + (reduction != "sum"))
        if isinstance(leaf, Leaf) and step.module is not None:
            name = f"{step.module}.sum"
            self._children[name] = replace(leaf, settings={**leaf.settings, "reduction": "sum"})
            total = self._emit(replace(step, module=name, result=_fresh(step)))
        else:
            settings = {**step.arguments, "reduction": "sum"}
            total = self._emit(replace(step, arguments=settings, result=_fresh(step)))
        one_over = self._apply(_OVER, step, {"input": total, "other": count})
        return self._share(self._emit(one_over), power)

    def _count(self, step: Apply, leaf: Any) -> Value | None:
        """What a mean divides by, where that is not the number of elements."""
        weight = setting(step, leaf, "weight")
        if step.operator.name in COUNTING:
            target = step.arguments["target"]
            if target.type.dtype in FLOATING:
                return None
            ignored = setting(step, leaf, "ignore_index")
            classes = target.type.classes
            if weight is None and isinstance(classes, int) and not 0 <= ignored < classes:
                return None  # all of them count
            made = self._apply(_COUNTED, step, {"target": target, "ignore_index": ignored, "weight": weight})
            needed = [target, *([weight] if isinstance(weight, Value) else [])]
        elif step.module is None and isinstance(weight, Value) and step.operator.name in _WEIGHTED:
            made, needed = self._apply(_TOTAL, step, {"input": weight}), [weight]
        else:
            return None
        if any(value not in self._rows.of_data for value in needed):
            raise _NotLinearError
        self._counts.append(made)
        assert isinstance(made.result, Value)  # noqa: S101
        self._ahead[made.result] = f"ahead.{len(self._ahead)}"
        return made.result

    # ---------------------------------------------------------------------------------------------- what is put down

    def _share(self, value: Any, power: int) -> Value:
        if power == 0 and isinstance(value, Value):
            return value
        share = self._shares.setdefault(power, Value(_SCALAR, self._body.span, f"share.{power}"))
        return self._emit(self._apply(_TIMES, None, {"input": value, "other": share}))

    def _apply(self, operator: Operator, at: Apply | None, given: Mapping[str, Any]) -> Apply:
        span = self._body.span if at is None else at.span
        return Apply(operator, None, given, Value(_SCALAR, span), span)

    def _emit(self, step: Step) -> Value:
        self._steps.append(step)
        assert isinstance(step.result, Value)  # noqa: S101 - what is emitted makes one tensor
        return step.result

    def _needed(self, steps: list[Step], *, wanted: set[Value] | None = None, stop: bool = False) -> list[Step]:
        """The steps of the loss that others need, in order. With `stop` what follows from the data is not one."""
        wanted = set() if wanted is None else set(wanted)
        wanted |= {value for step in steps for value in values_of(step)}
        kept: list[Step] = []
        for step in reversed(self._body.steps):
            made = set(tensors(step.result))
            if not made & wanted:
                continue
            if stop and all(self._rows.kinds.get(value) == "ahead" for value in made):
                for value in made:
                    self._ahead.setdefault(value, f"ahead.{len(self._ahead)}")
                continue
            wanted |= set(values_of(step))
            kept.append(step)
        return kept[::-1]

    def _read_by(self, steps: tuple[Step, ...]) -> dict[str, Value]:
        """The data's fields that steps read, or that show a size of theirs: several processes gather them."""
        read = {*self._ahead, *(value for step in steps for value in values_of(step))}
        data = {name: value for name, value in self._rows.data if value in read}
        for each in (symbol for step in steps for size in sizes_of(step) for symbol in symbols(size)):
            showing = [field for field in self._rows.data if each in map(as_symbol, field[1].type.dims)]  # type: ignore[union-attr]
            if not any(name in data for name, _ in showing):
                data |= dict(showing[:1])
        return data

    def _container(self, names: list[str], inputs: list[Value], steps: tuple[Step, ...], result: Result) -> Container:
        sizes: dict[str, tuple[int, int | None]] = {}
        for step in steps:
            for each in (symbol for size in sizes_of(step) for symbol in symbols(size)):
                found = (
                    (at, axis)
                    for at, value in enumerate(inputs)
                    for axis, size in enumerate(value.type.dims)  # type: ignore[union-attr]
                    if as_symbol(size) == each
                )
                place = next(found, None)
                if place is None:
                    raise _NotLinearError
                sizes[each.name] = place
        return replace(
            self._body, inputs=tuple(inputs), input_names=tuple(names), sizes=sizes, steps=steps, result=result
        )


_WEIGHTED: Final = frozenset(("mse_loss", "l1_loss", "huber_loss"))


def _fresh(step: Step) -> Value:
    """A value as the step makes it."""
    assert isinstance(step.result, Value)  # noqa: S101 - what is copied makes one tensor
    return Value(step.result.type, step.result.span)
