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


@dataclass(frozen=True, kw_only=True)
class ExternNotFound(Problem):
    """The Python code that an `extern` names cannot be imported, or has no such name.

    A module is looked for in the folder of the `.exp` file that declares the `extern`, then among what is installed.
    Python is imported only by `expc run` and by building the model, never by `expc check`.

    ```exp wrong
    extern layer Gate(): f32[N, C] -> f32[N, C] = "no_such_module:Gate"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Gate }
    ```

    ```exp right
    extern layer Gate(): f32[N, C] -> f32[N, C] = "torch.nn:Sigmoid"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Gate }
    ```
    """

    code: ClassVar[str] = "E0703"
    name: ClassVar[str] = "extern-not-found"
    template: ClassVar[str] = "`extern {kind} {extern}`: {reason}"

    kind: str
    extern: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ExternSettings(Problem):
    """The Python code of an `extern` does not take the settings that are declared for it.

    They are given by name, all that are declared: `Name(width=8, p=0.1)`. An optimizer gets the parameters before them,
    a schedule the optimizer.

    ```exp wrong
    extern layer Shrink(amount: float): f32[N, C] -> f32[N, C] = "torch.nn:Softshrink"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Shrink(0.5) }
    ```

    ```exp right
    extern layer Shrink(lambd: float): f32[N, C] -> f32[N, C] = "torch.nn:Softshrink"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Shrink(0.5) }
    ```
    """

    code: ClassVar[str] = "E0704"
    name: ClassVar[str] = "extern-settings"
    template: ClassVar[str] = "`extern {kind} {extern}`: `{target}({given})` is refused: {reason}"

    kind: str
    extern: str
    target: str
    given: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ExternObject(Problem):
    """The Python code of an `extern` makes something else than its kind asks for.

    A layer is an `nn.Module`; a loss and a transform can be called with tensors; a metric has `update`, `compute` and
    `reset`; an optimizer is a `torch.optim.Optimizer`, a schedule an `LRScheduler`; a data set has a length and items.
    A function that takes tensors will do for a layer, a loss and a transform.

    ```exp wrong
    extern layer Count(): f32[N, C] -> f32[N, C] = "collections:Counter"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Count }
    ```

    ```exp right
    extern layer Gate(): f32[N, C] -> f32[N, C] = "torch.nn:Sigmoid"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Gate }
    ```
    """

    code: ClassVar[str] = "E0705"
    name: ClassVar[str] = "extern-object"
    template: ClassVar[str] = "`extern {kind} {extern}`: `{target}` {found}, not {expected}"

    kind: str
    extern: str
    target: str
    found: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class ExternResult(Problem):
    """The Python code of an `extern` gives something else than is declared for it.

    The inside of an `extern` is not checked before it runs: its declared type is what the rest of the file is checked
    with. Whatever it gives is compared with that type, sizes and dtype, and a difference ends the run.

    ```exp wrong
    extern layer Norm(): f32[N, C] -> f32[N, 1] = "torch.nn:Softmax"
    model Net(x: f32[N, 8]) -> f32[N, 1] { Norm }
    ```

    ```exp right
    extern layer Norm(dim: int): f32[N, C] -> f32[N, C] = "torch.nn:Softmax"
    model Net(x: f32[N, 8]) -> f32[N, 8] { Norm(1) }
    ```
    """

    code: ClassVar[str] = "E0706"
    name: ClassVar[str] = "extern-result"
    template: ClassVar[str] = "`extern {kind} {extern}` is declared to give {expected}, but gave {found}"

    kind: str
    extern: str
    expected: str
    found: str


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
