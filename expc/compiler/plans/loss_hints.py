"""What a problem in the loss can say of the data: which field was meant, how the target would fit."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from expc.compiler.errors.names import UnknownName
from expc.compiler.errors.training import TargetEncoding
from expc.compiler.plans.check_loss import Outcome
from expc.compiler.program import DataPlan
from expc.diagnostics import Edit, Fix, Problem, Span
from expc.frozen import dataclass


@dataclass(frozen=True, eq=False)
class LossHints:
    """Adds to the problems of one experiment's loss what its data says."""

    found: Outcome
    plans: Iterable[DataPlan]

    def __call__(self, problem: Problem) -> Problem:
        """The problem, with a hint and a fix where there are any."""
        if isinstance(problem, UnknownName) and problem.word in self.found.inputs:
            field = self.found.inputs[problem.word]
            hint = f" here: it is the model's input, which the field `{field}` fills; write `{field}`"
            fix = Fix(f"write `{field}`", (Edit(problem.span, field),))
            return replace(problem, hint=hint, fixes=(fix,))
        if isinstance(problem, TargetEncoding) and self.found.target is not None:
            return replace(problem, fixes=(*problem.fixes, *self._encodings(self.found.target)))
        return problem

    def _encodings(self, target: str) -> Iterable[Fix]:
        """Writing the target in the other way, in every role. One that does not help is dropped when it is tried."""
        spans = list(dict.fromkeys(plan.span for plan in self.plans))
        written = [match for span in spans if (match := _ONE_HOT.search(span.text)) and match[1] == target]
        if self.found.fields[target].classes is not None:
            stage = f" -> {{ {target} = {target} -> OneHot }}"
            edits = tuple(Edit(Span(span.source, span.end, span.end), stage) for span in spans)
            yield Fix(f"make numbers of the classes: `{stage.strip()}`", edits, "unsafe")
        elif written and len(written) == len(spans):
            edits = tuple(
                Edit(Span(span.source, span.start + match.start(), span.start + match.end()), "")
                for span, match in zip(spans, written, strict=True)
            )
            yield Fix("leave the classes as they are: drop `OneHot`", edits, "unsafe")


_ONE_HOT: Final = re.compile(r"\s*->\s*\{\s*(\w+)\s*=\s*\1\s*->\s*OneHot(?:\([^()]*\))?\s*\}")
