"""`unfixed-size`: a size in a result type has a name that nothing fixes, so that any size would do."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnfixedSize(Problem):
    """A name in a result type that no input, no setting and no `as` has bound stands for whatever comes out.

    A misspelt name does so too, and then the declaration promises nothing. Write the size, the right name, or bind the
    name where the size arises, with `-> as f32[N, M]`.

    ```exp wrong
    model Net(x: f32[N, Time, 8]) -> f32[N, Tme, 2] { Linear(2) }
    ```

    ```exp right
    model Net(x: f32[N, Time, 8]) -> f32[N, Time, 2] { Linear(2) }
    ```
    """

    code: ClassVar[str] = "W0303"
    name: ClassVar[str] = "unfixed-size"
    severity: ClassVar = "warning"
    template: ClassVar[str] = "nothing fixes `{word}`, so that it stands for any size{hint}"

    word: str
    hint: str
