"""E01xx: text that cannot be read."""

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class Unexpected(Problem):
    """Something stands where the language asks for something else.

    The message says what could stand there. Everything around the broken statement is still checked.

    ```exp wrong
    model Net(x: f32[N, 1, 28, 28]) {
      Flatten -> Linear(10 bias=false)
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 28, 28]) {
      Flatten -> Linear(10, bias=false)
    }
    ```
    """

    code = "E0101"
    name = "unexpected-text"
    template = "expected {expected}, found {found}"

    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class ChainedComparison(Problem):
    """Comparisons do not chain.

    ```exp wrong
    let n = 3
    let small = 1 if 0 < n < 5 else 2
    ```

    ```exp right
    let n = 3
    let small = 1 if 0 < n and n < 5 else 2
    ```
    """

    code = "E0112"
    name = "chained-comparison"
    template = "comparisons do not chain; join them with `and`"


@dataclass(frozen=True, kw_only=True)
class TooDeep(Problem):
    """Brackets, braces or operators are nested deeper than any readable program needs.

    Name the inner parts with `let`, `block` or a bound name.

    ```exp wrong
    let x = ----------------------------------------------------------------------------------------------------------------------------------------------------------------------------------1
    ```

    ```exp right
    let x = -1
    ```
    """  # noqa: E501

    code = "E0113"
    name = "nested-too-deep"
    template = "this is nested more than {limit} levels deep; name the inner parts"

    limit: int


@dataclass(frozen=True, kw_only=True)
class BadTarget(Problem):
    """What stands left of `=` is not a name, or several names.

    ```exp wrong
    model Net(x: f32[N, 8]) {
      layer.out = Linear(4)
      layer.out -> Linear(10)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) {
      out = Linear(4)
      out -> Linear(10)
    }
    ```
    """

    code = "E0115"
    name = "bad-target"
    template = "only names can stand left of `=`{advice}"

    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class NotASetting(Problem):
    """A line of a section is something else than a setting.

    ```exp wrong
    checkpoint {
      keep: 2
    }
    ```

    ```exp right
    checkpoint {
      keep = 2
    }
    ```
    """

    code = "E0116"
    name = "not-a-setting"
    template = "a setting is written `{key} = value`"

    key: str


@dataclass(frozen=True, kw_only=True)
class MoreFollow(Problem):
    """There are more mistakes than are worth showing at once.

    Mend those above first. This example has no wrong form that could be shown here.

    ```exp right
    let width = 64
    ```
    """

    code = "E0117"
    name = "more-mistakes-follow"
    template = "more mistakes follow; mend the {shown} above first"

    shown: int


@dataclass(frozen=True, kw_only=True)
class Misplaced(Problem):
    """A statement stands in a place that is meant for others.

    Declarations and sections stand at top level; chains and named values stand in the body of a `block` or `model`;
    sections hold settings.

    ```exp wrong
    width = 64
    ```

    ```exp right
    let width = 64
    ```
    """

    code = "E0118"
    name = "misplaced-statement"
    template = "{what} cannot stand {where}; {advice}"

    what: str
    where: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class UnknownExtern(Problem):
    """`extern` is followed by a kind of Python code that the language does not know.

    ```exp wrong
    extern module Fast(): f32[N, C] -> f32[N, C] = "my.layers:Fast"
    ```

    ```exp right
    extern layer Fast(): f32[N, C] -> f32[N, C] = "my.layers:Fast"
    ```
    """

    code = "E0119"
    name = "unknown-extern"
    template = "`{kind}` is no kind of Python code; {kinds}"

    kind: str
    kinds: str


@dataclass(frozen=True, kw_only=True)
class OpenChoice(Problem):
    """An arrow follows `a if condition else b`, and it is not plain what goes through it.

    `->` binds loosest of all, so that `x if same else x -> Conv2d(8, 1)` would send what is chosen through the
    convolution, `x` too. Parentheses say what is meant.

    ```exp wrong
    let same = true
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      skip = x if same else x -> Linear(8)
      Linear(8) -> add(skip)
    }
    ```

    ```exp right
    let same = true
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      skip = x if same else (x -> Linear(8))
      Linear(8) -> add(skip)
    }
    ```
    """

    code = "E0120"
    name = "open-choice"
    template = "an arrow follows `{choice}`: does the last of both go through it, or what is chosen? Parentheses say it"

    choice: str
