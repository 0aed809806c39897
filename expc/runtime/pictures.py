"""Pictures for people, drawn with Pillow: confusion matrices, and samples side by side with words below."""

from collections.abc import Sequence
from functools import cache
from math import ceil, isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = NDArray[np.uint8]
"""`[H, W, 3]`."""

WHITE, INK, RED = (255, 255, 255), (30, 30, 30), (190, 20, 20)
PALE, DEEP = (242, 245, 250), (8, 48, 107)
"""The colours of a cell that has nothing of its row, and of one that has all."""
LARGEST = 960
"""Pixels from one side to the other, at most, of all cells."""


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


# -------------------------------------------------------------------------------------------- confusion matrices


def of_matrix(matrix: Tensor) -> Picture:
    """How often each class, by row, was taken for each, by column: `[K, K]`; of several labels, `[L, 2, 2]`.

    Shade is the share of the row, so that rare classes are seen too; numbers stand in the cells where they fit.
    """
    if matrix.ndim == 2:
        return np.asarray(_matrix(matrix.double().numpy()))
    tables = [_matrix(each.double().numpy(), f"label {number}") for number, each in enumerate(matrix)]
    across = min(len(tables), max(1, isqrt(len(tables) * 2)))
    return _side_by_side(tables, across, gap=8)


def _matrix(counts: NDArray[np.float64], title: str = "taken for") -> Image.Image:
    classes = len(counts)
    cell = max(1, min(48, LARGEST // classes))
    side = min(classes * cell, LARGEST)
    size = max(8, min(15, cell // 3))
    font = _font(size)
    margin, head = max(24, int(size * 2.2)), 3 * size + 8
    counts = np.nan_to_num(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    shades = shares[..., None] ** 0.6  # few mistakes among many are to be seen
    colours = np.array(PALE) * (1 - shades) + np.array(DEEP) * shades
    cells = Image.fromarray(colours.round().astype(np.uint8))
    image = Image.new("RGB", (margin + side + 8, head + side + 8), WHITE)
    grown = cells.resize((side, side), Image.Resampling.NEAREST if cell > 1 else Image.Resampling.BOX)
    image.paste(grown, (margin, head))
    draw = ImageDraw.Draw(image)
    for number in range(classes + 1 if cell >= 6 else 0):
        edge = number * cell - 1
        draw.line((margin + edge, head, margin + edge, head + side), fill=WHITE)
        draw.line((margin, head + edge, margin + side, head + edge), fill=WHITE)
    for row, column in np.argwhere(counts) if cell >= 24 else ():
        text = _number(counts[row, column])
        if draw.textlength(text, font=font) <= cell - 4:
            middle = (margin + (column + 0.5) * cell - 1, head + (row + 0.5) * cell - 1)
            draw.text(middle, text, font=font, anchor="mm", fill=WHITE if shades[row, column, 0] > 0.55 else INK)
    for number in range(0, classes, ceil(3 * size * classes / side)):
        along = (number + 0.5) * side / classes
        draw.text((margin + along, head - 4), str(number), font=font, anchor="mb", fill=INK)
        draw.text((margin - 5, head + along), str(number), font=font, anchor="rm", fill=INK)
    draw.text((margin + side / 2, 4), title, font=font, anchor="mt", fill=INK)
    draw.text((5, head - 4), "is", font=font, anchor="lb", fill=INK)
    return image


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value)) if value < 10_000 else f"{value / 1000:.0f}k"
    return f"{value:.2f}".removeprefix("0")


# ------------------------------------------------------------------------------------------------------ samples


def of_samples(images: Sequence[Picture], captions: Sequence[tuple[str, bool]]) -> Picture:
    """Samples side by side, each with a caption; `(words, false)` is red."""
    tiles = []
    for number, pixels in enumerate(images):
        height, width = pixels.shape[:2]
        scale = max(1, 128 // max(height, width))
        tile = Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        tile.thumbnail((256, 256))
        if captions:
            words, right = captions[number]
            lines = words.split("\n")
            whole = Image.new("RGB", (tile.width, tile.height + 15 * len(lines) + 2), WHITE)
            whole.paste(tile)
            draw = ImageDraw.Draw(whole)
            for line, text in enumerate(lines):
                place = (tile.width / 2, tile.height + 2 + 15 * line)
                draw.text(place, text, font=_font(12), anchor="mt", fill=INK if right else RED)
            tile = whole
        tiles.append(tile)
    return _side_by_side(tiles, min(len(tiles), 8), gap=4)


def _side_by_side(tiles: Sequence[Image.Image], across: int, gap: int) -> Picture:
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    down = ceil(len(tiles) / across)
    image = Image.new("RGB", (across * (width + gap) + gap, down * (height + gap) + gap), WHITE)
    for number, tile in enumerate(tiles):
        image.paste(tile, (gap + number % across * (width + gap), gap + number // across * (height + gap)))
    return np.asarray(image)
