"""`unnormalised-input`: the model sees bytes from 0 to 255 as they are."""

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.graph import Cast, Value
from expc.compiler.lints.lineage import Lineage, Origin
from expc.compiler.lints.wires import AFFINE, MOVED, Node, Wires
from expc.compiler.program import Program
from expc.compiler.types import FLOATING, TensorType
from expc.diagnostics import Edit, Fix, Problem, Severity, Span
from expc.frozen import dataclass

CHANGED: Final = ("Normalize",)
"""Transforms after which numbers are no bytes any more."""


@dataclass(frozen=True, kw_only=True)
class UnnormalisedInput(Problem):
    """An image becomes floating point without becoming smaller: the first layer with weights sees numbers up to 255.

    Layers start as if their inputs were of size 1. With inputs a hundred times larger the first steps are a hundred
    times too large. `ToTensor` brings bytes to 0 to 1; `-> f32` and `ToDtype(f32)` keep the numbers. A division, or a
    normalisation layer, before the first weights is as good, and the rule says nothing then.

    ```exp wrong
    data { train = CIFAR10("data") -> ToDtype(f32), batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0404"
    name: ClassVar[str] = "unnormalised-input"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "the bytes of `{field}` reach `{layer}` as numbers from 0 to 255"

    field: str
    layer: str


def check(program: Program) -> Iterator[Problem]:
    """Images of the training data that come to a layer with weights as bytes."""
    plan = program.data.get("train")
    if plan is None or program.model is None or plan.dataset.declaration.python is not None:
        return
    if not plan.dataset.declaration.sample(plan.dataset.settings):
        return
    body, wires, fields = program.model.body, program.wires, Lineage(plan).fields
    for name, value in zip(body.input_names, body.inputs, strict=True):
        field = program.inputs.get(name)
        if field not in fields or not isinstance(value, Value):
            continue
        raw = _raw(fields[field])
        if raw is None:
            continue
        layer, casts = _first_weights(wires, value)
        place = raw.step.use.span if raw.step is not None else casts[-1].span if casts else None
        if layer is not None and place is not None:
            in_data = raw.step is not None
            yield UnnormalisedInput(
                span=_cast(place) if in_data else place,
                field=field,
                layer=layer.name,
                fixes=_fixes(_cast(place)) if in_data else (),
            )


def _raw(origin: Origin) -> Origin | None:
    """The value that still holds bytes as they are: as floats, made by a step; or, made by none, as `u8`."""
    made: Origin | None = None
    for part in origin.path():
        if part.step is None:
            break
        use, before = part.step.use, part.before
        if use.declaration.python is not None or use.name in CHANGED:
            return None
        if before is not None and before.dtype == "u8" and part.type.dtype in FLOATING:
            if use.name != "to" and not (use.name == "ToDtype" and not use.settings["scale"]):
                return None
            made = part
    first = origin.path()[-1]
    if first.type.dtype != "u8" or first.type.rank != 3:
        return None
    return made if made is not None else first if origin.type.dtype == "u8" else None


def _first_weights(wires: Wires, value: Value) -> tuple[Node | None, list[Cast]]:
    """The layer with weights that an input comes to unchanged, and the casts on the way."""
    casts: list[Cast] = []
    waiting, seen = [value], {id(value)}
    while waiting:
        for user in wires.uses(waiting.pop()):
            if isinstance(user, Node) and user.name in AFFINE:
                return user, casts
            result = user.result if isinstance(user, Cast) else None
            if isinstance(user, Node) and user.name in MOVED and isinstance(user.step.result, Value):
                result = user.step.result
            if isinstance(user, Cast):
                casts.append(user)
            if result is not None and id(result) not in seen and isinstance(result.type, TensorType):
                seen.add(id(result))
                waiting.append(result)
    return None, casts


def _cast(span: Span) -> Span:
    """Where a cast stands in a chain of transforms, as far as that is plain: `f32` in `CIFAR10("data") -> f32`."""
    found = list(re.finditer(r"->\s*(f16|bf16|f32|f64)\b", span.text))
    return Span(span.source, span.start + found[0].start(1), span.start + found[0].end(1)) if len(found) == 1 else span


def _fixes(span: Span) -> tuple[Fix, ...]:
    if re.fullmatch(r"f32|ToDtype\((dtype\s*=\s*)?f32\)", span.text) is None:
        return ()
    return (Fix("write `ToTensor`", (Edit(span, "ToTensor"),)),)
