"""`not-run-yet`: something is checked, and this version cannot carry it out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

if TYPE_CHECKING:
    from expc.compiler.program import Program


@dataclass(frozen=True, kw_only=True)
class NotRunYet(Problem):
    """A part of the experiment is checked, but `expc run` refuses it (E0208), since this version cannot carry it out.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    export { onnx = "net.onnx" }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0503"
    name: ClassVar[str] = "not-run-yet"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{what}` is checked, but running it is not supported yet: {reason}"

    what: str
    reason: str


def check(program: "Program") -> Iterator[Problem]:
    """What the checker has found to be for later."""
    yield from program.later
