"""`refused-when-deterministic`: what torch has no deterministic algorithm for, in a run that asks for them."""

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final

from expc.compiler.lints.wires import Node
from expc.compiler.program import Program
from expc.compiler.types import FLOATING, TensorType
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class RefusedWhenDeterministic(Problem):
    """With `deterministic = true` torch stops at operators for which it has no algorithm that gives the same bits.

    It lists them at `torch.use_deterministic_algorithms`. Nearly all of them are refused on a GPU only, and most in
    the backward pass: such a run works on the CPU, and would end at its first step elsewhere. Pooling to one pixel,
    `interpolate` to the nearest pixel, and zeros around an image have deterministic algorithms.

    ```exp wrong
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Conv2d(8, 3) -> AdaptiveAvgPool2d(2) -> Flatten -> Linear(10) }
    data { train = FakeData(64, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 8 }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), deterministic = true }
    ```

    ```exp right
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Conv2d(8, 3) -> AdaptiveAvgPool2d(1) -> Flatten -> Linear(10) }
    data { train = FakeData(64, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 8 }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), deterministic = true }
    ```
    """

    code: ClassVar[str] = "W0538"
    name: ClassVar[str] = "refused-when-deterministic"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "torch has no deterministic `{operator}`{where}, and the run asks for it"

    operator: str
    where: str


def _always(_: Node) -> bool:
    return True


def _beyond_one(node: Node) -> bool:
    """One pixel is a mean, which is deterministic."""
    size = node.setting("output_size")
    return not all(side == 1 for side in (size if isinstance(size, list | tuple) else (size,)))


def _smooth(node: Node) -> bool:
    return str(node.setting("mode")) in ("linear", "bilinear", "bicubic", "trilinear")


def _reflecting(node: Node) -> bool:
    return str(node.setting("mode")) == "reflect"


def _of_places(node: Node) -> bool:
    """Class indices for each of several places of a sample."""
    target = node.tensor("target")
    type_ = None if target is None else target.type
    return isinstance(type_, TensorType) and type_.dtype not in FLOATING and type_.rank > 1


def _floating(node: Node) -> bool:
    return node.type is not None and node.type.dtype in FLOATING


_Case = Callable[[Node], bool]
ON_GPUS: Final[Mapping[str, _Case]] = {
    **dict.fromkeys(("AvgPool3d", "avg_pool3d"), _always),
    **dict.fromkeys(("AdaptiveAvgPool2d", "adaptive_avg_pool2d"), _beyond_one),
    **dict.fromkeys(("AdaptiveAvgPool3d", "adaptive_avg_pool3d"), _beyond_one),
    **dict.fromkeys(("AdaptiveMaxPool2d", "adaptive_max_pool2d"), _always),
    **dict.fromkeys(("FractionalMaxPool2d", "fractional_max_pool2d", "FractionalMaxPool3d"), _always),
    **dict.fromkeys(("fractional_max_pool3d", "grid_sample", "histc", "median"), _always),
    **dict.fromkeys(("interpolate", "Upsample"), _smooth),
    "UpsamplingBilinear2d": _always,
    **dict.fromkeys(("ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d"), _always),
    "pad": _reflecting,
    **dict.fromkeys(("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss"), _of_places),
    **dict.fromkeys(("CTCLoss", "ctc_loss"), _always),
    **dict.fromkeys(("EmbeddingBag", "embedding_bag"), lambda node: node.setting("mode") == "max"),
    "cumsum": _floating,
    "scatter_reduce": lambda node: node.setting("reduce") == "prod",
    "put": lambda node: bool(node.setting("accumulate")),
}
"""What torch refuses on a GPU, and when: torch.use_deterministic_algorithms in the documentation of torch 2.13."""
EVERYWHERE: Final[Mapping[str, _Case]] = {
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), _always),
    **dict.fromkeys(("max_unpool1d", "max_unpool2d", "max_unpool3d"), _always),
    "put": lambda node: not node.setting("accumulate"),
}
"""What torch refuses on the CPU too."""


def check(program: Program) -> Iterator[Problem]:
    """The operators of the model and of the losses, where the run asks for deterministic ones."""
    train = program.experiment.train
    if train is None or not train.deterministic:
        return
    for node in (*program.wires.nodes, *program.wires.losses):
        for table, where in ((EVERYWHERE, ""), (ON_GPUS, " on a GPU")):
            if node.name in table and table[node.name](node):
                yield RefusedWhenDeterministic(span=node.span, operator=node.name, where=where)
