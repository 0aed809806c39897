"""`unknown-rule`: `# allow(...)` names a rule that does not exist."""

from typing import ClassVar

from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnknownRule(Problem):
    """A comment allows a lint rule that does not exist, so that it silences nothing.

    Errors are no lints: nothing allows them.

    ```exp wrong
    # allow(bias-before-batch-norm): the published weights have these biases
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3) -> BatchNorm2d }
    ```

    ```exp right
    # allow(bias-before-batchnorm): the published weights have these biases
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3) -> BatchNorm2d }
    ```
    """

    code: ClassVar[str] = "W0201"
    name: ClassVar[str] = "unknown-rule"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "no lint rule is called `{rule}`{hint}"

    rule: str
    hint: str
