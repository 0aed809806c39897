"""`rearrange` and `einsum`: axes by name, checked.

`rearrange("n t (three h d) -> three n h t d", three=3, h=heads)` is written as in einops: names for axes, parentheses
for axes that lie in one dimension, `...` for any others, `1` or `()` for a dimension of size 1. `plan` turns a pattern
into torch's own steps, which need no size beyond those that the call gives:

    squeeze -> unflatten -> permute -> flatten -> unsqueeze
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import RankMismatch
from expc.compiler.ops.arguments import function, need_dtype, need_same_dtype, whole_quotient
from expc.compiler.ops.declare import Call, Kind, Param
from expc.compiler.ops.kinds import POSITIVE, STR
from expc.compiler.ops.rules import INPUT, product, refuse
from expc.compiler.types import DTYPES, TensorType

ELLIPSIS: Final = "..."
ALONE: Final = ("*",)
"""A `...` outside of parentheses: a dimension for each of its axes, and not one for all."""

Group = tuple[str, ...]
"""The axes of one dimension: one name, several in parentheses, none for a dimension of size 1."""


class PatternError(ValueError):
    """The text of a pattern is malformed; the message says how."""


class Plan(NamedTuple):
    """How torch rearranges one tensor. A plain tuple: `torch.compile` follows how it is made while a network runs."""

    squeezed: tuple[int, ...]
    """Dimensions of size 1 that go, the last first."""
    splits: tuple[tuple[int, tuple[Size, ...]], ...]
    """Dimensions that fall into several, the last first, with their sizes; -1 is what follows from the others."""
    permutation: tuple[int, ...]
    joins: tuple[tuple[int, int], ...]
    """First and last of neighbouring dimensions that become one, the last such stretch first."""
    unsqueezed: tuple[int, ...]
    """Where dimensions of size 1 come in, the first first."""


def parse(pattern: str) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """The dimensions on both sides of a pattern. Raises PatternError."""
    sides = pattern.split("->")
    if len(sides) != 2:
        raise PatternError(f'"{pattern}" must have one `->` between what arrives and what is wanted')
    left, right = (_groups(side) for side in sides)
    for side in (left, right):
        names = [ELLIPSIS if group == ALONE else name for group in side for name in group]
        for name in names:
            if names.count(name) > 1:
                raise PatternError(f'"{pattern}" has the axis {name} twice on one side')
    if any(ELLIPSIS in group for group in left):
        raise PatternError(f'"{pattern}" has `...` in parentheses on the left, where it would have no size')
    missing = _names(left) - _names(right)
    surplus = _names(right) - _names(left)
    if missing or surplus:
        name = min(missing or surplus)
        here, there = ("left", "right") if missing else ("right", "left")
        raise PatternError(f'"{pattern}" has the axis {name} on the {here} and not on the {there}')
    return left, right


def plan(pattern: str, rank: int, given: Mapping[str, Size]) -> Plan:
    """The steps for a tensor of `rank` dimensions, when the sizes of some axes are `given`.

    Raises PatternError: for a malformed pattern, another rank, an axis that is not in it, or a size that is missing.
    """
    left, right = parse(pattern)
    unknown = sorted(given.keys() - _names(left))
    if unknown:
        raise PatternError(f'"{pattern}" has no axis {unknown[0]}')
    left = _expanded(pattern, left, rank)
    others = tuple(name for group in left for name in group if name.startswith(ELLIPSIS))
    right = tuple(_spread(group, others) for group in _loosened(right, others))
    axes = [name for group in left for name in group]
    wanted = [name for group in right for name in group]
    squeezed = tuple(at for at in reversed(range(rank)) if not left[at])
    kept = [group for group in left if group]
    splits = tuple((at, _factors(pattern, kept[at], given)) for at in reversed(range(len(kept))) if len(kept[at]) > 1)
    return Plan(
        squeezed,
        splits,
        tuple(axes.index(name) for name in wanted),
        _joins(right),
        tuple(at for at, group in enumerate(right) if not group),
    )


def rearrange(x: Any, steps: Plan) -> Any:
    """The rearranged tensor `x`."""
    for at in steps.squeezed:
        x = x.squeeze(at)
    for at, sizes in steps.splits:
        x = x.unflatten(at, sizes)
    if steps.permutation != tuple(range(len(steps.permutation))):
        x = x.permute(steps.permutation)
    for first, last in steps.joins:
        x = x.flatten(first, last)
    for at in steps.unsqueezed:
        x = x.unsqueeze(at)
    return x


# ---------------------------------------------------------------------------------------------------- patterns


def _groups(side: str) -> tuple[Group, ...]:
    found: list[Group] = []
    inside: list[str] | None = None
    for word in side.replace("(", " ( ").replace(")", " ) ").replace(ELLIPSIS, f" {ELLIPSIS} ").split():
        if word == "(":
            if inside is not None:
                raise PatternError(f'"{side.strip()}" has parentheses in parentheses')
            inside = []
        elif word == ")":
            if inside is None:
                raise PatternError(f'"{side.strip()}" closes a parenthesis that is not open')
            found.append(tuple(inside))
            inside = None
        elif inside is not None:
            inside.extend(() if word == "1" else (_axis(word),))
        else:
            found.append(ALONE if word == ELLIPSIS else () if word == "1" else (_axis(word),))
    if inside is not None:
        raise PatternError(f'"{side.strip()}" opens a parenthesis and does not close it')
    return tuple(found)


def _axis(word: str) -> str:
    if word.isdigit():
        raise PatternError(f"the size {word} cannot stand in a pattern: name the axis, and give its size as a setting")
    if word == ELLIPSIS or (word.isidentifier() and not word.startswith("_") and not word.endswith("_")):
        return word
    raise PatternError(f"`{word}` cannot name an axis")


def _names(side: Sequence[Group]) -> set[str]:
    return {ELLIPSIS if group == ALONE else name for group in side for name in group}


def _expanded(pattern: str, left: tuple[Group, ...], rank: int) -> tuple[Group, ...]:
    """The left side with `...` replaced by as many axes as a tensor of `rank` dimensions has left for it."""
    if ALONE not in left:
        if len(left) != rank:
            raise PatternError(f'"{pattern}" is for {len(left)} dimensions, but the tensor has {rank}')
        return left
    count = rank - (len(left) - 1)
    if count < 0:
        raise PatternError(f'"{pattern}" is for at least {len(left) - 1} dimensions, but the tensor has {rank}')
    at = left.index(ALONE)
    return (*left[:at], *((f"{ELLIPSIS}{number}",) for number in range(count)), *left[at + 1 :])


def _loosened(right: tuple[Group, ...], others: Group) -> tuple[Group, ...]:
    """The right side with a `...` of its own replaced by a dimension for each of the `others`."""
    if ALONE not in right:
        return right
    at = right.index(ALONE)
    return (*right[:at], *((name,) for name in others), *right[at + 1 :])


def _spread(group: Group, others: Group) -> Group:
    """A group with the `...` in it replaced by the `others`: `(b ...)`."""
    if ELLIPSIS not in group:
        return group
    at = group.index(ELLIPSIS)
    return (*group[:at], *others, *group[at + 1 :])


def _factors(pattern: str, group: Group, given: Mapping[str, Size]) -> tuple[Size, ...]:
    free = [name for name in group if name not in given]
    if len(free) > 1:
        raise PatternError(f'"{pattern}" needs the size of {" or of ".join(free)}, as in {free[0]}=2')
    return tuple(given.get(name, -1) for name in group)


def _joins(right: tuple[Group, ...]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for number, group in enumerate(right):
        if len(group) > 1:
            first = sum(len(other) for other in right[:number])
            found.append((first, first + len(group) - 1))
    return tuple(reversed(found))


# ---------------------------------------------------------------------------------------------------- rules


# A pattern stands in a block that is used many times. `torch.compile` follows `plan` itself, and would warn of a cache.
_known_pattern = lru_cache(parse)


@lru_cache
def _known_plan(pattern: str, rank: int, given: frozenset[tuple[str, Size]]) -> Plan:
    return plan(pattern, rank, dict(given))


def _rearrange(call: Call) -> TensorType:
    x, pattern, given = call.tensor(), call["pattern"], call["axes"]
    try:
        _known_plan(pattern, x.rank, frozenset(given.items()))
        left, right = _known_pattern(pattern)
        left = _expanded(pattern, left, x.rank)
    except PatternError as error:
        refuse(call, f"{error}; the tensor is {x}")
    sizes: dict[str, Size] = {}
    for at, group in enumerate(left):
        _solve(call, group, x.dims[at], at, sizes)
    others = tuple(name for group in left for name in group if name.startswith(ELLIPSIS))
    result = (_spread(group, others) for group in _loosened(right, others))
    return x.with_dims(*(product([sizes[name] for name in group]) for group in result))


def _solve(call: Call, group: Group, size: Size, at: int, sizes: dict[str, Size]) -> None:
    """Finds the sizes of the axes of one dimension; at most one of them is not given."""
    given: Mapping[str, Size] = call["axes"]
    known = product([given[name] for name in group if name in given])
    free = [name for name in group if name not in given]
    for name in group:
        if name in given:
            sizes[name] = given[name]
    text = f"({' '.join(group)})" if len(group) > 1 else "".join(group) or "1"
    if not free:
        call.require_equal(known, size, f"dimension {at}, {text},")
        return
    sizes[free[0]] = whole_quotient(call, size, known, f"dimension {at}, {text},") if len(group) > 1 else size
    if len(group) > 1:
        call.explain(f"{free[0]}: {size} / {known} = {sizes[free[0]]}")


def _build_rearrange(_: Any, values: dict[str, Any]) -> Any:
    x = values["input"]
    return rearrange(x, plan(values["pattern"], x.dim(), values["axes"]))


# ---------------------------------------------------------------------------------------------------- einsum


class Equation(NamedTuple):
    """An einsum equation: the axes of each operand, and of the result."""

    operands: tuple[Group, ...]
    result: Group

    def letters(self) -> str:
        """The equation as torch writes it: one letter for each axis."""
        names = dict.fromkeys(name for operand in self.operands for name in operand if name != ELLIPSIS)
        letter = {name: chr(ord("a") + number) for number, name in enumerate(names)} | {ELLIPSIS: ELLIPSIS}
        inputs = ",".join("".join(letter[name] for name in operand) for operand in self.operands)
        return f"{inputs}->{''.join(letter[name] for name in self.result)}"


def equation(text: str) -> Equation:
    """Reads `bhid,bhjd->bhij`, one letter for each axis, or `batch i d, batch j d -> batch i j`. Raises PatternError.

    Names longer than a letter count where an operand has spaces between its axes, as in einops.
    """
    sides = text.split("->")
    if len(sides) > 2:
        raise PatternError(f'"{text}" has more than one `->`')
    terms = [term.strip() for term in sides[0].split(",")]
    worded = any(len(term.replace(ELLIPSIS, " ").split()) > 1 for term in terms)
    operands = tuple(_term(term, worded=worded) for term in terms)
    counted = [name for operand in operands for name in operand]
    if len(sides) == 1:
        once = sorted(name for name in set(counted) if counted.count(name) == 1 and name != ELLIPSIS)
        dots = (ELLIPSIS,) if ELLIPSIS in counted else ()
        return Equation(operands, (*dots, *once))
    result = _term(sides[1].strip(), worded=worded)
    for name in result:
        if result.count(name) > 1:
            raise PatternError(f'"{text}" has {name} twice in its result')
        if name not in counted and name != ELLIPSIS:
            raise PatternError(f'"{text}" has {name} in its result and in no operand')
    if len(set(counted)) > 26:
        raise PatternError(f'"{text}" has more than 26 axes')
    return Equation(operands, result)


def _term(term: str, *, worded: bool) -> Group:
    apart = term.replace(ELLIPSIS, f" {ELLIPSIS} ")
    names = apart.split() if worded else [name for word in apart.split() for name in _letters(word)]
    for name in names:
        if name != ELLIPSIS and not name.isidentifier():
            raise PatternError(f"`{name}` cannot name an axis")
    if names.count(ELLIPSIS) > 1:
        raise PatternError(f'"{term}" has `...` twice')
    return tuple(names)


def _letters(word: str) -> list[str]:
    return [word] if word == ELLIPSIS else list(word)


def _einsum(call: Call) -> TensorType:
    operands = call["operands"]
    try:
        parsed = equation(call["equation"])
    except PatternError as error:
        refuse(call, str(error))
    if len(parsed.operands) != len(operands):
        refuse(call, f'"{call["equation"]}" is for {len(parsed.operands)} tensors, but gets {len(operands)}')
    for type_ in operands:
        need_dtype(call, type_, DTYPES - {"bool"}, "numbers, not booleans")
    need_same_dtype(call, *operands)
    sizes, dots = _measured(call, parsed, operands)
    return TensorType(
        operands[0].dtype,
        tuple(size for name in parsed.result for size in (dots if name == ELLIPSIS else (sizes[name],))),
    )


def _measured(call: Call, parsed: Equation, operands: Sequence[TensorType]) -> tuple[dict[str, Size], tuple[Size, ...]]:
    """The size of each axis, and the sizes of what `...` stands for."""
    sizes: dict[str, Size] = {}
    dots: tuple[Size, ...] = ()
    for names, type_ in zip(parsed.operands, operands, strict=True):
        extra = type_.rank - (len(names) - 1) if ELLIPSIS in names else 0
        if extra < 0 or (ELLIPSIS not in names and type_.rank != len(names)):
            wanted = f"a tensor of {len(names)} dimensions [{', '.join(names)}]"
            call.fail(RankMismatch, operator=str(call.operator), expected=wanted, found=str(type_))
        at = names.index(ELLIPSIS) if ELLIPSIS in names else len(names)
        dots = _aligned(call, dots, type_.dims[at : at + extra])
        plain = zip((*names[:at], *names[at + 1 :]), (*type_.dims[:at], *type_.dims[at + extra :]), strict=True)
        for name, size in plain:
            sizes[name] = _agreed(call, sizes.get(name, size), size, f"axis {name}")
    return sizes, dots


def _agreed(call: Call, a: Size, b: Size, what: str) -> Size:
    """Torch lets a size of 1 stand for any, also under a name."""
    if a == b or (isinstance(b, int) and b == 1):
        return a
    if not (isinstance(a, int) and a == 1):
        call.require_equal(a, b, what)
    return b


def _aligned(call: Call, a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
    rank = max(len(a), len(b))
    padded = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(_agreed(call, left, right, "a dimension of `...`") for left, right in padded)


def _einsum_macs(call: Call, _: Any) -> Size:
    parsed = equation(call["equation"])
    sizes, dots = _measured(call, parsed, call["operands"])
    return product([*sizes.values(), *dots]) if len(call["operands"]) > 1 else 0


def _build_einsum(torch: Any, values: dict[str, Any]) -> Any:
    return torch.einsum(equation(values["equation"]).letters(), *values["operands"])


_AXES: Final = Kind("sizes of axes by name", lambda value: all(map(POSITIVE.accepts, value.values())))

OPERATORS: Final = (
    function(
        "rearrange",
        "The dimensions split, moved and joined, by names as in einops.",
        (INPUT, Param("pattern", STR), Param("axes", _AXES, {}, rest=True)),
        _rearrange,
        'x -> rearrange("n t (h d) -> n h t d", h=2)',
        {"x": "f32[N, T, 8]"},
        home="expc",
        build=_build_rearrange,
    ),
    function(
        "einsum",
        "A sum of products over named axes: those that the result does not have are summed.",
        (Param("equation", STR), Param("operands", INPUT.kind, tensor=True, variadic=True)),
        _einsum,
        'einsum("b i d, b j d -> b i j", x, y)',
        {"x": "f32[N, S, 8]", "y": "f32[N, T, 8]"},
        build=_build_einsum,
        macs=_einsum_macs,
    ),
)
