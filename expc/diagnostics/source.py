"""Source text, and places in it.

A span counts code points from 0; lines, columns and UTF-16 units are derived here and nowhere else.
"""

from bisect import bisect_right
from functools import cached_property
from pathlib import PurePath

from expc.frozen import dataclass


@dataclass(frozen=True, eq=False)
class Source:
    """One text that was read: a file, or a value given on the command line.

    `name` is what people are shown: a path as the user wrote it, or an option such as `--set lr=2`. `home` is the path
    of the file that this one is a copy of, where it is one, as in a run directory.
    """

    name: str
    text: str
    home: str = ""

    @property
    def folder(self) -> str:
        """Where relative paths of data and weights in the text start."""
        return str(PurePath(self.home or self.name).parent)

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line."""
        return [0, *(i + 1 for i, character in enumerate(self.text) if character == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """The line and the column of `offset`, both from 1, the column in code points."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def utf16_column(self, offset: int) -> int:
        """The column of `offset` in UTF-16 units from 0, as the Language Server Protocol counts."""
        line, column = self.position(offset)
        start = self.line_starts[line - 1]
        return len(self.text[start : start + column - 1].encode("utf-16-le")) // 2

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line break; empty past the end."""
        if number > len(self.line_starts):
            return ""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] - 1 if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """The characters `start` (included) to `end` (excluded) of `source`."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line where the span starts, from 1."""
        return self.source.position(self.start)[0]

    def covers(self, other: "Span") -> bool:
        """Whether `other` lies in this span."""
        return self.source is other.source and self.start <= other.start and other.end <= self.end

    def to(self, other: "Span") -> "Span":
        """The smallest span of this source that covers both."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))
