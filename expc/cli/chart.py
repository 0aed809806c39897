"""Lines drawn in a terminal, with characters of eight dots each, or with plain ones where there are no such."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, floor, isfinite, log10
from typing import Final, Literal

from expc.frozen import dataclass

COLOURS: Final = ("36", "33", "35", "32", "34", "31")
"""ANSI colours of lines, in turn."""

DECADES: Final = 6
"""How many powers of ten an axis shows at most: what a cosine falls to in its last step is of no interest."""
_NOTHING: Final = 1e-290
"""What is as good as zero."""

_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille character, by row and column."""


@dataclass(frozen=True)
class Style:
    """How big a chart is, in characters, and what a terminal can show."""

    width: int
    height: int
    colour: bool
    plain: bool
    """Without characters beyond ASCII."""


Scale = Literal["linear", "close", "logarithmic"]
"""How heights follow from numbers: from 0 on, from the least number on, or by powers of ten."""


def chart(
    lines: Sequence[Sequence[float]], style: Style, name: str, unit: int | None = None, scale: Scale = "linear"
) -> str:
    """The lines, one number for each step, over an axis called `name` with marks at multiples of `unit` steps."""
    low, high = _range(lines, scale)
    rows = dict(_marks(low, high, style.height, scale))
    margin = max(len(text) for text in rows.values())
    columns = max(10, style.width - margin - 2)
    canvas = _Canvas(columns, style.height, plain=style.plain)
    for number, line in enumerate(lines):
        _draw(canvas, number, line, low, high, scale)
    corner, side, mark = ("+", "|", "-") if style.plain else ("└", "│", "─")
    written = [
        f"{rows.get(row, ''):>{margin}} {side}{text}" for row, text in enumerate(canvas.rows(colour=style.colour))
    ]
    axis, labels = _axis(len(lines[0]) / (unit or 1), columns, "+" if style.plain else "┬", mark)
    return "\n".join([*written, f"{'':>{margin}} {corner}{axis}", f"{'':>{margin}}  {labels} {name}"])


def key(number: int, style: Style) -> str:
    """The sign of a line in a legend."""
    sign = ("*ox+#@"[number % 6]) if style.plain else "━━"
    return _coloured(sign, number) if style.colour else sign


class _Canvas:
    """Dots in rows of characters; each character has the colour of the last line that it has a dot of."""

    def __init__(self, columns: int, rows: int, *, plain: bool) -> None:
        self._plain: Final = plain
        self.wide, self.tall = (columns, rows) if plain else (2 * columns, 4 * rows)
        self._cells = [[0] * columns for _ in range(rows)]
        self._owners = [[0] * columns for _ in range(rows)]

    def dots(self, owner: int, x: int, first: int, last: int) -> None:
        """Dots in one column, from one height to another, both included; height 0 is at the bottom."""
        for height in range(first, last + 1):
            y = self.tall - 1 - height
            row, column = (y, x) if self._plain else (y // 4, x // 2)
            self._cells[row][column] |= 1 if self._plain else _DOTS[y % 4][x % 2]
            self._owners[row][column] = owner

    def rows(self, *, colour: bool) -> Iterator[str]:
        """The rows of text, the highest first."""
        for cells, owners in zip(self._cells, self._owners, strict=True):
            signs = [self._sign(cell, owner) for cell, owner in zip(cells, owners, strict=True)]
            runs = groupby(zip(signs, owners, strict=True), lambda pair: None if pair[0] == " " else pair[1])
            texts = ((owner, "".join(sign for sign, _ in run)) for owner, run in runs)
            row = (_coloured(text, owner) if colour and owner is not None else text for owner, text in texts)
            yield "".join(row).rstrip()

    def _sign(self, cell: int, owner: int) -> str:
        if not cell:
            return " "
        return "*ox+#@"[owner % 6] if self._plain else chr(0x2800 + cell)


def _coloured(text: str, number: int) -> str:
    return f"\x1b[{COLOURS[number % len(COLOURS)]}m{text}\x1b[0m"


def _draw(canvas: _Canvas, number: int, line: Sequence[float], low: float, high: float, scale: Scale) -> None:
    """Draw one line. What several steps in one column do is drawn as all heights between them."""
    before: int | None = None
    for x in range(canvas.wide):
        start = x * len(line) // canvas.wide
        values = line[start : max(start + 1, (x + 1) * len(line) // canvas.wide)]
        heights = [_height(value, low, high, canvas.tall, scale) for value in values]
        known = [height for height in heights if height is not None]
        if known:
            ends = known if before is None else [*known, before]
            first, last = min(ends), max(ends)
            if before is not None and before not in known:  # the next column goes on where the one before ended
                first, last = (first + 1, last) if before == first else (first, last - 1)
            canvas.dots(number, x, first, last)
        before = heights[-1]


def _height(value: float, low: float, high: float, tall: int, scale: Scale) -> int | None:
    if not isfinite(value) or (scale == "logarithmic" and value <= _NOTHING):
        return None
    if scale == "logarithmic":
        value, low, high = log10(value), log10(low), log10(high)
    share = (value - low) / (high - low)
    return min(tall - 1, max(0, round(share * (tall - 1))))


def _range(lines: Sequence[Sequence[float]], scale: Scale) -> tuple[float, float]:
    """What the axis goes from and to."""
    values = [value for line in lines for value in line if isfinite(value)] or [0.0]
    low, high = min(values), max(values)
    if scale == "logarithmic":
        above = [value for value in values if value > _NOTHING] or [1.0]
        top = ceil(log10(max(above)))
        return 10.0 ** max(min(floor(log10(min(above))), top - 1), top - DECADES), 10.0**top
    low = low if scale == "close" else min(0.0, low)
    return low, high if high - low > _NOTHING else low + 1


def _marks(low: float, high: float, height: int, scale: Scale) -> Iterator[tuple[int, str]]:
    """Round numbers along the axis, each with its row."""
    if scale == "logarithmic":
        exponents = range(round(log10(low)), round(log10(high)) + 1)
        for exponent in exponents[:: ceil(len(exponents) / height)]:
            share = (exponent - log10(low)) / (log10(high) - log10(low))
            yield height - 1 - round(share * (height - 1)), f"1e{exponent}"
        return
    step = _round_step((high - low) / max(2, height // 3))
    for index in range(ceil(low / step), floor(high / step * (1 + 1e-9)) + 1):
        share = (index * step - low) / (high - low)
        yield height - 1 - round(share * (height - 1)), f"{index * step:.4g}"


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _axis(length: float, columns: int, tick: str, mark: str) -> tuple[str, str]:
    """The axis from 0 to `length`, and the numbers under it."""
    widest = len(f"{floor(length):,}")
    step = max(1, round(_round_step(max(length * (widest + 3) / columns, 1))))
    axis, labels = [mark] * columns, [" "] * (columns + widest)
    for count in range(0, floor(length) + 1, step):
        at = min(columns - 1, round(count / length * (columns - 1)))
        axis[at] = tick
        text = f"{count:,}"
        start = max(0, at - len(text) // 2)
        labels[start : start + len(text)] = text
    return "".join(axis), "".join(labels).rstrip()
