"""Sizes that must be equal and are not, and sides that are used up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from expc.compiler.fixes.intents.origins import apart, dims, history, maker, stages
from expc.compiler.fixes.intents.text import LONGEST, ahead, number, setting, shown, written
from expc.compiler.graph import Value
from expc.diagnostics import Edit, Fix, Span

_WINDOW: Final = re.compile(r"- (\d+)\) // (\d+)")
"""The extent and the stride in the arithmetic of a side."""


def unequal(facts: dict[str, str], span: Span, inputs: Sequence[Value]) -> Iterator[Fix]:
    """Two sizes differ: `expected` and `found` at one tensor, or `left_size` and `right_size` of two."""
    operator = facts["operator"]
    first, last = inputs[0], inputs[-1]
    yield from _channels_last(operator, span, first)
    if operator in ("cat", "concat", "concatenate"):
        yield from _other_axis(span, inputs)
    if operator in ("matmul", "bmm"):
        yield from _transposed(span)
    if operator in ("reshape", "view"):
        yield from flattened(span)
    if len(inputs) > 1:
        sides = {id(value): value for value in _differing(inputs)}.values()
        for value in sides:
            others = [other for other in inputs if other is not value]
            yield from padded(min((apart(value, other) for other in others), key=len))
        yield from _shortcut(span, first, last)
        yield from _enlarged(sides)
        yield from _aligned(span, first, last)
    expected, found = facts.get("expected"), facts.get("found")
    if facts.get("what") in ("in_channels", "in_features", "num_features", "num_channels", "normalized_shape"):
        yield from (Fix(f"write `{edit.text}`", (edit,)) for edit in number(span, str(expected), str(found)))
    pairs = [(expected, found)] if expected else [(facts.get("left_size"), facts.get("right_size"))]
    for a, b in pairs:
        if a is not None and b is not None:
            yield from _resized(inputs, a, b)


def used_up(span: Span, value: Value) -> Iterator[Fix]:
    """A window is larger than what is left of a side: layers on the way that keep the size leave more."""
    convolutions = [stage for stage in stages(history(value)) if stage.span.text.startswith("Conv")]
    here = Value(value.type, span, None, value.source)
    yield from padded([*convolutions, *([here] if span.text.startswith("Conv") else [])], "same")


def padded(way: Sequence[Value], text: str = "") -> Iterator[Fix]:
    """The windows on a way whose stride is 1, padded so that they keep the size."""
    edits: list[Edit] = []
    for value in stages(way):
        arithmetic = value.source.arithmetic if value.source is not None else ()
        window = next((found for line in arithmetic if (found := _WINDOW.search(line))), None)
        if text:
            edit = setting(value.span, "padding", f'"{text}"')
        elif window is None or window[2] != "1" or "-" not in "".join(arithmetic):
            continue
        else:
            extent = int(window[1])
            edit = setting(value.span, "padding", str(extent // 2) if extent % 2 else '"same"')
        if edit is not None:
            edits.append(edit)
    edits = list(dict.fromkeys(edits))
    if edits:
        names = " and ".join(f"`{shown(Span(e.span.source, *_call(e.span)))}`" for e in edits[:1])
        each = names if len(edits) == 1 else f"{len(edits)} layers"
        padding = edits[0].text.removeprefix(", ").removeprefix("padding=")
        yield Fix(f"let {each} keep the size: `padding={padding}`", tuple(edits))


def flattened(span: Span) -> Iterator[Fix]:
    """`view(-1, 400)`, `reshape(N, 400)`: surely each sample in one row."""
    if re.fullmatch(r"(?:view|reshape)\(\[?[^,]+,[^,]+\]?\)", span.text):
        yield written(span, "flatten(1)")


def _call(span: Span) -> tuple[int, int]:
    """Where the call around a setting starts and ends, on its line."""
    text, depth, start = span.source.text, 0, span.start
    while start > 0 and (depth > 0 or text[start - 1] != "("):
        start -= 1
        depth += {")": 1, "(": -1}.get(text[start], 0)
        if text[start] == "\n":
            return span.start, span.end
    begin = start - 1
    while begin > 0 and (text[begin - 1].isalnum() or text[begin - 1] == "_"):
        begin -= 1
    end = text.find(")", span.end)
    return begin, (end if end >= 0 else span.end - 1) + 1


def _channels_last(operator: str, span: Span, value: Value) -> Iterator[Fix]:
    """`[N, H, W, 3]` into a layer that takes `[N, 3, H, W]`."""
    stage = _stage(span, operator)
    if re.fullmatch(r"(?:Lazy)?(?:Conv|BatchNorm|InstanceNorm|ConvTranspose)\dd|GroupNorm", operator):
        order = {3: "transpose(1, 2)", 4: "permute(0, 3, 1, 2)", 5: "permute(0, 4, 1, 2, 3)"}.get(len(dims(value)))
        if order is not None:
            yield ahead(stage, order)


def _stage(span: Span, operator: str) -> Span:
    """The whole stage where a problem points at one of its settings."""
    if span.text.startswith(operator):
        return span
    start, end = _call(span)
    return Span(span.source, start, end)


def _other_axis(span: Span, inputs: Sequence[Value]) -> Iterator[Fix]:
    """Tensors that differ in one dimension only are joined along it."""
    shapes = [dims(value) for value in inputs]
    if len({len(shape) for shape in shapes}) != 1:
        return
    differing = [axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]
    if len(differing) == 1:
        edit = setting(span, "dim", str(differing[0]))
        place = re.search(r"\]\s*,\s*(-?\d+)\s*\)$", span.text)
        if place is not None:
            edit = Edit(Span(span.source, span.start + place.start(1), span.start + place.end(1)), str(differing[0]))
        if edit is not None:
            yield Fix(f"join them along the dimension that differs: `dim={differing[0]}`", (edit,))


def _transposed(span: Span) -> Iterator[Fix]:
    """`q @ k` where `q @ k^T` was meant."""
    found = re.fullmatch(r"(\w+)\s*@\s*(\w+)|(?:matmul|bmm)\((\w+),\s*(\w+)\)", span.text)
    if found is not None:
        group = 2 if found[2] else 4
        place = Span(span.source, span.start + found.start(group), span.start + found.end(group))
        text = f"transpose({found[group]}, -2, -1)"
        yield Fix(f"turn the second over: `{text}`", (Edit(place, text),))


def _differing(inputs: Sequence[Value]) -> list[Value]:
    """The tensors, the smallest first: what lost some of its size is the likeliest cause."""
    return sorted(inputs, key=lambda value: [(int(size) if size.isdigit() else 0) for size in dims(value)[2:]])


def _shortcut(span: Span, left: Value, right: Value) -> Iterator[Fix]:
    """A residual whose branch changes the shape: the shortcut has to do the same."""
    for value, other in ((left, right), (right, left)):
        way = apart(other, value)
        if apart(value, other) or not way:
            continue
        operand = _operand(span, first=value is left)
        layers = [stage for stage in stages(way) if re.match(r"Conv\dd\(", stage.span.text)]
        if operand is None or not layers:
            return
        out = re.match(r"\w+\(\s*([^,()]+)", layers[0].span.text)
        steps = [found[1] for stage in layers if (found := re.search(r"\bstride\s*=\s*([^,()]+)", stage.span.text))]
        if out is None or len(steps) > 1:
            return
        name = layers[0].span.text.partition("(")[0]
        stride = f", stride={steps[0]}" if steps else ""
        norm = next((f" -> {t}" for s in stages(way) if (t := s.span.text).startswith("BatchNorm")), "")
        text = f"({operand.text} -> {name}({out[1]}, 1{stride}, bias=false){norm})"
        yield Fix("let the shortcut change the shape too", (Edit(operand, text),))


def _operand(span: Span, *, first: bool) -> Span | None:
    """The name on one side of a sum, or the one that `add(x)` takes."""
    pattern = r"\s*(\w+)\s*\+" if first else r"(?:.*\+\s*|add\(\s*)(\w+)\s*\)?$"
    found = re.match(pattern, span.text, re.DOTALL)
    if found is None and first:
        found = re.match(r"add\(\s*(\w+)\s*\)$", span.text)
    return None if found is None else Span(span.source, span.start + found.start(1), span.start + found.end(1))


def _enlarged(values: Iterable[Value]) -> Iterator[Fix]:
    """A transposed convolution gives one less than was halved before."""
    for value in values:
        for stage in stages(history(value)[:4]):
            if stage.span.text.startswith("ConvTranspose"):
                edit = setting(stage.span, "output_padding", "1")
                if edit is not None:
                    yield Fix("let it give back the row that halving an odd size drops: `output_padding=1`", (edit,))


def _aligned(span: Span, left: Value, right: Value) -> Iterator[Fix]:
    """Dimensions counted from the front, `[N, C, H, W] * [N, C]`, and a table longer than what it is added to."""
    found = re.fullmatch(r"(\w+)\s*[-+*/]\s*(\w+)", span.text)
    if found is None:
        return
    for value, other, group in ((left, right, 1), (right, left, 2)):
        shape, longer = dims(value), dims(other)
        place = Span(span.source, span.start + found.start(group), span.start + found.end(group))
        if 0 < len(shape) < len(longer):
            if longer[: len(shape)] == shape:
                index = ", ".join([":"] * len(shape) + ["none"] * (len(longer) - len(shape)))
                yield written(place, f"{place.text}[{index}]")
            elif len(shape) == len(longer) - 1 and (shape[0], shape[-1]) == (longer[0], longer[-1]):
                yield written(place, f"{place.text}[:, none]")
            elif len(shape) > 1 and longer[-len(shape) + 1 :] == shape[1:] and not longer[-len(shape)].isdigit():
                yield written(place, f"{place.text}[:{longer[-len(shape)]}]")


def _resized(inputs: Sequence[Value], a: str, b: str) -> Iterator[Fix]:
    """The number in the layer that made one of two sizes, replaced by the other."""
    for value in reversed(inputs):
        for size, other in ((b, a), (a, b)):
            made = maker(value, size) if size in dims(value) and other.isdigit() else None
            if made is not None and made.span.text:
                head = made.span.text.partition(",")[0]
                place = Span(made.span.source, made.span.start, made.span.start + len(head))
                for edit in number(place, size, other):
                    at = edit.span.start - made.span.start
                    text = made.span.text[:at] + other + made.span.text[at + len(size) :]
                    yield Fix(f"write `{text}`" if len(text) <= LONGEST else f"write {other} for {size}", (edit,))
