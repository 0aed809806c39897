"""What flows must be used: a statement whose value the next one drops is a forgotten branch."""

from typing import TYPE_CHECKING, Any

from expc.compiler.errors.stages import UnusedFlow
from expc.compiler.graph import Value
from expc.compiler.model.body import arguments, tensors
from expc.compiler.types import is_known
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.spec import syntax

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context


@dataclass(frozen=True, eq=False)
class Flowing:
    """What flows after a statement, and how many steps its body had before and after it."""

    flow: Any
    span: Span
    before: int
    after: int

    def then(self, elaborator: "Elaborator", statement: syntax.Statement, flow: Any, context: "Context") -> "Flowing":
        """What flows after `statement`. Reports the value that flowed before, where nothing has used it."""
        if flow is self.flow:
            return self
        if self.after > self.before and self._is_dropped(flow, context):
            elaborator.add(UnusedFlow(span=self.span))
        return Flowing(flow, statement.span, self.after, len(context.body.steps))

    def _is_dropped(self, flow: Any, context: "Context") -> bool:
        dropped = {value for value in tensors(self.flow) if value.span.source is self.span.source}
        kept = set(tensors(flow))
        if not dropped or kept & dropped or not all(is_known(value.type) for value in (*dropped, *kept)):
            return False
        steps = context.body.steps
        read = (used for number in range(self.after, len(steps)) for used in arguments(steps[number]))
        if any(isinstance(used, Value) and used in dropped for used in read):
            return False
        return dropped.isdisjoint(tensors(tuple(context.scope.values.values())))
