"""`unchecked-branch`: part of a body that nothing in the file takes, so that it was not checked."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import ClassVar

from expc.compiler.model.patterns import is_tensor_type
from expc.diagnostics import Label, Problem, Span
from expc.frozen import dataclass
from expc.spec import syntax


@dataclass(frozen=True, kw_only=True)
class UncheckedBranch(Problem):
    """A branch of an `if` is checked where a use of its body takes it, with the sizes that arrive there.

    What no use takes is read, but its names and shapes are not checked. So is what depends on the settings of a block
    that nothing uses. Use it once, in a model of its own if need be, and it is checked. One hint says it for all
    places of a file.

    ```exp wrong
    block Head(out: int, deep: bool = false) {
      if deep { Linear(64) -> ReLU }
      Linear(out)
    }
    model Net(x: f32[N, 8]) -> f32[N, 2] { Head(2) }
    ```

    ```exp right
    block Head(out: int, deep: bool = false) {
      if deep { Linear(64) -> ReLU }
      Linear(out)
    }
    model Net(x: f32[N, 8]) -> f32[N, 2] { Head(4, deep=true) -> ReLU -> Head(2) }
    ```
    """

    code: ClassVar[str] = "W0204"
    name: ClassVar[str] = "unchecked-branch"
    severity: ClassVar = "hint"
    template: ClassVar[str] = "{what} is not checked: {reason}"

    what: str
    reason: str


def unchecked(
    statements: Iterable[syntax.Statement], taken: AbstractSet[int], used: AbstractSet[str]
) -> UncheckedBranch | None:
    """One hint for all that was not checked: branches whose identity is not in `taken`, blocks that nothing used."""
    found = list(_places(statements, taken, used))
    if not found:
        return None
    (span, what, reason), *others = found
    labels = tuple(Label(place, f"nor is {more}: {why}") for place, more, why in others)
    return UncheckedBranch(span=span, what=what, reason=reason, labels=labels)


def _places(
    statements: Iterable[syntax.Statement], taken: AbstractSet[int], used: AbstractSet[str]
) -> Iterator[tuple[Span, str, str]]:
    for statement in statements:
        if not isinstance(statement, syntax.Block):
            continue
        settings = [p.name for p in statement.parameters if p.default is None and not is_tensor_type(p.type)]
        if statement.kind == "block" and statement.name not in used and settings:
            names = ", ".join(f"`{name}`" for name in settings)
            yield statement.name_span, f"what depends on {names} here", f"nothing uses `{statement.name}`"
            continue
        missed: list[Span] = []
        for node in statement.inside:
            if isinstance(node, syntax.If):
                for branch in (node.then, node.orelse):
                    inside = branch is not None and any(place.covers(branch.span) for place in missed)
                    if branch is not None and id(branch) not in taken and not inside:
                        missed.append(branch.span)
                        yield _head(branch), "this branch", "no use takes it"


def _head(branch: syntax.Body) -> Span:
    """Where a branch starts: its first line would be long."""
    return branch.statements[0].span if branch.statements else branch.span
