"""`unused-let`: a constant or a pipeline that nothing in the file mentions."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from expc.compiler.model.declarations import name_span
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass
from expc.spec import syntax


@dataclass(frozen=True, kw_only=True)
class UnusedLet(Problem):
    """A `let` that nothing mentions: a number that changes nothing when it is changed.

    In a file without sections nothing is said: others may import its names.

    ```exp wrong
    let size = 32
    data { train = MNIST("data") -> ToTensor, batch = 64 }
    ```

    ```exp right
    let size = 32
    data { train = MNIST("data") -> ToTensor, batch = size }
    ```
    """

    code: ClassVar[str] = "W0203"
    name: ClassVar[str] = "unused-let"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "nothing uses `{word}`"

    word: str


def check(trees: Sequence[syntax.File]) -> Iterator[Problem]:
    """The `let`s of the first file, against every name in all of them."""
    statements = trees[0].statements
    lets = [statement for statement in statements if isinstance(statement, syntax.Let)]
    if not lets or not any(isinstance(one, syntax.Section) for one in statements):
        return
    used = frozenset().union(*(names for tree in trees for names in tree.mentioned))
    for statement in lets:
        if statement.name not in used:
            yield UnusedLet(span=name_span(statement), word=statement.name)
