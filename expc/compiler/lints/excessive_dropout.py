"""`excessive-dropout`: more is dropped than is left."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

DROPOUTS: Final = (
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
)


@dataclass(frozen=True, kw_only=True)
class ExcessiveDropout(Problem):
    """Dropout takes more than half of the values.

    Its effect is greatest at one half; beyond that, less and less of the network learns at a time. In torch `p` is the
    share that is dropped; elsewhere it may be the share that is kept, so that 0.8 may have been 0.2.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> ReLU -> Dropout(0.8) -> Linear(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> ReLU -> Dropout(0.2) -> Linear(2) }
    ```
    """

    code: ClassVar[str] = "W0308"
    name: ClassVar[str] = "excessive-dropout"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{operator}` drops {share:.0%} of the values: `p` is the share that is dropped"

    operator: str
    share: float


def check(program: Program) -> Iterator[Problem]:
    """Every dropout with a probability above one half."""
    for node in program.wires.nodes:
        p = node.setting("p") if node.name in DROPOUTS else None
        if not isinstance(p, int | float) or p <= 0.5:
            continue
        if p == 1:
            from expc.compiler.lints.dropped_wholly import DroppedWholly

            yield DroppedWholly(span=node.span, operator=node.name)
        else:
            yield ExcessiveDropout(span=node.span, operator=node.name, share=float(p))
