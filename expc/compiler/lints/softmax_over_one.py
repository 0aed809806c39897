"""`softmax-over-one`: a softmax over one value is 1."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import at
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Problem, Severity
from expc.frozen import dataclass

_NAMES: Final = ("Softmax", "softmax", "LogSoftmax", "log_softmax", "Softmin", "softmin", "Softmax2d")


@dataclass(frozen=True, kw_only=True)
class SoftmaxOverOne(Problem):
    """Softmax along a dimension of one value is always 1, its logarithm always 0: the output is constant.

    One output with two classes takes `Sigmoid`; otherwise another dimension was meant. torch says nothing.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(1) -> Softmax(1) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(1) -> Sigmoid }
    ```
    """

    code: ClassVar[str] = "W0310"
    name: ClassVar[str] = "softmax-over-one"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{operator}` goes over a dimension of one value here: its result is always {value}"

    operator: str
    value: int


def check(program: Program) -> Iterator[Problem]:
    """A softmax along a dimension of size 1."""
    for node in program.wires.nodes:
        if node.name not in _NAMES or node.input is None:
            continue
        axis = 1 if node.name == "Softmax2d" else node.setting("dim")
        if isinstance(axis, int) and at(node.input.type, axis) == 1:
            fixes = (Fix("write `Sigmoid`", (Edit(node.span, "Sigmoid"),)),) if node.name == "Softmax" else ()
            value = 0 if node.name.lower().startswith("log") else 1
            yield SoftmaxOverOne(span=node.span, operator=node.name, value=value, fixes=fixes)
