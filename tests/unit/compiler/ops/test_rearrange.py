"""`rearrange` and `einsum`: what torch would do by hand, sizes that are unknown, and patterns that are refused."""

import string
from collections.abc import Callable
from typing import Any

import pytest
import torch
from against_torch import checked, loosely_checked, measured, ran, typed

from expc.compiler.dimensions import symbol
from expc.compiler.errors.shapes import SettingRefused
from expc.compiler.ops.building import call_function
from expc.compiler.ops.declare import Call, Fault, Operator
from expc.compiler.ops.rearrange import OPERATORS, equation, plan
from expc.compiler.types import TensorType

REARRANGE, EINSUM = OPERATORS
N, T, H = symbol("N"), symbol("T"), symbol("H", divisor=4)


def values(x: Any, pattern: str, **axes: int) -> dict[str, Any]:
    return {"input": x, "pattern": pattern, "axes": axes}


def numbers(*sizes: int) -> torch.Tensor:
    return torch.arange(torch.Size(sizes).numel()).reshape(sizes).float()


BY_HAND: list[tuple[tuple[int, ...], str, dict[str, int], Callable[[torch.Tensor], torch.Tensor]]] = [
    ((2, 3), "a b -> b a", {}, lambda x: x.t()),
    ((2, 3), "a b->(a b)", {}, lambda x: x.flatten()),
    ((2, 3), "a b -> (b a)", {}, lambda x: x.t().reshape(-1)),
    ((6, 4), "(a b) c -> b (a c)", {"a": 2}, lambda x: x.reshape(2, 3, 4).permute(1, 0, 2).reshape(3, 8)),
    ((6, 4), "(a b) c -> b (c a)", {"b": 2}, lambda x: x.reshape(3, 2, 4).permute(1, 2, 0).reshape(2, 12)),
    (
        (2, 5, 24),
        "n t (three h d) -> three n h t d",
        {"three": 3, "h": 2},
        lambda x: x.reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4),
    ),
    ((2, 2, 5, 4), "n h t d -> n t (h d)", {}, lambda x: x.transpose(1, 2).reshape(2, 5, 8)),
    (
        (2, 3, 4, 6),
        "b c (h p) (w q) -> b (h w) (p q c)",
        {"p": 2, "q": 3},
        lambda x: x.reshape(2, 3, 2, 2, 2, 3).permute(0, 2, 4, 3, 5, 1).reshape(2, 4, 18),
    ),
    ((2, 3, 4), "b ... -> ... b", {}, lambda x: x.permute(1, 2, 0)),
    ((2, 3, 4), "... c -> (...) c", {}, lambda x: x.reshape(6, 4)),
    ((2, 3, 4), "b ... -> b (...)", {}, lambda x: x.reshape(2, 12)),
    ((2,), "b ... -> b (...)", {}, lambda x: x.reshape(2, 1)),
    ((2, 3), "a b ... -> ... b a", {}, lambda x: x.t()),
    ((1, 3, 1), "1 c () -> c", {}, lambda x: x.reshape(3)),
    ((3,), "c -> 1 c 1 ()", {}, lambda x: x.reshape(1, 3, 1, 1)),
    ((1, 6), "() (a b) -> b 1 a", {"a": 2}, lambda x: x.reshape(2, 3).t().unsqueeze(1)),
    ((6,), "(a b) -> a b", {"a": 2, "b": 3}, lambda x: x.reshape(2, 3)),
    ((12,), "(a b c) -> c (b a)", {"a": 2, "b": 3}, lambda x: x.reshape(2, 3, 2).permute(2, 1, 0).reshape(2, 6)),
    ((4, 3), "(one a) b -> one a b", {"one": 1}, lambda x: x.reshape(1, 4, 3)),
]


@pytest.mark.parametrize(("sizes", "pattern", "axes", "expected"), BY_HAND, ids=[case[1] for case in BY_HAND])
def test_does_what_one_writes_by_hand(sizes: Any, pattern: str, axes: Any, expected: Any) -> None:
    x = numbers(*sizes)
    result = call_function(torch, REARRANGE, values(x, pattern, **axes))
    assert torch.equal(result, expected(x))
    assert checked(REARRANGE, values(TensorType("f32", sizes), pattern, **axes)) == measured(expected(x))


def test_sizes_may_be_unknown() -> None:
    result, required = typed(
        REARRANGE, values(TensorType("f32", (N, T, 384)), "n t (three h d) -> three n h t d", three=3, h=4)
    )
    assert result == TensorType("f32", (3, N, 4, T, 32))
    assert not required
    joined, _ = typed(REARRANGE, values(TensorType("f32", (N, 4, T, 32)), "n h t d -> n t (h d)"))
    assert joined == TensorType("f32", (N, T, 128))
    patches, required = typed(REARRANGE, values(TensorType("f32", (N, 3, H, 8)), "n c (h p) w -> n h (p c w)", p=4))
    assert patches == TensorType("f32", (N, H // 4, 96))
    assert not required


def test_asks_for_what_it_needs_of_unknown_sizes() -> None:
    loose = values(TensorType("f32", (N, T)), "n (h d) -> n h d", h=3)
    _, required = typed(REARRANGE, loose)
    assert required == [("divisible", T, 3, "dimension 1, (h d),")]
    assert loosely_checked(REARRANGE, loose, {"N": 2, "T": 6}) == ("f32", (2, 3, 2))
    assert loosely_checked(REARRANGE, loose, {"N": 2, "T": 7}) is None


@pytest.mark.parametrize(
    ("sizes", "pattern", "axes", "word"),
    [
        ((2, 3), "a b", {}, "one `->`"),
        ((2, 3), "a b -> b a -> a b", {}, "one `->`"),
        ((2, 3), "a b -> a", {}, "axis b on the left"),
        ((2, 3), "a b -> a b c", {}, "axis c on the right"),
        ((2, 3), "a a -> a", {}, "axis a twice"),
        ((2, 3), "a (b -> a b", {}, "does not close"),
        ((2, 3), "a b) -> a b", {}, "not open"),
        ((2, 6), "a ((b c) d) -> a b c d", {}, "parentheses in parentheses"),
        ((2, 6), "a (b c) -> a b c", {}, "size of b or of c"),
        ((2, 6), "a (2 c) -> a 2 c", {}, "name the axis"),
        ((2, 6), "a b-c -> a b-c", {}, "cannot name an axis"),
        ((2, 6), "a b -> b a", {"c": 2}, "no axis c"),
        ((2, 6, 2), "a b -> b a", {}, "for 2 dimensions, but the tensor has 3"),
        ((2,), "a b ... -> b a ...", {}, "at least 2 dimensions"),
        ((2, 6), "(a ...) -> a ...", {}, "in parentheses on the left"),
        ((2, 6), "a b ... -> a b", {}, "... on the left"),
    ],
)
def test_says_what_is_wrong_with_a_pattern(sizes: Any, pattern: str, axes: Any, word: str) -> None:
    with pytest.raises(Fault) as caught:
        typed(REARRANGE, values(TensorType("f32", sizes), pattern, **axes))
    assert caught.value.problem is SettingRefused
    assert word in caught.value.facts["reason"]


@pytest.mark.parametrize(
    ("sizes", "pattern", "axes"),
    [
        ((2, 7), "a (b c) -> a b c", {"b": 2}),
        ((2, 6), "a (b c) -> a b c", {"b": 2, "c": 2}),
        ((2, 6), "a b -> b a", {"a": 3}),
        ((2, 6), "1 b -> b", {}),
    ],
)
def test_sizes_must_fit(sizes: Any, pattern: str, axes: Any) -> None:
    assert checked(REARRANGE, values(TensorType("f32", sizes), pattern, **axes)) is None


def test_compiles_whole() -> None:
    def attention(x: torch.Tensor) -> torch.Tensor:
        return call_function(torch, REARRANGE, values(x, "n t (three h d) -> three n h t d", three=3, h=2))

    x = numbers(2, 5, 24)
    compiled = torch.compile(attention, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), attention(x))


# ------------------------------------------------------------------------------------------------ einsum

EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("i j, j k -> i k", [(2, 3), (3, 4)]),
    ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("batch row dim, batch col dim -> batch row col", [(2, 4, 5), (2, 6, 5)]),
    ("...ij,...jk->...ik", [(2, 7, 2, 3), (7, 3, 4)]),
    ("... i j, j k -> ... k i", [(5, 2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ba", [(2, 3)]),
    ("...i,...i", [(2, 3), (2, 3)]),
    ("i,j->ij", [(2,), (3,)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("ij->", [(3, 3)]),
    ("i,i,i->i", [(3,), (3,), (3,)]),
    ("...i->i", [(2, 4, 3)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("ij,jk->ik", [(2, 2), (3, 4)]),
    ("ij,jk->il", [(2, 3), (3, 4)]),
    ("ij,jk->iik", [(2, 3), (3, 4)]),
    ("ij,jk->ik", [(2, 3)]),
    ("ij->ik->i", [(2, 3)]),
    ("ij->i", [(2, 3, 4)]),
    ("i...j...->i", [(2, 3, 4)]),
    ("i%->i", [(2, 3)]),
]


def named_by_letters(text: str) -> str:
    """The equation in torch's notation, made apart from the code under test."""
    words = dict.fromkeys(word for word in text.replace("->", " ").replace(",", " ").split() if word != "...")
    if not any(len(word) > 1 for word in words) or " " not in text:
        return text
    for word, letter in zip(sorted(words, key=len, reverse=True), string.ascii_uppercase, strict=False):
        text = text.replace(word, letter)
    return text


@pytest.mark.parametrize(("text", "shapes"), EQUATIONS, ids=[f"{text} {shapes}" for text, shapes in EQUATIONS])
@pytest.mark.parametrize("dtype", ["f32", "i64"])
def test_einsum_agrees_with_torch(text: str, shapes: Any, dtype: str) -> None:
    types = tuple(TensorType(dtype, sizes) for sizes in shapes)
    given = {"equation": text, "operands": types}
    assert checked(EINSUM, given) == ran(EINSUM, given)
    try:
        by_torch = torch.einsum(named_by_letters(text), *(numbers(*sizes) for sizes in shapes))
    except (RuntimeError, ValueError):
        assert checked(EINSUM, given) is None
    else:
        result = call_function(torch, EINSUM, {"equation": text, "operands": tuple(numbers(*s) for s in shapes)})
        assert torch.equal(result, by_torch)


def test_einsum_multiplies_no_booleans() -> None:
    masks = {"equation": "ij,jk->ik", "operands": (TensorType("bool", (2, 3)), TensorType("bool", (3, 4)))}
    assert checked(EINSUM, masks) is None
    assert ran(EINSUM, masks) is None


def test_einsum_with_unknown_sizes() -> None:
    a, b = TensorType("f32", (N, 4, T, 16)), TensorType("f32", (N, 4, H, 16))
    result, required = typed(EINSUM, {"equation": "bhid,bhjd->bhij", "operands": (a, b)})
    assert result == TensorType("f32", (N, 4, T, H))
    assert not required
    _, required = typed(EINSUM, {"equation": "bhid,bhid->bh", "operands": (a, b)})
    assert [parts[:3] for parts in required] == [("equal", T, H)]


def test_costs_of_a_product() -> None:
    operands = (TensorType("f32", (N, 4, T, 16)), TensorType("f32", (N, 4, T, 16)))
    call = Call(EINSUM, {"equation": "bhid,bhjd->bhij", "operands": operands}, lambda _: None)
    assert macs(EINSUM, call) == N * T * T * 64


def macs(operator: Operator, call: Call) -> Any:
    assert operator.macs is not None
    return operator.macs(call, operator.shape(call))


def test_letters_are_torchs_notation() -> None:
    assert equation("b i d, b j d -> b i j").letters() == "abc,adc->abd"


def test_a_plan_needs_no_sizes() -> None:
    steps = plan("n t (three h d) -> three n h t d", 3, {"three": 3, "h": 6})
    assert steps.splits == ((2, (3, 6, -1)),)
    assert steps.permutation == (2, 0, 3, 1, 4)
    assert (steps.joins, steps.squeezed, steps.unsqueezed) == ((), (), ())
