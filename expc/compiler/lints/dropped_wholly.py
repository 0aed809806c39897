"""`dropped-wholly`: dropout leaves nothing."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class DroppedWholly(Problem):
    """Dropout with `p = 1` makes everything zero in training: nothing before it learns.

    torch allows it.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> ReLU -> Dropout(1) -> Linear(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> ReLU -> Dropout(0.1) -> Linear(2) }
    ```
    """

    code: ClassVar[str] = "E0313"
    name: ClassVar[str] = "dropped-wholly"
    template: ClassVar[str] = "`{operator}` drops everything in training, so that nothing before it learns"

    operator: str
