"""`unused-allow`: `# allow(...)` silences nothing."""

from typing import ClassVar

from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnusedAllow(Problem):
    """A comment allows a lint that has nothing to say about its line.

    What it was written for is gone, or stands on another line. Left behind, it would hide the next such mistake there.

    ```exp wrong
    # allow(bias-before-batchnorm): the published weights have these biases
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3, bias=false) -> BatchNorm2d }
    ```

    ```exp right
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3, bias=false) -> BatchNorm2d }
    ```
    """

    code: ClassVar[str] = "W0202"
    name: ClassVar[str] = "unused-allow"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{rule}` has nothing to say about this line"

    rule: str
