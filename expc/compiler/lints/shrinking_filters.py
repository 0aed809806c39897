"""`shrinking-filters`: fewer channels where the image shrinks."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.stride_drops_border import sides
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

_CLASSES: Final = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")


@dataclass(frozen=True, kw_only=True)
class ShrinkingFilters(Problem):
    """A convolution with a stride makes the image smaller and has fewer channels than its input too.

    A classifier mostly gets more channels where it gets fewer positions, so that not everything is thrown away at once.
    Kernels of one position, which make a bottleneck, and the last convolution may do as they like.

    ```exp wrong
    data { train = FakeData(100, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(64, 3, padding=1) -> ReLU -> Conv2d(16, 3, stride=2, padding=1) -> ReLU
      Conv2d(32, 3, padding=1) -> ReLU -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10)
    }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(16, 3, padding=1) -> ReLU -> Conv2d(32, 3, stride=2, padding=1) -> ReLU
      Conv2d(64, 3, padding=1) -> ReLU -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10)
    }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0313"
    name: ClassVar[str] = "shrinking-filters"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "this `{layer}` makes {out} channels of {given} and the image smaller too"

    layer: str
    given: int
    out: int


def check(program: Program) -> Iterator[Problem]:
    """Convolutions of a classifier that narrow both ways, but for the last."""
    wires = program.wires
    if not any(wires.loss_nodes(_CLASSES)):
        return
    layers = [node for node in wires.nodes if node.leaf is not None and node.name in ("Conv1d", "Conv2d", "Conv3d")]
    for node in layers[:-1]:
        given, out = node.setting("in_channels"), node.setting("out_channels")
        windows = list(sides(node))
        if any(kernel > 1 and stride > 1 for _, _, kernel, stride, _, _ in windows) and out < given:
            yield ShrinkingFilters(span=node.span, layer=node.name, given=given, out=out)
