"""An experiment's settings, as the compiler and the runtime read them.

The models of its sections are in `expc.spec.sections`. They rest on Pydantic, which takes as long to import as all of
expc; a file that only declares models has no section, so it is checked without Pydantic.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from expc.diagnostics import Span
from expc.frozen import dataclass, field

if TYPE_CHECKING:
    from expc.spec.sections import Checkpoint, Data, Distributed, Export, Log, Prune, Quantize, Train

ROLES: Final = ("train", "val", "test", "predict")
"""The names of `data` that a run uses; others are local to the section."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Every setting of one experiment. A section that the file does not have is none."""

    name: str
    """What runs are named after: the file's name without its ending."""
    data: "Data | None" = None
    train: "Train | None" = None
    distributed: "Distributed | None" = None
    checkpoint: "Checkpoint | None" = None
    log: "Log | None" = None
    quantize: "Quantize | None" = None
    prune: "Prune | None" = None
    export: "Export | None" = None
    origins: Mapping[str, str] = field(default_factory=dict)
    """Who set each value: `train.epochs` -> `mnist.exp:28`, `--set train.epochs=1` or `default`."""
    places: Mapping[str, Span] = field(default_factory=dict)
    """Where each value that is written stands: `train.epochs`."""
