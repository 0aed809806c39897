"""The trail of a value: how its type arose, for the notes of an error."""

from collections.abc import Sequence
from typing import Any

from expc.compiler.graph import Value
from expc.compiler.ops.declare import Fault
from expc.compiler.types import is_known
from expc.diagnostics import Label, Problem, Span

_LONGEST = 6


def refused(fault: Fault, span: Span, inputs: Sequence[Value], **extra: Any) -> Problem:
    """The problem that a type rule raised, with its place, the tensors that were given, and how they arose."""
    known = [value for value in inputs if is_known(value.type)]
    labels = tuple(
        Label(value.span, f"this is {value.type}") for value in known if len(known) > 1 and value.span != span
    )
    notes = tuple(line for value in known[:2] for line in trail(value))
    return fault.problem(span=span, labels=labels, notes=notes, **{**fault.facts, **extra})


def trail(value: Value) -> list[str]:
    """One line for each stage that changed the shape on the way to `value`, the last one first; the rest is folded."""
    lines: list[str] = []
    folded: list[str] = []
    current: Value | None = value
    while current is not None and current.source is not None and len(lines) < _LONGEST:
        source = current.source
        before = source.inputs[0] if source.inputs else None
        unchanged = (
            before is not None
            and is_known(before.type)
            and is_known(current.type)
            and before.type.dims == current.type.dims
        )
        if unchanged:
            folded.append(source.title)
        else:
            lines += _fold(folded)
            folded = []
            detail = f"  ({'; '.join(source.arithmetic)})" if source.arithmetic else ""
            lines.append(f"{current.type} comes from `{source.title}`, line {current.span.line}{detail}")
        current = before
    lines += _fold(folded)
    if current is not None and current.source is None:
        name = f" `{current.name}`" if current.name else ""
        lines.append(f"{current.type} is the input{name}, line {current.span.line}")
    return lines


def _fold(titles: list[str]) -> list[str]:
    if not titles:
        return []
    shown = " -> ".join(reversed(titles[-3:]))
    return [f"... -> {shown}, which {'keep' if len(titles) > 1 else 'keeps'} the shape"]
