"""E08xx: files that the building of a model needs."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class WeightsRefused(Problem):
    """A file that parameters should start from cannot be read, or does not have them.

    Every parameter and buffer that the selector of the `init` matches must be in the file in its own shape, under its
    key after the prefix that is dropped. Keys are relative to the block that the `init` stands in; a file of a backbone
    alone fits `init "backbone.*"` too. A new head is left out by a selector that does not match it. Paths start at the
    folder of the `.exp` file. Files of `torch.save` are read as tensors and plain values; what else one
    holds could run code, and is refused: save `model.state_dict()`.

    ```exp wrong
    train { init "*" = load("resnet18.safetensors") }
    ```

    ```exp right
    train { init "layer*" = load("resnet18.safetensors", drop="backbone.") }
    ```
    """

    code: ClassVar[str] = "E0815"
    name: ClassVar[str] = "weights-refused"
    template: ClassVar[str] = "cannot start from `{path}`: {reason}"

    path: str
    reason: str
