"""Changes of the text around a stage."""

import re
from collections.abc import Iterator
from typing import Final

from expc.diagnostics import Edit, Fix, Span

LONGEST: Final = 60
"""So long a text is quoted whole."""

_LABEL: Final = re.compile(r'(?:\w+|"[^"\n]*")\s*:\s*$')


def ahead(span: Span, stage: str) -> Fix:
    """`stage` put in front of the one at `span`, whose label stays with it."""
    source = span.source
    line = source.line_starts[span.line - 1]
    label = _LABEL.search(source.text[line : span.start])
    at = span.start if label is None else line + label.start()
    return Fix(f"put `{stage}` before it", (Edit(Span(source, at, at), f"{stage} -> "),))


def behind(span: Span, stage: str) -> Fix:
    """`stage` put after the one at `span`."""
    return Fix(f"put `{stage}` after `{shown(span)}`", (Edit(Span(span.source, span.end, span.end), f" -> {stage}"),))


def written(span: Span, text: str) -> Fix:
    """Another text at `span`."""
    return Fix(f"write `{text}`", (Edit(span, text),))


def setting(span: Span, name: str, value: str) -> Edit | None:
    """The call at `span` with `name=value`; none where it says so already, or is no call."""
    text = span.text
    found = re.search(rf"\b{name}\s*=\s*([^,()\[\]]+|\([^()]*\)|\[[^\[\]]*\])", text)
    if found is not None:
        place = Span(span.source, span.start + found.start(1), span.start + found.end(1))
        return Edit(place, value) if found[1].strip() != value else None
    if not text.endswith(")"):
        return None
    end = Span(span.source, span.end - 1, span.end - 1)
    return Edit(end, f"{'' if text.endswith('()') else ', '}{name}={value}")


def number(span: Span, old: str, new: str) -> Iterator[Edit]:
    """The number `old` in the text at `span` replaced by `new`, once for each place where it stands."""
    for found in re.finditer(rf"(?<![\w.]){re.escape(old)}(?![\w.])", span.text):
        yield Edit(Span(span.source, span.start + found.start(), span.start + found.end()), new)


def shown(span: Span) -> str:
    """The text at `span`, if it is short."""
    text = " ".join(span.text.split())
    return text if len(text) <= 40 else f"{text[:36]} ..."
