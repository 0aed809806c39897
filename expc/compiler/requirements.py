"""What must hold of sizes: decided at once where they are known, collected as conditions where they are not."""

from math import lcm

from expc.compiler.dimensions import (
    Dim,
    Size,
    as_symbol,
    divides,
    greatest,
    least,
    prime_conditions,
    smallest_that_holds,
)
from expc.compiler.errors.shapes import (
    ConditionNeeded,
    NotDivisible,
    OutOfBounds,
    SizeMismatch,
)
from expc.compiler.ops.declare import Fault, Requirement
from expc.diagnostics import Edit, Fix, Label, Span
from expc.frozen import dataclass, field


@dataclass(eq=False)
class Conditions:
    """What a model's unknown sizes must satisfy beyond what its `where` says.

    `divisors` and `ceilings` must be written in `where`; `floors` are lower bounds, derived and used, not asked for.
    """

    divisors: dict[Size, int] = field(default_factory=dict)
    ceilings: dict[Size, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    places: dict[Size, tuple[Span, str]] = field(default_factory=dict)
    stated: list[tuple[str, Size, Size]] = field(default_factory=list)
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
            case "at least":
                self._at_least(a, b, what, operator)
            case "at most":
                self._at_most(a, b, what, operator, span)
            case "divisible":
                self._divisible(a, b, what, operator, span)

    def _equal(self, a: Size, b: Size, what: str, operator: str, span: Span) -> None:
        if a == b or ("equal", a, b) in self.stated or ("equal", b, a) in self.stated:
            return
        needed = prime_conditions(a, b) if isinstance(a, Dim) or isinstance(b, Dim) else None
        if needed is None:
            raise Fault(SizeMismatch, operator=operator, what=what, expected=str(a), found=str(b))
        for size, divisor in needed.items():
            self._remember(size, divisor, span, f"{a} here must equal {b}")

    def _at_least(self, size: Size, bound: Size, what: str, operator: str) -> None:
        low, high = least(size - bound), greatest(size - bound)
        if low is not None and low >= 0:
            return
        if isinstance(size - bound, int) or (high is not None and high < 0):
            raise Fault(OutOfBounds, operator=operator, what=what, bound=f"at least {bound}", size=str(size))
        found = smallest_that_holds(size - bound, 0)
        if found is not None:
            symbol, floor = found
            if symbol.upper is not None and symbol.upper < floor:
                shown = f"{size} with {symbol.name} of at most {symbol.upper}"
                raise Fault(OutOfBounds, operator=operator, what=what, bound=f"at least {bound}", size=shown)
            self.floors[symbol.name] = max(self.floors.get(symbol.name, 1), floor)

    def _at_most(self, size: Size, bound: Size, what: str, operator: str, span: Span) -> None:
        low, high = least(size - bound), greatest(size - bound)
        if (high is not None and high <= 0) or ("at most", size, bound) in self.stated:
            return
        if isinstance(size - bound, int) or (low is not None and low > 0):
            raise Fault(OutOfBounds, operator=operator, what=what, bound=f"at most {bound}", size=str(size))
        if isinstance(bound, int) and isinstance(size, Dim):
            self.ceilings[size] = min(self.ceilings.get(size, bound), bound)
            self.places.setdefault(size, (span, f"{size} here must be at most {bound}"))
            return
        raise Fault(OutOfBounds, operator=operator, what=what, bound=f"at most {bound}", size=str(size))

    def _divisible(self, size: Size, divisor: Size, what: str, operator: str, span: Span) -> None:
        if divisor != 0 and divides(divisor, size):
            return
        if isinstance(size, int) or not isinstance(divisor, int) or not divisor:
            raise Fault(NotDivisible, operator=operator, what=what, size=str(size), divisor=str(divisor))
        self._remember(size, divisor, span, f"{divisor} must divide {size} here")

    def _remember(self, size: Size, divisor: int, span: Span, why: str) -> None:
        if isinstance(size, int):
            if size % divisor:
                raise Fault(NotDivisible, operator=why, what="the size", size=str(size), divisor=str(divisor))
            return
        if ("divisible", size, divisor) in self.stated:
            return
        self.divisors[size] = lcm(self.divisors.get(size, 1), divisor)
        self.places.setdefault(size, (span, why))

    def problem(self, name_span: Span, insert_at: int, has_where: bool) -> ConditionNeeded | None:
        """What must be added to the model's `where`, with the fix that adds it; none when nothing is missing."""
        parts = [f"{_factor(size)} % {divisor} == 0" for size, divisor in self.divisors.items()]
        parts += [f"{size} <= {bound}" for size, bound in self.ceilings.items()]
        if not parts:
            return None
        text = ", ".join(parts)
        place = Span(name_span.source, insert_at, insert_at)
        edit = Edit(place, f", {text}" if has_where else f" where {text}")
        labels = tuple(Label(span, why) for span, why in self.places.values())
        notes = tuple(self._counter_examples())
        return ConditionNeeded(
            span=name_span,
            condition=" and ".join(parts),
            labels=labels[:3],
            notes=notes,
            fixes=(Fix(f"say so: `where {text}`", (edit,), "safe"),),
        )

    def _counter_examples(self) -> list[str]:
        notes = []
        for size, divisor in self.divisors.items():
            symbol = as_symbol(size)
            if symbol is not None:
                low = max(self.floors.get(symbol.name, 1), divisor)
                notes.append(f"with {symbol.name} = {low + 1}, for example, it fails")
        for size, bound in self.ceilings.items():
            if as_symbol(size) is not None:
                notes.append(f"with {size} = {bound + 1}, for example, it fails")
        return notes


def _factor(size: Size) -> str:
    text = str(size)
    return f"({text})" if " " in text else text
