"""What can be wrong with the `resolved.yaml` of a run."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class ResolvedUnusable(Problem):
    """A `resolved.yaml` cannot be used: it was damaged, or it was changed in a way that has no meaning.

    A run directory holds it beside `sources/`. It names the file that was run, what was given with `--set`, where
    relative paths start, and every value with who set it. `expc run RUN/resolved.yaml` runs all of that once more. A
    value that is changed there counts as if it had been given with `--set`; terms of a table, and groups, are changed
    in the `.exp` file under `sources/`.

    ```exp wrong
    train { group "*.bias" { lr = "a lot" } }
    ```

    ```exp right
    train { group "*.bias" { lr = 0.1 } }
    ```
    """

    code: ClassVar[str] = "E0850"
    name: ClassVar[str] = "resolved-unusable"
    template: ClassVar[str] = "this run cannot be repeated from here: {reason}"

    reason: str
