"""E022x: arguments of operators, blocks and functions."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnknownArgument(Problem):
    """An argument by a name that the operator or block does not have.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2, biass=false) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2, bias=false) }
    ```
    """

    code: ClassVar[str] = "E0223"
    name: ClassVar[str] = "unknown-argument"
    template: ClassVar[str] = "`{operator}` has no argument `{word}`{hint}"

    operator: str
    word: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class MissingArgument(Problem):
    """An argument that has no default is not given.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { Linear }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { Linear(8) }
    ```
    """

    code: ClassVar[str] = "E0224"
    name: ClassVar[str] = "missing-argument"
    template: ClassVar[str] = "`{operator}` needs {what}"

    operator: str
    what: str


@dataclass(frozen=True, kw_only=True)
class TooManyArguments(Problem):
    """More arguments without a name than the operator takes.

    Sizes that follow from the input are not written: `Conv2d(3, 64, 3)`, pasted from Python, is `Conv2d(64, 3)` here.

    ```exp wrong
    model Net(x: f32[N, 784]) -> f32[N, 10] { Linear(784, 10) }
    ```

    ```exp right
    model Net(x: f32[N, 784]) -> f32[N, 10] { Linear(10) }
    ```
    """

    code: ClassVar[str] = "E0225"
    name: ClassVar[str] = "too-many-arguments"
    template: ClassVar[str] = "`{operator}` takes {expected}, but gets {found}"

    operator: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class WrongArgument(Problem):
    """An argument is of the wrong kind or out of range.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { Dropout(1.5) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { Dropout(0.5) }
    ```
    """

    code: ClassVar[str] = "E0226"
    name: ClassVar[str] = "wrong-argument"
    template: ClassVar[str] = "`{operator}`: `{parameter}` must be {expected}, but is {found}"

    operator: str
    parameter: str
    expected: str
    found: str
