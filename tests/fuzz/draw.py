"""Where choices come from: a plain random generator in the campaign, hypothesis in the tests, which shrinks."""

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Draw(Protocol):
    """What the generator asks of chance."""

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""

    def chance(self, probability: float) -> bool:
        """True about that often."""


class RandomDraw:
    """Chance by `random.Random`."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def choice(self, items: Sequence[T]) -> T:
        return items[int(self.random.random() * len(items))]

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability


class HypothesisDraw:
    """Chance by hypothesis: the simplest choice is the first, the lowest, and false."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies as st

        return int(self.draw(st.integers(low, high)))

    def choice(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]

    def chance(self, probability: float) -> bool:
        return self.integer(0, 99) >= 100 - round(probability * 100)
