"""E07xx: what can be wrong with the declaration of Python code."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class ExternDeclaration(Problem):
    """An `extern` does not say what its kind must say.

    The declaration is all that the checker knows of Python code, so it must be whole: the types of what goes in and of
    what comes out, in sizes that the inputs, the settings or the file fix, and where the code is, as
    `"package.module:Name"`.

    | kind | signature |
    |---|---|
    | `layer` | inputs and result: `f32[N, T, C] -> f32[N, T, 2 * C]` |
    | `loss`, `metric` | inputs and one number: `f32[N, K], class(K)[N] -> f32[]` |
    | `transform` | one field of one sample: `f32[3, H, W] -> f32[3, H, W]` |
    | `optimizer`, `schedule` | none |
    | `dataset` | the fields of one sample, and their number where it is known |

    ```exp wrong
    extern layer Widen(): f32[N, C] -> f32[N, D] = "my.layers:Widen"
    model Net(x: f32[N, 8]) -> f32[N, 16] { Widen }
    ```

    ```exp right
    extern layer Widen(): f32[N, C] -> f32[N, 2 * C] = "my.layers:Widen"
    model Net(x: f32[N, 8]) -> f32[N, 16] { Widen }
    ```
    """

    code: ClassVar[str] = "E0702"
    name: ClassVar[str] = "extern-declaration"
    template: ClassVar[str] = "`extern {kind} {extern}`: {reason}"

    kind: str
    extern: str
    reason: str
