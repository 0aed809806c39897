"""The name that was probably meant, and names in a sentence."""

from collections.abc import Iterable, Sequence
from functools import lru_cache


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` is most like; none when nothing is like it.

    Like are names a few slips of the finger apart (a letter too many, too few, wrong, or two swapped), names that
    differ in case or in underscores, and names of which one starts with the other or holds it between underscores:
    `batch_size` and `batch`, `valid` and `val`.
    """
    return _nearest(word, frozenset(known))


@lru_cache(maxsize=256)  # each fix is tried on the text, where all its other mistakes are met again
def _nearest(word: str, known: frozenset[str]) -> str | None:
    candidates = sorted((_likeness(word, name), name) for name in known - {word})
    return candidates[0][1] if candidates and candidates[0][0] != _UNLIKE else None


def is_slip(word: str, name: str) -> bool:
    """Whether `word` is surely meant to be `name`: it differs in case, in underscores, or by one slip of the finger."""
    return _likeness(word, name)[:2] <= (1, 1)


def advice(word: str | None) -> str:
    """The end of a message that names what was probably meant: `; did you mean `batch`?`, or nothing."""
    return "" if word is None else f"; did you mean `{word}`?"


def enumeration(items: Sequence[str], last: str) -> str:
    """`a`, `a or b`, `a, b or c`, where `last` is `or`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


_UNLIKE = (9, 0, 0)


def _likeness(word: str, name: str) -> tuple[int, int, int]:
    """Smaller is more alike: kind of likeness, slips, and how much of the beginning differs."""
    plain, other = (text.casefold().replace("_", "") for text in (word, name))
    if plain == other:
        return 0, 0, 0
    allowed = _allowed(plain, other)
    if _least_slips(plain, other) <= allowed and (slips := _slips(plain, other)) <= allowed:
        return 1, slips, -_shared_start(plain, other)
    short, long = sorted((word.casefold(), name.casefold()), key=len)
    if len(short) >= 3 and (long.startswith(short) or short in long.split("_")):
        return 2, abs(len(plain) - len(other)), -_shared_start(plain, other)
    return _UNLIKE


def _least_slips(a: str, b: str) -> int:
    """How many slips there are at the least: one for each letter that only one of the names has.

    It tells most names apart at once, and a name of a thousand letters from a short one.
    """
    return max(abs(len(a) - len(b)), len(set(a) - set(b)), len(set(b) - set(a)))


def _shared_start(a: str, b: str) -> int:
    """How many letters two names have in common before they differ."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _allowed(a: str, b: str) -> int:
    """How many slips two names may be apart. Names of two letters may lack one; another letter makes another name."""
    length = min(len(a), len(b))
    if length < 3:
        return int(length == 2 and len(a) != len(b))
    return 1 if length < 6 else 2 if length < 9 else 3


def _slips(a: str, b: str) -> int:
    """How many letters to insert, delete, replace or swap with the next to make `b` of `a`."""
    above: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        twice_above, above, row = above, row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other)))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                row[j] = min(row[j], twice_above[j - 2] + 1)
    return row[-1]
