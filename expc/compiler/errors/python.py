"""E07xx: Python code, and what torch refuses although the checker agreed."""

from typing import ClassVar

from expc.diagnostics import Problem, ProblemError
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class RuntimeFailure(Problem):
    """A step of the network failed in torch, although the experiment checks.

    The checker knows sizes and dtypes. It does not know the numbers that arrive (an index past the end of an
    embedding), nor how much memory there is, nor what somebody passes who calls the network from
    Python. The message names the line and the module, then says in torch's words what happened; the notes show what
    arrived.

    Below, a network that is called with bytes meets some of which it has no row.

    ```exp wrong
    model Net(tokens: i64[N, T]) -> f32[N, T, 16] {
      Embedding(64, 16)
    }
    ```

    ```exp right
    model Net(tokens: i64[N, T]) -> f32[N, T, 16] {
      Embedding(256, 16)
    }
    ```
    """

    code: ClassVar[str] = "E0701"
    name: ClassVar[str] = "runtime-failure"
    template: ClassVar[str] = "`{step}` failed: {reason}"

    step: str
    """The text of the step, on one line."""
    reason: str
    """What torch said."""


class ExecutionError(ProblemError):
    """Raised where a step of a lowered network fails; the error of torch is its cause.

    `modules` are the names that lead to the module whose step failed, outermost first; each module that the error
    passes on its way out adds its own.
    """

    def __init__(self, problem: Problem, modules: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.modules = modules

    def __str__(self) -> str:
        """Place, what failed, and the notes."""
        span = self.problem.span
        line, column = span.source.position(span.start)
        inside = f" (in {'.'.join(self.modules)})" if self.modules else ""
        return "\n  ".join([f"{span.source.name}:{line}:{column}: {self.problem.message}{inside}", *self.problem.notes])

    def __reduce__(self) -> tuple[type["ExecutionError"], tuple[Problem, tuple[str, ...]]]:
        """Copies and crosses processes with its problem, where exceptions keep their message only."""
        return ExecutionError, (self.problem, self.modules)
