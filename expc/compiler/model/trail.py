"""The trail of a value: how its type arose, for the notes of an error."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from expc.compiler.graph import Value
from expc.compiler.ops.declare import Fault
from expc.compiler.types import is_known
from expc.diagnostics import Label, Problem, Span

_LONGEST: Final = 6
_UNTRACED: Final = 3
"""Lines of a trail that follows one size, and of one that tells the whole shape."""
_SIZES: Final = ("found", "expected", "left_size", "right_size", "size")
"""Facts of a problem that are sizes: the trail follows those."""


def refused(fault: Fault, span: Span, inputs: Sequence[Value], **extra: Any) -> Problem:
    """The problem that a type rule raised, with its place, the tensors that were given, and how they arose."""
    from expc.compiler.fixes.intents import likely  # only a problem needs it

    known = list({id(value): value for value in inputs if is_known(value.type)}.values())
    labels = tuple(
        Label(value.span, f"this is {value.type}") for value in known if len(known) > 1 and value.span != span
    )
    if not labels and len(known) == 1 and "found" in fault.facts:
        from expc.compiler.fixes.intents.origins import maker

        made = maker(known[0], str(fault.facts["found"]))
        differs = made is not None and made.span != span and str(fault.facts["found"]).isdigit()
        labels = (Label(made.span, f"{fault.facts['found']} arises here"),) if made is not None and differs else ()
    return fault.problem(
        span=span,
        labels=labels,
        notes=tuple(notes(fault, known)),
        fixes=likely(fault, span, known),
        **{**fault.facts, **extra},
    )


def notes(fault: Fault, values: Sequence[Value]) -> Iterator[str]:
    """How the sizes that do not fit arose, each stage once."""
    left = [str(fault.facts[name]) for name in _SIZES if name in fault.facts]
    traced: list[tuple[Value, str | None]] = []
    for value in values:
        sizes = [str(size) for size in getattr(value.type, "dims", ())]
        size = next((size for size in left if size in sizes), None)
        if size is not None:
            left.remove(size)
            traced.append((value, size))
    seen: set[int] = set()
    for value, size in traced or [(value, None) for value in values[:1]]:
        yield from trail(value, size, seen)


def trail(value: Value, size: str | None = None, seen: set[int] | None = None) -> list[str]:
    """One line for each stage that changed the shape on the way to `value`, the last one first; the rest is folded.

    With `size` only that dimension is followed, back to where it arose. Values in `seen` were told already, and those
    told now are added.
    """
    seen = set() if seen is None else seen
    lines: list[str] = []
    folded: list[str] = []
    current: Value | None = value
    tracked, longest = size, _LONGEST if size is not None else _UNTRACED
    while current is not None and current.source is not None and len(lines) < longest:
        if id(current) in seen:
            return lines + _fold(folded)
        seen.add(id(current))
        source = current.source
        before = source.inputs[0] if source.inputs else None
        if before is not None and keeps(before, current, tracked):
            folded += [source.title] if source.title else []
        else:
            lines += _fold(folded)
            folded = []
            made = [text for text in source.arithmetic if tracked is None or text.endswith(f" {tracked}")]
            detail = f" ({'; '.join(made)})" if made else ""
            lines.append(f"{current.type} comes from `{source.title}`, line {current.span.line}{detail}")
            if tracked is not None and (before is None or not made):
                return lines
            tracked = None if tracked is None else size_before(before, current, tracked)
        current = before
    lines += _fold(folded)
    if current is not None and current.source is None and id(current) not in seen:
        seen.add(id(current))
        name = f" `{current.name}`" if current.name else ""
        lines.append(f"{current.type} is the input{name}, line {current.span.line}")
    return lines


def keeps(before: Value, after: Value, size: str | None) -> bool:
    """Whether a stage keeps the shape, or the one dimension that is followed."""
    if not is_known(before.type) or not is_known(after.type):
        return False
    if size is None:
        return before.type.dims == after.type.dims
    return _place(before, size) is not None and (
        before.type.rank != after.type.rank or _place(before, size) == _place(after, size)
    )


def size_before(before: Value | None, after: Value, size: str) -> str | None:
    """The size that the dimension of `size` had before a stage; none where dimensions were joined or moved."""
    place = _place(after, size)
    if before is None or place is None or not is_known(before.type) or not is_known(after.type):
        return None
    return str(before.type.dims[place]) if before.type.rank == after.type.rank else None


def _place(value: Value, size: str) -> int | None:
    sizes = [str(dim) for dim in getattr(value.type, "dims", ())]
    return sizes.index(size) if size in sizes else None


def _fold(titles: list[str]) -> list[str]:
    if not titles:
        return []
    shown = " -> ".join(reversed(titles[-3:]))
    return [f"... -> {shown}, which {'keep' if len(titles) > 1 else 'keeps'} it"]
