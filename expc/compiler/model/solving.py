"""What would make sizes fit: which numbers must divide them, from which value on they are large enough."""

from fractions import Fraction
from math import lcm
from typing import Final

from expc.compiler.dimensions import (
    Dim,
    Extreme,
    Floor,
    Size,
    Symbol,
    from_polynomial,
    least,
    polynomial,
    substitute,
    symbol,
    symbols,
)

_LARGE: Final = 1 << 20
"""A size that no bound of practice exceeds."""


def both(size: Size) -> tuple[Size, Size] | None:
    """What must both be 0 or more where `size` must: `min(a, b) - 2` is so where `a - 2` and `b - 2` are."""
    for (atom, *others), coefficient in ((monomial, c) for monomial, c in polynomial(size).items() if monomial):
        if others or not isinstance(atom, Extreme) or coefficient != (1 if atom.function == "min" else -1):
            continue
        if atom.function == "min":
            rest = size - _from(atom)
            return rest + atom.left, rest + atom.right
        rest = size + _from(atom)
        return rest - atom.left, rest - atom.right
    return None


def _from(atom: Extreme) -> Size:
    return from_polynomial({(atom,): 1})


def prime_conditions(a: Size, b: Size) -> dict[Size, int] | None:
    """What would make `a` equal `b`: sizes with the number that must divide each; none if nothing of that kind does.

    Every floor division in both is taken as exact; if they agree then, its remainders are what stands between them.
    """
    needed: dict[Size, int] = {}
    if _exactly(a, needed) != _exactly(b, needed):
        return None
    return needed or None


def solution(size: Size) -> tuple[Size, int] | None:
    """The one symbol of `size` and the value with which `size` is 0, where that is simple: `2 * H - 32` is 0 at 16."""
    terms = polynomial(size)
    names = [monomial for monomial in terms if monomial]
    if len(names) != 1 or len(names[0]) != 1 or not isinstance(names[0][0], Symbol):
        return None
    value = -Fraction(terms.get((), 0)) / terms[names[0]]
    return (Dim({names[0]: 1}), int(value)) if value.denominator == 1 else None


def smallest_that_holds(size: Size, bound: int, limit: int = _LARGE) -> tuple[Symbol, int] | None:
    """The one symbol of `size` and the least value of it from which on `size >= bound`; none if that is not sure."""
    involved = symbols(size)
    if len(involved) != 1:
        return None
    (unknown,) = involved

    def value(n: int) -> int:
        result = substitute(size, {unknown.name: n})
        return result if isinstance(result, int) else -1

    if value(limit) < bound:
        return None
    low, high = 0, 1
    while value(high) < bound:
        low, high = high, high * 2
        if high > limit:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if value(middle) >= bound else (middle, high)
    return (unknown, high) if _surely(size - bound, high) else None


def holds_when_large(size: Size, bound: int) -> bool:
    """Whether `size >= bound` is but a lower bound on its symbols: it holds wherever all of them are large."""
    return _surely(size - bound, _LARGE)


def sides(size: Size) -> tuple[Size, Size]:
    """`size >= 0` as `above >= below`: two sizes of whole numbers without a minus sign."""
    scale = lcm(*(coefficient.denominator for coefficient in polynomial(size).values()))
    above = from_polynomial({monomial: c * scale for monomial, c in polynomial(size).items() if c > 0})
    return above, above - size * scale


def _surely(size: Size, lower: int) -> bool:
    """Whether `size` is 0 or more wherever its symbols are at least `lower`, as far as they may be."""
    larger = {
        unknown.name: symbol(
            unknown.name,
            unknown.divisor,
            max(unknown.lower, lower if unknown.upper is None else min(lower, unknown.upper)),
            unknown.upper,
        )
        for unknown in symbols(size)
    }
    low = least(substitute(size, larger))
    return low is not None and low >= 0


def _exactly(size: Size, needed: dict[Size, int]) -> Size:
    """`size` with every floor division by a number taken as exact; the divisions that this assumes go to `needed`."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, coefficient in size.terms.items():
        terms: Size = from_polynomial({(): coefficient}) if coefficient.denominator == 1 else 1
        scale = Fraction(1) if coefficient.denominator == 1 else Fraction(coefficient)
        for atom in monomial:
            if isinstance(atom, Floor) and isinstance(atom.denominator, int):
                numerator = _exactly(atom.numerator, needed)
                needed[numerator] = lcm(needed.get(numerator, 1), atom.denominator)
                terms = terms * numerator
                scale /= atom.denominator
            else:
                terms = terms * Dim({(atom,): 1})
        total = total + from_polynomial({m: c * scale for m, c in polynomial(terms).items()})
    return total
