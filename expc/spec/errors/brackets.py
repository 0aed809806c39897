"""E01xx: brackets that do not fit."""

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class Unclosed(Problem):
    """A bracket is opened and never closed, or closed and never opened.

    The place is where the bracket is missed first, going by the lines and how they are indented; the second place is
    the bracket that has no partner.

    ```exp wrong
    model Net(x: f32[N, 1, 28, 28]) {
      repeat 2 {
        Conv2d(8, 3) -> ReLU
      Flatten -> Linear(10)
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 28, 28]) {
      repeat 2 {
        Conv2d(8, 3) -> ReLU
      }
      Flatten -> Linear(10)
    }
    ```
    """

    code = "E0102"
    name = "unclosed-bracket"
    template = "`{missing}` is missing here: {what} is never {verb}"

    missing: str
    what: str
    verb: str


@dataclass(frozen=True, kw_only=True)
class Surplus(Problem):
    """A closing bracket closes nothing, or an opening one is there twice.

    ```exp wrong
    model Net(x: f32[N, 1, 28, 28]) {
      Flatten -> Linear(10))
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 28, 28]) {
      Flatten -> Linear(10)
    }
    ```
    """

    code = "E0103"
    name = "surplus-bracket"
    template = "this `{bracket}` {what}"

    bracket: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Mismatched(Problem):
    """A bracket is closed by one of another kind.

    ```exp wrong
    let mean = [0.1307, 0.3081)
    ```

    ```exp right
    let mean = [0.1307, 0.3081]
    ```
    """

    code = "E0104"
    name = "mismatched-bracket"
    template = "`{opener}` is closed by `{found}`; write `{closer}`"

    opener: str
    closer: str
    found: str
