"""Outputs and targets that a loss cannot compare."""

import re
from collections.abc import Iterator, Sequence

from expc.compiler.fixes.intents.origins import dims, maker
from expc.compiler.fixes.intents.ranks import collapsed
from expc.compiler.fixes.intents.text import number, written
from expc.compiler.graph import Value
from expc.compiler.types import TensorType
from expc.diagnostics import Edit, Fix, Span


def compared(facts: dict[str, str], span: Span, inputs: Sequence[Value]) -> Iterator[Fix]:
    """What may have been meant by a loss at `span` of an output and a target."""
    output, target = inputs[0], inputs[-1]
    if output is target:
        return
    if "classes" in facts:
        yield from _widened(output, facts["outputs"], facts["classes"])
    found, wanted = dims(output), dims(target)
    if len(found) > 2 and len(wanted) == 1:
        yield from collapsed(output, 2)
    if len(found) == 3 and len(wanted) == 2:
        yield from _given(span, "transpose(1, 2)", "")
    if found == (*wanted, "1"):
        yield from _given(span, f"squeeze({len(wanted)})", "")
    if wanted == (*found, "1") or (len(found) == 2 and wanted[1:] == ("1",)):
        yield from _given(span, "", f"squeeze({len(wanted) - 1})")
    if isinstance(target.type, TensorType) and "expected" in facts:
        dtype = "i64" if target.type.dtype.startswith("f") else "f32"
        yield from _given(span, "", dtype)
        if found == (*wanted, "1"):
            yield from _given(span, f"squeeze({len(wanted)})", dtype)
    if "i64" in facts.get("expected", "") and wanted == found:
        yield from _given(span, "", "argmax(1)")


def _given(span: Span, output: str, target: str) -> Iterator[Fix]:
    """The loss with what is compared written out, and a stage after one or both."""
    pair = (("output", output), ("target", target))
    first, second = (f"{name} -> {stage}" if stage else name for name, stage in pair)
    text = span.text
    if re.fullmatch(r"[A-Z]\w*(\([^()]*\))?", text):
        yield written(span, f"({first}, {second}) -> {text}")
        return
    call = re.fullmatch(r"([a-z]\w*\()\s*(output)(\s*,\s*)(\w+)(.*)", text, re.DOTALL)
    if call is not None:
        second = f"{call[4]} -> {target}" if target else call[4]
        yield written(span, f"{call[1]}{first}{call[3]}{second}{call[5]}")


def _widened(output: Value, outputs: str, classes: str) -> Iterator[Fix]:
    """As many outputs as there are classes: in the layer, and where the result is declared."""
    made = maker(output, outputs)
    if made is None:
        return
    for edit in number(made.span, outputs, classes):
        title = f"give {classes} outputs"
        yield Fix(title, (edit,))
        declared = [
            Edit(Span(edit.span.source, found.start(1), found.end(1)), classes)
            for found in re.finditer(rf"->\s*\w+\[[^\[\]\n]*\b({outputs})\]", edit.span.source.text)
        ]
        if declared:
            yield Fix(title, (edit, *declared))
    name = re.search(r"\(\s*([a-z_]\w*)", made.span.text)
    if name is not None:
        for found in re.finditer(rf"\b{name[1]}\b[^,)\n=]*=\s*({outputs})\b", made.span.source.text):
            place = Span(made.span.source, found.start(1), found.end(1))
            yield Fix(f"write `{name[1]} = {classes}`", (Edit(place, classes),))
