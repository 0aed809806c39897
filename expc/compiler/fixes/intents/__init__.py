"""What was probably meant where tensors do not fit, as fixes.

Comes in: the fault of a type rule, where it stands and the tensors that were given, or a whole problem. Goes out:
fixes, the likeliest first. They are guesses: each is tried on the text, and dropped where it does not mend the problem.
Imported only when something is wrong.
"""

from collections.abc import Sequence
from typing import Final

from expc.compiler.errors.shapes import (
    BroadcastMismatch,
    DtypeMismatch,
    InferredSettingContradicted,
    InputCountMismatch,
    OutOfBounds,
    RankMismatch,
    SettingRefused,
    SizeMismatch,
)
from expc.compiler.errors.training import TargetEncoding, TargetShape, TooFewOutputs
from expc.compiler.fixes.intents import losses, ranks, sizes
from expc.compiler.graph import Value
from expc.compiler.ops.declare import Fault
from expc.diagnostics import Fix, Problem, Span

MOST: Final = 10
"""So many guesses of one problem are tried."""


def likely(fault: Fault, span: Span, inputs: Sequence[Value]) -> tuple[Fix, ...]:
    """What may have been meant by the stage at `span`, which refuses the tensors `inputs`, whose types are known."""
    kind: type[Problem] = fault.problem
    facts = {name: str(fact) for name, fact in fault.facts.items()}
    found: list[Fix] = []
    if not inputs:
        return ()
    if kind in (SizeMismatch, BroadcastMismatch, InferredSettingContradicted):
        found += sizes.unequal(facts, span, inputs)
    elif kind is OutOfBounds:
        found += sizes.used_up(span, inputs[0])
    elif kind is RankMismatch:
        found += ranks.refused(facts, span, inputs[0])
    elif kind is SettingRefused:
        found += ranks.setting(facts, span, inputs[0])
    elif kind is DtypeMismatch:
        found += ranks.cast(facts, span)
    elif kind is InputCountMismatch:
        found += ranks.taken_apart(facts, span, inputs[0])
    elif kind in (TargetEncoding, TargetShape, TooFewOutputs):
        found += losses.compared(facts, span, inputs)
    return tuple(dict.fromkeys(found))[:MOST]
