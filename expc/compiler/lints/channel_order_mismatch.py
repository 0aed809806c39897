"""`channel-order-mismatch`: images with their channels last."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import Node
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Edit, Fix, Label, Problem, Severity, Span
from expc.frozen import dataclass

_IMAGES: Final = ("Conv2d", "BatchNorm2d", "MaxPool2d", "AvgPool2d", "InstanceNorm2d", "max_pool2d", "avg_pool2d")
_CHANNELS: Final = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class ChannelOrderMismatch(Problem):
    """Layers of images take `[N, C, H, W]`. Here the model's input looks like `[N, H, W, C]`.

    Rows would be taken for channels, and 3 channels for a width of 3. Since sizes of inputs are inferred, nothing else
    would tell. It is a warning and not an error, because images three pixels wide exist.

    ```exp wrong
    model Net(image: f32[N, 32, 32, 3]) -> f32[N, 10] {
      Conv2d(8, 3) -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10)
    }
    ```

    ```exp right
    model Net(image: f32[N, 32, 32, 3]) -> f32[N, 10] {
      permute(0, 3, 1, 2) -> Conv2d(8, 3) -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10)
    }
    ```
    """

    code: ClassVar[str] = "W0314"
    name: ClassVar[str] = "channel-order-mismatch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{layer}` takes [N, C, H, W], but {found} looks like [N, H, W, C]"

    layer: str
    found: str


def check(program: Program) -> Iterator[Problem]:
    """What is applied to an input of the model whose last dimension, and it alone, looks like channels."""
    wires = program.wires
    for node in wires.nodes:
        value = node.input
        if node.name not in _IMAGES or value is None or wires.made(value) is not None or not _is_input(program, node):
            continue
        type_ = value.type
        if not isinstance(type_, TensorType) or type_.rank != 4:
            continue
        height, width, last = type_.dims[1:]
        if last in _CHANNELS and height == width and isinstance(height, int) and height > 8:
            labels = (Label(value.span, "the input"),)
            yield ChannelOrderMismatch(
                span=node.span, layer=node.name, found=str(type_), labels=labels, fixes=_permuted(node.span)
            )


def _is_input(program: Program, node: Node) -> bool:
    assert program.model is not None and node.input is not None  # noqa: S101, PT018 - there are no nodes without
    return program.wires.origin(node.input) in program.model.body.inputs


def _permuted(span: Span) -> tuple[Fix, ...]:
    edit = Edit(Span(span.source, span.start, span.start), "permute(0, 3, 1, 2) -> ")
    return (Fix("bring the channels to the front", (edit,)),)
