"""`dropout-before-pooling`: pooling undoes dropout."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class DropoutBeforePooling(Problem):
    """A pooling window still has its other values where dropout takes some: much of the dropout is undone.

    Dropout after the pooling drops what it says. Dropout of whole channels (`Dropout2d`) may stand on either side.

    ```exp wrong
    model Net(x: f32[N, 8, 16, 16]) -> f32[N, 8, 8, 8] { Dropout(0.2) -> MaxPool2d(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8, 16, 16]) -> f32[N, 8, 8, 8] { MaxPool2d(2) -> Dropout(0.2) }
    ```
    """

    code: ClassVar[str] = "W0307"
    name: ClassVar[str] = "dropout-before-pooling"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{pool}` undoes much of the `{dropout}` before it: write the dropout after it"

    pool: str
    dropout: str


def check(program: Program) -> Iterator[Problem]:
    """A pooling whose input is made by dropout of single values."""
    wires = program.wires
    for node in wires.nodes:
        if "maxpool" not in plain(node.name) and "avgpool" not in plain(node.name):
            continue
        before = wires.node(node.input)
        if before is not None and plain(before.name) == "dropout" and before.setting("p") != 0:
            label = Label(before.span, "the dropout")
            yield DropoutBeforePooling(span=node.span, pool=node.name, dropout=before.name, labels=(label,))
