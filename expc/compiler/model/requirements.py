"""What must hold of sizes: decided at once where they are known, collected as conditions where they are not."""

import re
from collections.abc import Sequence
from math import lcm
from typing import Final

from expc.compiler.dimensions import (
    Dim,
    Size,
    Symbol,
    as_symbol,
    divides,
    greatest,
    least,
    minimum,
    substitute,
)
from expc.compiler.errors.shapes import (
    ConditionNeeded,
    NotDivisible,
    OutOfBounds,
    SizeMismatch,
)
from expc.compiler.model.solving import both, holds_when_large, prime_conditions, sides, smallest_that_holds
from expc.compiler.ops.declare import Fault, Requirement
from expc.diagnostics import Edit, Fix, Label, Span
from expc.frozen import dataclass, field
from expc.spec import syntax

MOST_EXAMPLES: Final = 100
"""So many sizes are tried for one that shows why a condition is needed."""


@dataclass(eq=False)
class Conditions:
    """What a model's unknown sizes must satisfy beyond what its `where` says.

    `divisors` and `ceilings` must be written in `where`; `floors` are lower bounds, derived and used, not asked for.
    """

    divisors: dict[Size, int] = field(default_factory=dict)
    ceilings: dict[Size, Size] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    places: dict[Size, tuple[Span, str]] = field(default_factory=dict)
    meets: dict[Size, tuple[Size, Size]] = field(default_factory=dict)
    """The two sizes that are equal only where a size is divided, for a counter-example."""
    stated: list[tuple[str, Size, Size]] = field(default_factory=list)
    reached: set[Size] = field(default_factory=set)
    """What must be 0 or more, and was looked at: nearly every layer asks the same of a size that stays as it is."""
    lenient: bool = False
    """A block is looked at on its own: what depends on sizes that its users choose is left to them."""

    def require(self, requirement: Requirement, operator: str, span: Span) -> None:
        """Check one requirement. Raises `Fault` when it cannot hold; remembers it when it depends on unknown sizes."""
        relation, a, b, what = requirement
        if self.lenient and (isinstance(a, Dim) or isinstance(b, Dim)):
            return
        match relation:
            case "equal":
                self._equal(a, b, what, operator, span)
            case "at least" | "at most":
                fault = Fault(OutOfBounds, operator=operator, what=what, bound=f"{relation} {b}", size=str(a))
                self._not_negative(a - b if relation == "at least" else b - a, fault, span)
            case "divisible":
                self._divisible(a, b, what, operator, span)

    def _equal(self, a: Size, b: Size, what: str, operator: str, span: Span) -> None:
        if a == b or ("equal", a, b) in self.stated or ("equal", b, a) in self.stated:
            return
        needed = prime_conditions(a, b) if isinstance(a, Dim) or isinstance(b, Dim) else None
        if needed is None:
            raise Fault(SizeMismatch, operator=operator, what=what, expected=str(a), found=str(b))
        for size, divisor in needed.items():
            self._remember(size, divisor, span, f"{a} here must equal {b}", (a, b))

    def _not_negative(self, rest: Size, fault: Fault, span: Span) -> None:
        """`rest` must be 0 or more: what one size has over another that it must reach."""
        if rest in self.reached:
            return
        self._reach(rest, fault, span)
        self.reached.add(rest)

    def _reach(self, rest: Size, fault: Fault, span: Span) -> None:
        low, high = least(rest), greatest(rest)
        if (low is not None and low >= 0) or any(_follows(rest, stated) for stated in self.stated):
            return
        if isinstance(rest, int) or (high is not None and high < 0):
            raise fault
        found = smallest_that_holds(rest, 0)
        if found is None:
            for part in both(rest) or ():
                self._not_negative(part, fault, span)
            if not holds_when_large(rest, 0):
                above, below = sides(rest)
                self._remember_bound(below, above, span)
            return
        symbol, floor = found
        if symbol.upper is not None and symbol.upper < floor:
            size = f"{fault.facts['size']} with {symbol.name} of at most {symbol.upper}"
            raise Fault(OutOfBounds, **{**fault.facts, "size": size})
        self.floors[symbol.name] = max(self.floors.get(symbol.name, 1), floor)

    def _remember_bound(self, size: Size, bound: Size, span: Span) -> None:
        old = self.ceilings.get(size, bound)
        self.ceilings[size] = minimum(old, bound)
        self.places.setdefault(size, (span, f"{size} here must be at most {bound}"))

    def _divisible(self, size: Size, divisor: Size, what: str, operator: str, span: Span) -> None:
        if divisor != 0 and divides(divisor, size):
            return
        if isinstance(size, int) or not isinstance(divisor, int) or not divisor:
            raise Fault(NotDivisible, operator=operator, what=what, size=str(size), divisor=str(divisor))
        self._remember(size, divisor, span, f"{divisor} must divide {size} here")

    def _remember(self, size: Size, divisor: int, span: Span, why: str, pair: tuple[Size, Size] | None = None) -> None:
        if isinstance(size, int):
            if size % divisor:
                raise Fault(NotDivisible, operator=why, what="the size", size=str(size), divisor=str(divisor))
            return
        size, divisor = _whole(size, divisor)
        if ("divisible", size, divisor) in self.stated:
            return
        self.divisors[size] = lcm(self.divisors.get(size, 1), divisor)
        self.places.setdefault(size, (span, why))
        if pair is not None:
            self.meets.setdefault(size, pair)

    def problem(
        self, name_span: Span, insert_at: int, written: Sequence[syntax.Expr] = (), batch: str = ""
    ) -> ConditionNeeded | None:
        """What the model's `where` must say, with the fix that writes it; none when nothing is missing.

        `written` are the conditions that are there: one that says too little is replaced. What is asked of the batch
        is surely a mistake in the model.
        """
        needed: dict[str, tuple[Size, tuple[str, ...]]] = {
            f"{_factor(size)} % {divisor} == 0": (size, ("%",)) for size, divisor in self.divisors.items()
        }
        needed |= {f"{size} <= {bound}": (size, ("<", "<=")) for size, bound in self.ceilings.items()}
        if not needed:
            return None
        weaker = {part: _about(*what, written) for part, what in needed.items()}
        edits = [Edit(node.span, part) for part, node in weaker.items() if node is not None]
        added = ", ".join(part for part, node in weaker.items() if node is None)
        if added:
            edits.append(Edit(Span(name_span.source, insert_at, insert_at), f"{',' if written else ' where'} {added}"))
        labels = tuple(Label(span, why) for span, why in self.places.values())
        notes = tuple(self._counter_examples())
        sure = not batch or not any(re.search(rf"\b{batch}\b", str(size)) for size in (*self.divisors, *self.ceilings))
        if not sure:
            notes = (f"{batch} is the size of the batch: what is right for some batches only mixes samples",)
        fix = Fix(f"say so: `where {', '.join(needed)}`", tuple(edits), "safe")
        return ConditionNeeded(
            span=next((node.span for node in weaker.values() if node is not None), name_span),
            condition=" and ".join(needed),
            of_batch=not sure,
            labels=labels[:3],
            notes=notes,
            fixes=(fix,) if sure else (),
        )

    def _counter_example(self, symbol: Symbol, examples: Sequence[int]) -> str:
        """A size with which the model fails, and the two sizes that then meet where they must be equal."""
        for example in examples[:MOST_EXAMPLES]:
            for size, pair in self.meets.items():
                a, b = (_at(side, {symbol.name: example}) for side in pair)
                if as_symbol(size) == symbol and a != b and isinstance(a, int) and isinstance(b, int):
                    return f"for {symbol.name} = {example} it would be {a} against {b}"
        return f"with {symbol.name} = {examples[0]}, for example, it fails"

    def _counter_examples(self) -> list[str]:
        notes = []
        for size, divisor in self.divisors.items():
            symbol = as_symbol(size)
            if symbol is not None:
                step = symbol.divisor
                first = step * (max(self.floors.get(symbol.name, 1), divisor) // step + 1)
                examples = range(first, first + step * divisor, step)
                notes.append(self._counter_example(symbol, [size for size in examples if size % divisor]))
        for size, bound in self.ceilings.items():
            if as_symbol(size) is not None and isinstance(bound, int):
                notes.append(f"with {size} = {bound + 1}, for example, it fails")
        return notes


def _at(size: Size, values: dict[str, Size]) -> Size:
    """A size where some symbols are known."""
    try:
        return substitute(size, values)
    except ZeroDivisionError:
        return size


def _follows(rest: Size, stated: tuple[str, Size, Size]) -> bool:
    """Whether `rest >= 0` follows from a condition that is stated."""
    relation, a, b = stated
    sides = {"at least": (a - b,), "at most": (b - a,), "equal": (a - b, b - a)}.get(relation, ())
    return any((low := least(rest - side)) is not None and low >= 0 for side in sides)


def _whole(size: Dim, divisor: int) -> tuple[Dim, int]:
    """`H/8 % 2 == 0` as `H % 16 == 0`."""
    scale = lcm(*(coefficient.denominator for coefficient in size.terms.values()))
    whole = size * scale
    return (whole if isinstance(whole, Dim) else size), divisor * scale


def _about(size: Size, operators: Sequence[str], written: Sequence[syntax.Expr]) -> syntax.Expr | None:
    """The condition that says something of this kind about `size` already."""
    for node in written:
        left: syntax.Expr = node
        while isinstance(left, syntax.Binary) and left.operator in ("==", "%", "<", "<="):
            if left.operator in operators and left.left.span.text == str(size):
                return node
            left = left.left
    return None


def _factor(size: Size) -> str:
    text = str(size)
    return f"({text})" if " " in text else text
