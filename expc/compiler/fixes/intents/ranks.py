"""Tensors of another rank, order or dtype than a stage takes, and results that are not what is declared."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from expc.compiler.fixes.intents.origins import dims, history, stages
from expc.compiler.fixes.intents.sizes import padded
from expc.compiler.fixes.intents.text import ahead, behind, written
from expc.compiler.fixes.intents.text import setting as with_setting
from expc.compiler.graph import Value
from expc.compiler.types import TensorType
from expc.diagnostics import Edit, Fix, Span

_FAMILY: Final = re.compile(r"\w*?([123])d\b")
"""A name that says how many sides it works on: `Conv2d`."""


def refused(facts: dict[str, str], span: Span, value: Value) -> Iterator[Fix]:
    """A tensor of too many or too few dimensions."""
    shape = dims(value)
    wanted = [int(word) for word in re.findall(r"\b\d\b", facts["expected"])]
    family = _FAMILY.match(span.text)
    fitted = [ahead(span, stage) for stage in _fitted(shape, wanted)]
    first = not span.text.startswith(("BatchNorm", "InstanceNorm"))
    yield from fitted if first else ()
    if family is not None and 1 <= len(shape) - 2 <= 3:
        place = Span(span.source, span.start + family.start(1), span.start + family.end(1))
        name = f"{span.text[: family.start(1)]}{len(shape) - 2}d"
        yield Fix(f"take `{name}`", (Edit(place, str(len(shape) - 2)),))
    yield from () if first else fitted


def _fitted(shape: Sequence[str], wanted: Sequence[int]) -> Iterator[str]:
    """What makes a tensor of one of the wanted numbers of dimensions."""
    if len(shape) + 1 in wanted and len(shape) > 1:
        yield "unsqueeze(1)"
    if len(shape) - 1 in wanted:
        yield from (f"squeeze({axis})" for axis, size in enumerate(shape) if size == "1")
    if 2 in wanted and len(shape) > 2:
        yield "Flatten"
    if 3 in wanted and len(shape) == 4:
        yield "flatten(2) -> transpose(1, 2)"


def setting(facts: dict[str, str], span: Span, value: Value) -> Iterator[Fix]:
    """A setting that is not possible for this tensor."""
    found = re.search(r"(dim\w*)=(-?\d+) is outside", facts["reason"])
    if found is not None:
        place = re.search(rf"(?<![\w.]){found[2]}(?![\w.])", span.text)
        if place is not None:
            at = Span(span.source, span.start + place.start(), span.start + place.end())
            yield Fix("take the last dimension: `-1`", (Edit(at, "-1"),))
    if span.text in {"squeeze", "squeeze()"}:
        yield written(span, "flatten(1)")
    if "must be known when the model is built" in facts["reason"]:
        yield from _unknown_width(facts["operator"], span, value)


def _unknown_width(operator: str, span: Span, value: Value) -> Iterator[Fix]:
    """A layer whose weight would grow with an unknown side: channels stand last, or the sides are to be pooled."""
    order = {3: "transpose(1, 2)", 4: "permute(0, 3, 1, 2)"}.get(len(dims(value)))
    if _FAMILY.match(operator) and order is not None:
        yield ahead(span, order)
    for stage in stages(history(value)):
        if re.match(r"(?:F|f)latten", stage.span.text) and stage.source is not None:
            sides = len(dims(stage.source.inputs[0])) - 2
            if 1 <= sides <= 3:
                yield ahead(stage.span, f"AdaptiveAvgPool{sides}d(1)")
            return


def cast(facts: dict[str, str], span: Span) -> Iterator[Fix]:
    """Another dtype."""
    found = re.search(r"write `-> (\w+)`", facts["expected"])
    if found is not None:
        yield ahead(span, found[1])


def taken_apart(facts: dict[str, str], span: Span, value: Value) -> Iterator[Fix]:
    """`LSTM(32) -> Linear(5)`: the first of the tuple was meant."""
    made = value.span
    between = Span(made.source, made.end, span.start)
    line = made.source.line_starts[made.line - 1]
    indent = re.match(r"[ \t]*", made.source.text[line:])
    if made.source is not span.source or between.text.strip() != "->" or indent is None:
        return
    start = line + indent.end()
    rest = made.source.text[start : made.start]
    if "tuple of" not in facts["found"] or "{" in rest or "=" in rest:
        return
    names = ", ".join(["out"] + ["_"] * (int(facts["found"].rpartition(" ")[2]) - 1))
    begin = Edit(Span(made.source, start, start), f"{names} = ")
    yield Fix("take the first of them", (begin, Edit(between, f"\n{indent[0]}out -> ")))


def result(declared: TensorType | None, value: Value, type_: Span) -> Iterator[Fix]:
    """What may have been meant where a body gives `value` and is declared as `declared`, which stands at `type_`."""
    found = dims(value)
    expected = tuple(map(str, declared.dims)) if declared is not None else ()
    way = history(value)
    if len(found) > len(expected) > 0:
        yield from collapsed(value, len(expected))
    for stage in stages(way):
        edit = _switched(stage.span)
        if edit is not None:
            yield Fix("let the batch come first: `batch_first=true`", (edit,))
        if re.match(r"(?:cat|concat\w*)\(", stage.span.text) and "dim" not in stage.span.text:
            joined = with_setting(stage.span, "dim", "1")
            if joined is not None:
                yield Fix("join along the channels: `dim=1`", (joined,))
    if len(found) == len(expected):
        moved = [axis for axis, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b]
        if len(moved) == 2 and [expected[axis] for axis in moved] == [found[axis] for axis in reversed(moved)]:
            yield behind(value.span, f"transpose({moved[0]}, {moved[1]})")
        elif sorted(found) == sorted(expected) and len(set(found)) == len(found) and moved:
            yield behind(value.span, f"permute({', '.join(str(found.index(size)) for size in expected)})")
        elif moved and min(moved) >= 2:
            yield from padded(way)
    elif len(found) == len(expected) + 1:
        yield from (behind(value.span, f"squeeze({axis})") for axis, size in enumerate(found) if axis and size == "1")
    elif len(found) + 1 == len(expected):
        yield from (behind(value.span, f"unsqueeze({axis})") for axis, size in enumerate(expected) if size == "1")
    if declared is not None and isinstance(value.type, TensorType) and declared.dtype != value.type.dtype:
        yield behind(value.span, declared.dtype)
    plain = all(re.fullmatch(r"\w+", size) for size in found)
    if plain and len(found) == len(expected) and found[:1] == expected[:1]:
        yield Fix(f"declare `{value.type}`", (Edit(type_, str(value.type)),))


def collapsed(value: Value, rank: int) -> Iterator[Fix]:
    """A head without what brings its input to `rank` dimensions: before the first layer of those at the end."""
    head = None
    for earlier in history(value):
        source = earlier.source
        if source is None or not source.inputs or len(dims(source.inputs[0])) != len(dims(value)):
            break
        if source.title.startswith("Linear"):
            head = earlier
        elif re.match(r"(?:Conv|\w*Pool|LSTM|GRU|RNN)", source.title):
            break
    at = head if head is None or head.source is None else head.source.inputs[0]
    sides = len(dims(value)) - rank
    choices = []
    if rank == 2 and (head is not None or sides == 1) and all(size.isdigit() for size in dims(at or value)[1:]):
        choices = ["Flatten"]
    elif rank == 2 and 2 <= sides <= 3:
        choices = [f"AdaptiveAvgPool{sides}d(1) -> Flatten"]
    if sides == 1:
        choices = ["mean(1)", *choices]
    for choice in choices:
        yield ahead(head.span, choice) if head is not None else behind(value.span, choice)


def _switched(span: Span) -> Edit | None:
    """`batch_first=false` turned over."""
    place = re.search(r"\bbatch_first\s*=\s*(false)\b", span.text)
    if place is None:
        return None
    return Edit(Span(span.source, span.start + place.start(1), span.start + place.end(1)), "true")
