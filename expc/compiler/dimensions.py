"""Sizes of dimensions: integers, and exact arithmetic on unknown ones.

A size is a Python `int` when it is known and a `Dim` when it is not; both take the same operators, so a shape rule is
plain arithmetic: `(h + 2 * padding - kernel) // stride + 1`. A `Dim` is a polynomial with rational coefficients over
atoms: named symbols, and floor divisions that could not be carried out. What `where` says of a symbol (`H % 16 == 0`,
`T <= 256`) lives in the symbol, so that `H // 2` is exactly `H / 2` wherever it appears. Two sizes are equal when their
normal forms are; two unknown sizes are never silently equal.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, gcd, lcm
from typing import Final, Union

from expc.frozen import dataclass, field

MOST_TERMS: Final = 200
"""How many terms, and factors in one of them, the size of a dimension may have."""

DEEPEST: Final = 40
"""How many floor divisions may stand in each other: more would take a size that no memory holds."""


class UnwieldySizeError(OverflowError):
    """A size is too long a formula to reason about."""

    def __init__(self) -> None:
        super().__init__("the size of a dimension becomes too long a formula")


@dataclass(frozen=True, order=True)
class Symbol:
    """An unknown whole number of at least `lower`, at most `upper`, and a multiple of `divisor`."""

    name: str
    divisor: int = field(default=1, compare=False)
    lower: int = field(default=1, compare=False)
    upper: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Floor:
    """`numerator // denominator`, which could not be simplified."""

    numerator: "Size"
    denominator: "Size"

    @cached_property
    def nesting(self) -> int:
        """How many of its kind stand in each other."""
        return 1 + max(_nesting(self.numerator), _nesting(self.denominator))

    def __str__(self) -> str:
        return f"{_operand(self.numerator)} // {_operand(self.denominator)}"

    def __lt__(self, other: "Atom") -> bool:
        return str(self) < str(other)


@dataclass(frozen=True)
class Extreme:
    """`max(a, b)` or `min(a, b)` of sizes that cannot be told apart."""

    function: str
    left: "Size"
    right: "Size"

    @cached_property
    def nesting(self) -> int:
        """How many of its kind stand in each other."""
        return 1 + max(_nesting(self.left), _nesting(self.right))

    def __str__(self) -> str:
        return f"{self.function}({self.left}, {self.right})"


Atom = Union[Symbol, Floor, "Extreme"]
Monomial = tuple[Atom, ...]
Size = Union[int, "Dim"]
Rational = int | Fraction
"""A coefficient. Nearly all are whole, and those are plain integers: arithmetic on them is ten times as quick."""


@dataclass(frozen=True, eq=False)
class Dim:
    """A polynomial in unknown sizes. Made by arithmetic on `symbol(...)`; never constant."""

    terms: Mapping[Monomial, Rational]

    @cached_property
    def _key(self) -> frozenset[tuple[Monomial, Rational]]:
        return frozenset(self.terms.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __add__(self, other: Size) -> Size:
        if not isinstance(other, int | Dim):
            return NotImplemented
        total = dict(self.terms)
        for monomial, coefficient in polynomial(other).items():
            total[monomial] = total.get(monomial, 0) + coefficient
        return from_polynomial(total)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return Dim({monomial: -coefficient for monomial, coefficient in self.terms.items()})

    def __sub__(self, other: Size) -> Size:
        if not isinstance(other, int | Dim):
            return NotImplemented
        return self + -other

    def __rsub__(self, other: Size) -> Size:
        return -self + other

    def __mul__(self, other: Size) -> Size:
        if isinstance(other, int):
            return Dim({monomial: a * other for monomial, a in self.terms.items()}) if other else 0
        if not isinstance(other, Dim):
            return NotImplemented
        if len(self.terms) * len(other.terms) > MOST_TERMS**2:
            raise UnwieldySizeError
        product: dict[Monomial, Rational] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                monomial = tuple(sorted(left + right, key=str))
                product[monomial] = product.get(monomial, 0) + a * b
        return from_polynomial(product)

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> Size:
        result: Size = 1
        for _ in range(exponent):
            result = result * self
        return result

    def __floordiv__(self, other: Size) -> Size:
        return _floordiv(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return _floordiv(other, self)

    def __mod__(self, other: Size) -> Size:
        return self - other * (self // other)

    def __rmod__(self, other: Size) -> Size:
        return other - self * (other // self)

    def __str__(self) -> str:
        ordered: list[tuple[Monomial, Rational]]
        ordered = sorted(self.terms.items(), key=lambda item: (not item[0], -len(item[0]), [str(a) for a in item[0]]))
        text = ""
        for monomial, coefficient in ordered:
            sign = " - " if coefficient < 0 else " + "
            # In front, a minus binds tighter than `//`.
            text += sign + _term(monomial, max(coefficient, -coefficient), grouped=coefficient < 0 and not text)
        return text.removeprefix(" + ") if text.startswith(" + ") else "-" + text.removeprefix(" - ")

    def __repr__(self) -> str:
        return f"Dim({self})"


def symbol(name: str, divisor: int = 1, lower: int = 1, upper: int | None = None) -> Dim:
    """The unknown size called `name`; see `Symbol` for what may be known of it."""
    return Dim({(Symbol(name, divisor, lower, upper),): 1})


def as_symbol(size: Size) -> Symbol | None:
    """The symbol that `size` consists of, if it is nothing but one."""
    if isinstance(size, Dim) and len(size.terms) == 1:
        ((monomial, coefficient),) = size.terms.items()
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Symbol):
            return monomial[0]
    return None


def symbols(size: Size) -> frozenset[Symbol]:
    """Every symbol that `size` depends on."""
    found: set[Symbol] = set()
    for atom in _atoms(size):
        if isinstance(atom, Symbol):
            found.add(atom)
        elif isinstance(atom, Floor):
            found |= symbols(atom.numerator) | symbols(atom.denominator)
        else:
            found |= symbols(atom.left) | symbols(atom.right)
    return frozenset(found)


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """`size` with the symbols named in `values` replaced. Raises ZeroDivisionError as division by zero does.

    A rational coefficient that does not come out whole is rounded down, as the division that made it does.
    """
    if isinstance(size, int):
        return size
    return _rebuild(size, lambda atom: _substitute_atom(atom, values))


def maximum(a: Size, b: Size) -> Size:
    """The larger of two sizes, symbolic when that is not known."""
    return _extreme("max", a, b)


def minimum(a: Size, b: Size) -> Size:
    """The smaller of two sizes, symbolic when that is not known."""
    return _extreme("min", a, b)


def least(size: Size) -> int | None:
    """A lower bound of `size` over everything its symbols may be; none when it is unbounded or unknown."""
    bound = _bound(size, lower=True)
    return None if bound is None else ceil(bound)


def greatest(size: Size) -> int | None:
    """An upper bound of `size` over everything its symbols may be; none when it is unbounded or unknown."""
    bound = _bound(size, lower=False)
    return None if bound is None else floor(bound)


def divides(divisor: Size, size: Size) -> bool:
    """Whether `size` is surely a multiple of `divisor`, which is not zero."""
    if isinstance(divisor, Dim):
        return _polynomial_quotient(size, divisor) is not None
    if isinstance(size, int):
        return size % divisor == 0
    return all(_is_whole(monomial, _ratio(coefficient, divisor)) for monomial, coefficient in size.terms.items())


def exact_quotient(size: Size, divisor: Size) -> Size:
    """`size / divisor`, taken to leave no remainder (ask `divides` first)."""
    if isinstance(size, int) and isinstance(divisor, int):
        return size // divisor
    if isinstance(divisor, int):
        return from_polynomial({m: _ratio(c, divisor) for m, c in polynomial(size).items()})
    quotient = _polynomial_quotient(size, divisor)
    return quotient if quotient is not None else size // divisor


def polynomial(size: Size) -> Mapping[Monomial, Rational]:
    """The coefficients of `size`, by what they multiply."""
    return size.terms if isinstance(size, Dim) else {(): size}


def from_polynomial(terms: Mapping[Monomial, Rational]) -> Size:
    """The size with these coefficients; a constant is rounded down."""
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not kept:
        return 0
    if set(kept) == {()}:
        return int(kept[()] // 1)
    if len(kept) > MOST_TERMS or max(map(len, kept)) > MOST_TERMS:
        raise UnwieldySizeError
    return Dim(kept)


def _from_atom(atom: Atom) -> Dim:
    if not isinstance(atom, Symbol) and atom.nesting > DEEPEST:
        raise UnwieldySizeError
    return Dim({(atom,): 1})


def _nesting(size: Size) -> int:
    return max((0 if isinstance(atom, Symbol) else atom.nesting for atom in _atoms(size)), default=0)


# ---------------------------------------------------------------------------------------------------- normal form


def _atoms(size: Size) -> Iterator[Atom]:
    if isinstance(size, Dim):
        for monomial in size.terms:
            yield from monomial


def _divisor(atom: Atom) -> int:
    return atom.divisor if isinstance(atom, Symbol) else 1


def _ratio(a: Rational, b: Rational) -> Rational:
    """`a / b`, whole where it can be."""
    quotient, remainder = divmod(a, b)
    return quotient if not remainder else Fraction(a) / b


def _is_whole(monomial: Monomial, coefficient: Rational) -> bool:
    divisor = 1
    for atom in monomial:
        divisor *= _divisor(atom)
    return (coefficient * divisor).denominator == 1


def _floordiv(a: Size, b: Size) -> Size:
    if isinstance(b, Dim):
        quotient = _polynomial_quotient(a, b)
        if quotient is not None:
            return quotient
        low, high = least(a), greatest(a)
        bottom = least(b)
        if low is not None and high is not None and bottom is not None and low >= 0 and high < bottom:
            return 0
        return _from_atom(Floor(a, b))
    if b == 0:
        raise ZeroDivisionError
    if b < 0:
        return _floordiv(-a, -b)
    terms = polynomial(a)
    parts = {m: _ratio(c, b) for m, c in terms.items() if m}
    whole = {m: c for m, c in parts.items() if _is_whole(m, c)}
    rest = {m: c for m, c in terms.items() if m and m not in whole}
    constant = terms.get((), 0)
    if not rest:
        return from_polynomial(whole) + int(constant // b)
    carried = int(constant // b)
    rest_constant = constant - carried * b
    return from_polynomial(whole) + carried + _floor_atom(rest, rest_constant, b)


def _floor_atom(rest: dict[Monomial, Rational], constant: Rational, denominator: int) -> Size:
    common = gcd(denominator, *(int(c) for c in rest.values())) if all(c.denominator == 1 for c in rest.values()) else 1
    if common > 1:
        rest = {m: _ratio(c, common) for m, c in rest.items()}
        constant, denominator = constant // common, denominator // common
        if denominator == 1:
            return from_polynomial(rest) + int(constant)
    if len(rest) == 1:
        ((monomial, coefficient),) = rest.items()
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Floor):
            inner = monomial[0]
            if isinstance(inner.denominator, int):
                return _floordiv(inner.numerator + int(constant) * inner.denominator, inner.denominator * denominator)
    return _from_atom(Floor(from_polynomial({**rest, (): constant}), denominator))


def _polynomial_quotient(a: Size, b: Dim) -> Size | None:
    """`a / b` when `b` has one term that divides every term of `a`, or `a` is a multiple of `b`."""
    if len(b.terms) == 1:
        ((divisor, scale),) = b.terms.items()
        result: dict[Monomial, Rational] = {}
        for monomial, coefficient in polynomial(a).items():
            left = list(monomial)
            for atom in divisor:
                if atom not in left:
                    return None
                left.remove(atom)
            quotient = _ratio(coefficient, scale)
            if not _is_whole(tuple(left), quotient):
                return None
            result[tuple(left)] = quotient
        return from_polynomial(result)
    leading = max(b.terms, key=lambda m: (len(m), str(m)))
    factor = _ratio(polynomial(a).get(leading, 0), b.terms[leading])
    if factor.denominator == 1 and b * int(factor) == a:
        return int(factor)
    return None


def _rebuild(size: Size, replace: Callable[[Atom], Size]) -> Size:
    if isinstance(size, int):
        return size
    numerators: Size = 0
    common = lcm(*(c.denominator for c in size.terms.values()))
    for monomial, coefficient in size.terms.items():
        term: Size = int(coefficient * common)
        for atom in monomial:
            term = term * replace(atom)
        numerators = numerators + term
    if common == 1:
        return numerators
    return _floordiv(numerators, common)


def _substitute_atom(atom: Atom, values: Mapping[str, Size]) -> Size:
    if isinstance(atom, Symbol):
        return values.get(atom.name, Dim({(atom,): 1}))
    if isinstance(atom, Floor):
        return substitute(atom.numerator, values) // substitute(atom.denominator, values)
    return _extreme(atom.function, substitute(atom.left, values), substitute(atom.right, values))


def _extreme(function: str, a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b) if function == "max" else min(a, b)
    difference = a - b
    low, high = least(difference), greatest(difference)
    if low is not None and low >= 0:
        return a if function == "max" else b
    if high is not None and high <= 0:
        return b if function == "max" else a
    return _from_atom(Extreme(function, a, b))


def _bound(size: Size, *, lower: bool) -> Rational | None:
    if isinstance(size, int):
        return size
    straight = _without_floors(size, lower=lower)
    found = [_bound_of_terms(size, lower=lower), None if straight == size else _bound(straight, lower=lower)]
    known = [bound for bound in found if bound is not None]
    return (max if lower else min)(known, default=None)


def _without_floors(size: Dim, *, lower: bool) -> Size:
    """A bound of `size` in which `n // d`, taken as `n / d` less what rounding takes at most, can cancel out."""
    total: dict[Monomial, Rational] = {}
    for monomial, coefficient in size.terms.items():
        atom = monomial[0] if len(monomial) == 1 else None
        parts: Mapping[Monomial, Rational] = {monomial: 1}
        if isinstance(atom, Floor) and isinstance(atom.denominator, int):
            rounded = atom.denominator - 1 if (coefficient > 0) == lower else 0
            parts = {m: _ratio(c, atom.denominator) for m, c in polynomial(atom.numerator - rounded).items()}
        for part, factor in parts.items():
            total[part] = total.get(part, 0) + coefficient * factor
    return from_polynomial(total)


def _bound_of_terms(size: Dim, *, lower: bool) -> Rational | None:
    total: Rational = 0
    for monomial, coefficient in size.terms.items():
        low, high = 1, 1
        unbounded = False
        for atom in monomial:
            bottom, top = _atom_bounds(atom)
            if bottom is None or bottom < 0:
                return None
            low *= bottom
            if top is None:
                unbounded = True
            else:
                high *= top
        if (coefficient > 0) == lower:
            total += coefficient * low
        elif unbounded:
            return None
        else:
            total += coefficient * high
    return total


def _atom_bounds(atom: Atom) -> tuple[int | None, int | None]:
    if isinstance(atom, Symbol):
        return max(atom.lower, atom.divisor), atom.upper
    if isinstance(atom, Floor) and isinstance(atom.denominator, int):
        low, high = least(atom.numerator), greatest(atom.numerator)
        return (
            None if low is None else low // atom.denominator,
            None if high is None else high // atom.denominator,
        )
    if isinstance(atom, Extreme):
        bounds = [least(atom.left), least(atom.right)]
        known = [bound for bound in bounds if bound is not None]
        if atom.function == "max":
            return (max(known) if known else None), None
        return (min(known) if len(known) == 2 else None), None
    return None, None


# ---------------------------------------------------------------------------------------------------- text


def _operand(size: Size) -> str:
    text = str(size)
    return f"({text})" if " " in text else text


def _term(monomial: Monomial, coefficient: Rational, *, grouped: bool) -> str:
    grouped = grouped or coefficient != 1 or len(monomial) > 1
    factors = [f"({atom})" if isinstance(atom, Floor) and grouped else str(atom) for atom in monomial]
    if coefficient.numerator != 1 or not factors:
        factors.insert(0, str(coefficient.numerator))
    text = "*".join(factors)
    return text if coefficient.denominator == 1 else f"{text}/{coefficient.denominator}"
