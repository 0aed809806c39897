"""How problems look to people: the sentence, the excerpt with its marks, notes, and what to write instead.

    error[E0309 result-mismatch]: `Net` is declared as f32[N, 10], but is f32[N, 12]
      --> net.exp:2:3
       |
     1 | model Net(x: f32[N, 8]) -> f32[N, 10] {
       |                            ---------- declared here
     2 |   Linear(12)
       |   ^^^^^^^^^^
       = help: write `Linear(10)`
     2 -   Linear(12)
     2 +   Linear(10)

Colours are plain ANSI sequences: a library for them would take longer to import than a file takes to check.
"""

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import Final, TextIO

from expc.diagnostics.problem import Edit, Fix, Problem
from expc.diagnostics.source import Source, Span
from expc.frozen import dataclass

WIDEST: Final = 140
"""Columns of a source line that an excerpt shows; of a longer line it shows the part around the mark."""

MOST_PLACES: Final = 12
"""How many marks, and changed lines, of one problem are shown."""

_CODES: Final = {
    "error": "1;31",
    "warning": "1;33",
    "hint": "1;36",
    "bold": "1",
    "place": "1;34",
    "added": "32",
    "removed": "31",
}


def wants_colour(stream: TextIO) -> bool:
    """Whether `stream` is to get colours: it is a terminal, unless NO_COLOR or FORCE_COLOR is set."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def tally(problems: Iterable[Problem]) -> str:
    """`2 errors, 1 warning`, or `no problems`."""
    counts = Counter(problem.severity for problem in problems)
    parts = [f"{n} {kind}{'s' if n > 1 else ''}" for kind in ("error", "warning", "hint") if (n := counts[kind])]
    return ", ".join(parts) or "no problems"


@dataclass(frozen=True)
class Painter:
    """Puts colours around text, or leaves it as it is."""

    colour: bool

    def __call__(self, style: str, text: str) -> str:
        """`text` in the colours of `style`."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour and text else text


@dataclass(frozen=True)
class _Mark:
    """A stretch of one source to underline, and what to say beside it."""

    span: Span
    text: str
    style: str
    character: str


def render(problem: Problem, *, colour: bool = False) -> str:
    """`problem` as several lines of text, without a line break at the end."""
    paint = Painter(colour)
    marks = [_Mark(problem.span, "", problem.severity, "^")]
    marks += [_Mark(label.span, label.text, "place", "-") for label in problem.labels[:MOST_PLACES]]
    spans = [mark.span for mark in marks] + [edit.span for fix in problem.fixes for edit in fix.edits]
    view = _View(paint, margin=len(str(max(span.source.position(span.end)[0] for span in spans))))

    head = paint(problem.severity, f"{problem.severity}[{problem.code} {problem.name}]")
    lines = [head + paint("bold", f": {_printable(_shortened(problem.message))}")]
    for source, found in _by_source(marks):
        lines += view.heading(found[0].span, "-->" if source is problem.span.source else ":::")
        lines += view.excerpt(source, found)
    if len(problem.labels) > MOST_PLACES:
        lines.append(view.remark("note", f"and {len(problem.labels) - MOST_PLACES:,} more places"))
    lines += [view.remark("note", note) for note in problem.notes]
    for number, fix in enumerate(problem.fixes):
        choice = "" if len(problem.fixes) == 1 else "or " if number else "either "
        lines.append(view.remark("help", choice + fix.title))
        changes = list(view.change(fix))
        lines += changes[: 2 * MOST_PLACES]
        if len(changes) > 2 * MOST_PLACES:
            lines.append(paint("place", "..."))
    return "\n".join(lines)


def changed(fix: Fix) -> list[str]:
    """The lines that a fix changes, with their numbers: `2 -   Linear(12)` and `2 +   Linear(10)`."""
    margin = max(len(str(edit.span.source.position(edit.span.end)[0])) for edit in fix.edits)
    return list(_View(Painter(colour=False), margin).change(fix))[: 2 * MOST_PLACES]


def place(span: Span) -> str:
    """`mnist.exp:12:3`; what was given on the command line stands for itself."""
    if span.source.name.startswith("--") or span.source.name == "RUN":
        return printable(_shortened(span.source.name, WIDEST))
    line, column = span.source.position(span.start)
    return f"{printable(span.source.name)}:{line}:{column}"


def _by_source(marks: Sequence[_Mark]) -> list[tuple[Source, list[_Mark]]]:
    sources = dict.fromkeys(mark.span.source for mark in marks)
    return [(source, [mark for mark in marks if mark.span.source is source]) for source in sources]


@dataclass(frozen=True)
class _View:
    """Lines with a margin of `margin` columns on the left, where the numbers of lines stand."""

    paint: Painter
    margin: int

    def heading(self, span: Span, arrow: str) -> list[str]:
        """Which file, line and column an excerpt is from."""
        return [" " * self.margin + self.paint("place", arrow) + f" {place(span)}", self.row("", "|", "")]

    def row(self, number: int | str, separator: str, text: str) -> str:
        """One line with its number and what separates both."""
        return f"{self.paint('place', f'{number:>{self.margin}} {separator}')} {text}".rstrip()

    def remark(self, kind: str, text: str) -> str:
        """A note, or what to do; its further lines are indented."""
        indent = "\n" + " " * (self.margin + len(kind) + 5)
        lead = " " * (self.margin + 1) + self.paint("place", "= ") + self.paint("bold", f"{kind}: ")
        return lead + _printable(text).replace("\n", indent)

    def excerpt(self, source: Source, marks: Sequence[_Mark]) -> Iterator[str]:
        """The marked lines in order, under each its marks, one per row; `...` stands for lines that are left out."""
        ordered = sorted(marks, key=lambda mark: mark.span.start)
        shown = None
        for number, group in groupby(ordered, lambda mark: mark.span.line):
            if shown is not None and number == shown + 2:
                yield self.row(shown + 1, "|", _Line(source.line(shown + 1)).around(0)[0])
            elif shown is not None and number > shown + 2:
                yield self.paint("place", "...")
            shown = number
            here = list(group)
            line = _Line(source.line(number))
            start = source.line_starts[number - 1]
            main = next((mark for mark in here if mark.character == "^"), here[0])
            text, cut = line.around(line.cell(main.span.start - start))
            yield self.row(number, "|", text)
            for mark in here:
                first = min(max(line.cell(mark.span.start - start) - cut, 0), _width(text))
                length = max(min(line.cell(mark.span.end - start) - cut, _width(text)) - first, 1)
                under = mark.character * length + (f" {_printable(mark.text)}" if mark.text else "")
                yield self.row("", "|", " " * first + self.paint(mark.style, under))

    def change(self, fix: Fix) -> Iterator[str]:
        """The lines that `fix` changes, before and after."""
        for source, edits in groupby(sorted(fix.edits, key=lambda e: (e.span.source.name, e.span.start)), _source_of):
            for first, last, hunk in _hunks(source, list(edits)):
                start = source.line_starts[first - 1]
                end = source.line_starts[last - 1] + len(source.line(last))
                after = source.text[start:end]
                for edit in reversed(hunk):
                    after = after[: edit.span.start - start] + edit.text + after[edit.span.end - start :]
                before, now = _lines(source.text[start:end]), _lines(after)
                while before and now and before[-1] == now[-1]:
                    before, now = before[:-1], now[:-1]
                column = hunk[0].span.start - start
                for sign, style, lines in (("-", "removed", before), ("+", "added", now)):
                    for number, text in enumerate(lines, first):
                        yield self.row(number, self.paint(style, sign), _Line(text).around(column)[0])


def _source_of(edit: Edit) -> Source:
    return edit.span.source


def _hunks(source: Source, edits: Sequence[Edit]) -> list[tuple[int, int, list[Edit]]]:
    """Edits that touch the same lines, with the first and the last of these lines."""
    hunks: list[tuple[int, int, list[Edit]]] = []
    for edit in edits:
        first, last = edit.span.line, source.position(edit.span.end)[0]
        if hunks and first <= hunks[-1][1]:
            begin, until, together = hunks[-1]
            hunks[-1] = (begin, max(until, last), [*together, edit])
        else:
            hunks.append((first, last, [edit]))
    return hunks


def _lines(text: str) -> list[str]:
    """The lines of a text as `Source` counts them, unlike `str.splitlines`."""
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text else []


class _Line:
    """One line of source as a terminal shows it: tabs become spaces, characters that would steer it become visible."""

    _shown: Sequence[str]
    """What is shown for each character."""
    _starts: Sequence[int]
    """The cell where each character starts, and the one after the last."""

    def __init__(self, text: str) -> None:
        if text.isascii() and text.isprintable():
            self._shown, self._starts = text, range(len(text) + 1)
            return
        self._shown = ["    " if character == "\t" else printable(character) for character in text]
        self._starts = [0, *accumulate(map(_width, self._shown))]

    def cell(self, offset: int) -> int:
        """The cell, from 0, where the character at `offset` of the line starts; past the end, the last one and 1."""
        return self._starts[min(offset, len(self._starts) - 1)]

    def around(self, cell: int) -> tuple[str, int]:
        """The text, or of a very long line the part around `cell`, and how many cells it leaves out before."""
        cells = self._starts[-1]
        if cells <= WIDEST:
            return "".join(self._shown), 0
        begin = max(0, min(cell - WIDEST // 2, cells - WIDEST))
        first, last = bisect_left(self._starts, begin), bisect_right(self._starts, begin + WIDEST) - 1
        shown = list(self._shown[first:last])
        if first > 0:
            shown[0] = "…".ljust(_width(shown[0]))
        if last < len(self._shown):
            shown[-1] = "…"
        return "".join(shown), self._starts[first]


def _shortened(text: str, limit: int = 600) -> str:
    """`text` without its middle where it is very long: a sentence may quote a piece of a file of any length."""
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"


def printable(text: str) -> str:
    """`text` on one line, with what could steer a terminal made visible."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _printable(text: str) -> str:
    """As `printable`, but line breaks stay."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def _width(text: str) -> int:
    """How many cells `text` takes: East Asian wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me") else 2 if east_asian_width(c) in "WF" else 1 for c in text)
