"""`conditional-piped`: `x if c else x -> stage`, where the stage takes both branches."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from expc.diagnostics import Edit, Fix, Problem, Severity, Span
from expc.frozen import dataclass
from expc.spec import syntax


@dataclass(frozen=True, kw_only=True)
class ConditionalPiped(Problem):
    """The arrow binds loosest: what follows it takes the result of the whole condition, whichever branch is taken.

    `x if C == out else x -> Conv2d(out, 1)` is `(x if C == out else x) -> Conv2d(out, 1)`: the convolution is always
    there. Parentheses say which is meant.

    ```exp wrong
    block Unit(x: f32[N, C, H, W], out: int) {
      skip = x if C == out else x -> Conv2d(out, 1)
      Conv2d(out, 3, padding=1) -> flow + skip
    }
    model Net(x: f32[N, 8, H, W]) -> f32[N, 8, H, W] { Unit(8) }
    ```

    ```exp right
    block Unit(x: f32[N, C, H, W], out: int) {
      skip = x if C == out else (x -> Conv2d(out, 1))
      Conv2d(out, 3, padding=1) -> flow + skip
    }
    model Net(x: f32[N, 8, H, W]) -> f32[N, 8, H, W] { Unit(8) }
    ```
    """

    code: ClassVar[str] = "W0204"
    name: ClassVar[str] = "conditional-piped"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{stage}` takes both branches of this condition: put parentheses around what is meant"

    stage: str


def check(trees: Sequence[syntax.File]) -> Iterator[Problem]:
    """Chains whose head is a condition without parentheses."""
    for node in syntax.walk(tuple(trees)):
        if isinstance(node, syntax.Chain) and isinstance(node.stages[0], syntax.Conditional):
            head, span = node.stages[0], node.span
            stage = node.stages[1].span.text.partition("\n")[0]
            yield ConditionalPiped(
                span=span,
                stage=stage if len(stage) <= 30 else f"{stage[:29]}…",
                fixes=(
                    _around("only the last branch is piped", head.orelse.span, span.end),
                    _around("both branches are piped", head.span, head.span.end),
                ),
            )


def _around(title: str, start: Span, end: int) -> Fix:
    source = start.source
    edits = (Edit(Span(source, start.start, start.start), "("), Edit(Span(source, end, end), ")"))
    return Fix(title, edits)
