"""Arithmetic on unknown sizes is Python's own on whole numbers, whatever the unknown ones turn out to be."""

from fractions import Fraction
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from expc.compiler.dimensions import (
    Dim,
    Size,
    divides,
    exact_quotient,
    greatest,
    least,
    maximum,
    minimum,
    substitute,
    symbol,
    symbols,
)
from expc.compiler.lower.values import getter, operand, placed
from expc.compiler.model.solving import prime_conditions, sides, smallest_that_holds

Tree = Any
"""A whole number, a symbol's name, or (operator, tree, tree)."""

NAMES = ("H", "W", "T")

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}
NUMBERS = {**OPERATIONS, "max": max, "min": min}
SIZES = {**OPERATIONS, "max": maximum, "min": minimum}


@st.composite
def unknowns(draw: st.DrawFn) -> tuple[dict[str, Dim], list[dict[str, int]]]:
    """What is known of each symbol, and numbers that they may be."""
    known, choices = {}, {}
    for name in NAMES:
        divisor = draw(st.sampled_from((1, 1, 2, 4, 6)))
        lower = draw(st.sampled_from((1, 1, 5)))
        upper = draw(st.sampled_from((None, None, 24)))
        known[name] = symbol(name, divisor, lower, upper)
        choices[name] = [n for n in range(lower, (upper or 40) + 1) if n % divisor == 0]
    values = [{name: draw(st.sampled_from(choices[name])) for name in NAMES} for _ in range(4)]
    return known, values


LEAVES = st.one_of(st.integers(-9, 9), st.sampled_from(NAMES))


def _larger(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    divisor = st.one_of(st.integers(1, 9), st.integers(-4, -1), st.sampled_from(NAMES))
    return st.one_of(
        st.tuples(st.sampled_from(("+", "-", "*", "max", "min")), inner, inner),
        st.tuples(st.sampled_from(("//", "%")), inner, divisor),
        st.tuples(st.sampled_from(("+", "*")), inner, st.sampled_from(NAMES)),
    )


TREES = st.recursive(LEAVES, _larger, max_leaves=7)


def value(tree: Tree, leaves: dict[str, Any], operations: dict[str, Any]) -> Any:
    if isinstance(tree, tuple):
        operator, left, right = tree
        return operations[operator](value(left, leaves, operations), value(right, leaves, operations))
    return leaves[tree] if isinstance(tree, str) else tree


@settings(max_examples=400)
@given(TREES, unknowns())
def test_a_size_is_what_its_arithmetic_gives(tree: Tree, facts: tuple[dict[str, Dim], list[dict[str, int]]]) -> None:
    known, choices = facts
    size = value(tree, known, SIZES)
    low, high = least(size), greatest(size)
    for numbers in choices:
        expected = value(tree, numbers, NUMBERS)
        assert substitute(size, numbers) == expected
        assert low is None or low <= expected
        assert high is None or high >= expected
        for divisor in range(1, 9):
            assert not divides(divisor, size) or expected % divisor == 0
        shown = {"max": max, "min": min, **{name: Fraction(number) for name, number in numbers.items()}}
        assert eval(str(size), shown) == expected
        slots = {name: position for position, name in enumerate(NAMES)}
        assert getter(operand(placed(size, slots)))(None, list(numbers.values())) == expected


@given(TREES, TREES, unknowns())
def test_equal_sizes_are_equal_everywhere(a: Tree, b: Tree, facts: tuple[dict[str, Dim], list[dict[str, int]]]) -> None:
    known, choices = facts
    left, right = value(a, known, SIZES), value(b, known, SIZES)
    if left == right:
        assert hash(left) == hash(right)
        assert all(value(a, numbers, NUMBERS) == value(b, numbers, NUMBERS) for numbers in choices)
    if isinstance(right, int) or value(b, choices[0], NUMBERS) == 0:
        return
    if divides(right, left):
        assert exact_quotient(left, right) * right == left
        for numbers in choices:
            below = value(b, numbers, NUMBERS)
            assert below == 0 or value(a, numbers, NUMBERS) % below == 0


@given(
    st.lists(st.tuples(st.sampled_from(("+", "*", "//", "max")), st.integers(1, 5)), max_size=6), st.integers(-5, 60)
)
def test_the_smallest_value_that_holds_is_the_smallest(steps: list[tuple[str, int]], bound: int) -> None:
    size: Size = symbol("H")
    for operator, number in steps:
        size = SIZES[operator](size, number)
    found = smallest_that_holds(size, bound) if isinstance(size, Dim) else None
    if found is not None:
        unknown, first = found
        assert substitute(size, {unknown.name: first}) >= bound
        assert first == 1 or substitute(size, {unknown.name: first - 1}) < bound


# ------------------------------------------------------------------------------------------------------- conditions


def _rounded(inner: st.SearchStrategy[tuple[Tree, Tree]]) -> st.SearchStrategy[tuple[Tree, Tree]]:
    """Pairs of an expression and the same with some parts divided and multiplied again."""

    def combined(operator: str, a: tuple[Tree, Tree], b: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        return (operator, a[0], b[0]), (operator, a[1], b[1])

    def divided(pair: tuple[Tree, Tree], k: int) -> tuple[Tree, Tree]:
        return pair[0], ("*", ("//", pair[1], k), k)

    return st.one_of(
        st.builds(combined, st.sampled_from("+-*"), inner, inner),
        st.builds(divided, inner, st.integers(2, 4)),
    )


PAIRS = st.recursive(st.sampled_from([(name, name) for name in NAMES]), _rounded, max_leaves=5)


def _holds(conditions: dict[Size, int], numbers: dict[str, int]) -> bool:
    return all(substitute(size, numbers) % divisor == 0 for size, divisor in conditions.items())


@settings(max_examples=300)
@given(PAIRS, unknowns(), st.lists(st.fixed_dictionaries({n: st.integers(1, 120) for n in NAMES}), max_size=30))
def test_conditions_suffice(pair: tuple[Tree, Tree], facts: Any, further: list[dict[str, int]]) -> None:
    known, choices = facts
    a, b = (value(tree, known, SIZES) for tree in pair)
    assume(a != b)
    conditions = prime_conditions(a, b)
    assert conditions is not None, "taken as exact, the two are the same"
    allowed = [n for n in further if all(n[name] == substitute(known[name], n) for name in NAMES) and _fits(known, n)]
    for numbers in [*choices, *allowed]:
        if _holds(conditions, numbers):
            assert value(pair[0], numbers, NUMBERS) == value(pair[1], numbers, NUMBERS)


def _fits(known: dict[str, Dim], numbers: dict[str, int]) -> bool:
    for size in known.values():
        (unknown,) = symbols(size)
        number = numbers[unknown.name]
        if number % unknown.divisor or number < unknown.lower or (unknown.upper is not None and number > unknown.upper):
            return False
    return True


@given(TREES, TREES, unknowns())
def test_conditions_of_any_two_sizes_suffice(a: Tree, b: Tree, facts: Any) -> None:
    known, choices = facts
    left, right = value(a, known, SIZES), value(b, known, SIZES)
    conditions = prime_conditions(left, right) if left != right else None
    if conditions is not None:
        for numbers in choices:
            if _holds(conditions, numbers):
                assert value(a, numbers, NUMBERS) == value(b, numbers, NUMBERS)


def test_two_unknown_sizes_are_not_silently_equal() -> None:
    n, m = symbol("N"), symbol("M")
    assert n != m
    assert prime_conditions(n, m) is None
    assert prime_conditions(n // 2, m // 2) is None
    assert n // 2 * 2 != n
    assert prime_conditions(n // 4 * 4, n) == {n: 4}
    even = symbol("N", 2)
    assert even // 2 * 2 == even
    assert str(even // 2) == "N/2"


@given(TREES, unknowns())
def test_the_sides_of_a_bound_are_its_difference(tree: Tree, facts: Any) -> None:
    known, choices = facts
    above, below = sides(value(tree, known, SIZES))
    for numbers in choices:
        assert (value(tree, numbers, NUMBERS) >= 0) == (substitute(above, numbers) >= substitute(below, numbers))


def test_bounds_see_what_cancels_out() -> None:
    h = symbol("H")
    assert least(h - h // 2 * 2) == 0
    assert greatest(h - h // 2 * 2) == 1
    assert least(h - h // 2) >= 0
    assert least(h + h % 4) >= 1
