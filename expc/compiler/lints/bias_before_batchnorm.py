"""`bias-before-batchnorm`: a bias that batch normalisation cancels."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.graph import Leaf
from expc.compiler.lints.producers import Producers, applications, input_of
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Label, Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class BiasBeforeBatchnorm(Problem):
    """Batch normalisation subtracts the mean of each channel, and with it any bias of the layer before.

    The bias costs memory and time and changes nothing. torch says nothing.

    ```exp wrong
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3) -> BatchNorm2d }
    ```

    ```exp right
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3, bias=false) -> BatchNorm2d }
    ```
    """

    code: ClassVar[str] = "W0301"
    name: ClassVar[str] = "bias-before-batchnorm"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "the bias of this `{layer}` is cancelled by the `{norm}` after it: write `bias=false`"

    layer: str
    norm: str


def check(program: Program) -> Iterator[Problem]:
    """A convolution or linear layer with a bias whose only use is a batch normalisation."""
    if program.model is None:
        return
    producers = Producers(program.model.body)
    for step, leaf, _ in applications(program.model.body):
        if leaf is None or not step.operator.name.startswith("BatchNorm"):
            continue
        value = input_of(step)
        made = producers.apply(value) if value is not None else None
        if made is None or value is None or producers.uses(value) != 1:
            continue
        before, home = made
        layer = home.children.get(before.module or "")
        if not isinstance(layer, Leaf) or "bias" not in layer.weights or not _is_affine(layer):
            continue
        edit = _without_bias(before.span)
        fixes = (Fix("write `bias=false`", (edit,), "safe"),) if edit is not None else ()
        yield BiasBeforeBatchnorm(
            span=before.span,
            layer=layer.operator.name,
            norm=step.operator.name,
            labels=(Label(step.span, "the normalisation"),),
            fixes=fixes,
        )


def _is_affine(layer: Leaf) -> bool:
    return layer.operator.name == "Linear" or layer.operator.name.startswith("Conv")


def _without_bias(span: Span) -> Edit | None:
    """The edit that adds `bias=false` to a call; none where the text is no plain call."""
    text = span.text
    if text.endswith(")") and "bias" not in text:
        at = span.end - 1
        comma = "" if text[:-1].rstrip().endswith("(") else ", "
        return Edit(Span(span.source, at, at), f"{comma}bias=false")
    return None
