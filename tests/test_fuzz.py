"""Random programs: the checker's verdict and every type are torch's. `benchmarks/fuzz_check.py` runs many more."""

import warnings
from collections.abc import Iterator

import fuzz.compare
import pytest
import torch
from fuzz.break_it import broken
from fuzz.calls import strict_warnings, table
from fuzz.campaign import run
from fuzz.compare import compare
from fuzz.draw import HypothesisDraw, RandomDraw
from fuzz.generate import program
from fuzz.losses import experiment, is_loss
from fuzz.terms import Bind, Cast, Input, Operate, Program, Ref, Refs, Sym
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expc.compiler.graph import Value
from expc.compiler.session import Checked, check_text
from expc.compiler.types import TensorType, at


@pytest.fixture(autouse=True)
def _as_in_the_campaign() -> Iterator[None]:
    with torch.no_grad(), warnings.catch_warnings():
        strict_warnings()
        yield


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_random_program_is_to_the_checker_what_it_is_to_torch(data: st.DataObject) -> None:
    d = HypothesisDraw(data.draw)
    whole = program(d)
    if d.chance(0.5):
        whole = broken(d, whole) or whole
    verdict = compare(whole, 0)
    assert verdict.agrees, f"{verdict.why}\n{verdict.text}"


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_programs_of_the_campaign(first: int) -> None:
    tally = run(first, 100, seed=0)
    found = [(verdict.why, verdict.text) for _, verdict in tally.failures]
    assert not found, found[0]
    assert tally.outcomes["accepted"] > 20, "the generator hardly writes a program that is right"


# ------------------------------------------------------------------------------------------- what was found by it

FOUND = {
    "a slice that ends before it starts is empty": ("x: f32[N, 4]", "x[N:0]", "f32[0, 4]"),
    "three times a size is never 1": ("x: f32[3, N]", "x -> flatten -> squeeze(-1)", "f32[15]"),
    "to an index, u8 is a mask": ("x: f32[4, 2], i: u8[4]", "x[i]", None),
    "there is no largest of no elements": ("x: f32[4]", "narrow(x, 0, 1, 0) -> amax", None),
    "nor a largest in each row of none": ("x: f32[2, 4]", "x[:, 4:] -> aminmax(dim=1)", None),
    "nor a position of it": ("x: f32[2, 4]", "x[:, 4:] -> argmax(1)", None),
    "nor quantiles": ("x: f32[2, 4]", "x[:, 4:] -> quantile(0.5)", None),
    "nor a largest region of no pixels": ("x: f32[1, 8, 2, 4]", "x[:, :, :, 4:] -> AdaptiveMaxPool2d(1)", None),
    "numbers do not spread by less than 0": ("x: f32[2]", "x + normal(0.0, -1.0, size=[2])", None),
    "one value in a channel has no spread": (
        "x: f32[4]",
        "x -> reshape([1, 4]) -> BatchNorm1d(track_running_stats=false)",
        None,
    ),
    "but a median, which is nan": ("x: f32[2, 4]", "x[:, 4:] -> median", "f32[]"),
    "distances of triplets are computed one by one": (
        "x: i64[2, 3], y: bf16[2, 3]",
        '(x, x, y) -> TripletMarginLoss(reduction="none")',
        "f32[2]",
    ),
    "distances of booleans are none": ("x: bool[2, 3], y: f32[2, 3]", "(x, x, y) -> TripletMarginLoss", None),
    "a margin of triplets is more than 0": ("x: f32[2, 3]", "(x, x, x) -> TripletMarginLoss(0)", None),
    "a scalar does not widen a distance": ("x: bf16[2, 3], y: f64[]", "(x, y) -> PairwiseDistance", "bf16[2]"),
    "a threshold is not below 0": ("x: f32[3]", "x -> Softshrink(-0.5)", None),
    "a target that is subtracted is a number": ("x: f32[3], y: bool[3]", "(x, y, x) -> GaussianNLLLoss", None),
    "a target that is negated is a number": ("x: f32[3], y: bool[3]", "(x, x, y) -> MarginRankingLoss", None),
    "a scalar is a source of one element": ("x: i64[8], i: class(7)[6], y: i64[]", "x -> scatter(0, i, y)", None),
    "torch has given up dividing whole numbers": ("x: f32[4], y: i64[4]", "addcdiv(x, y, y)", None),
    "a least is not above the most": ("x: f32[3]", "x -> hardtanh(max_val=-1.5)", None),
    "a dimension is split into something": ("x: f32[1]", "x -> Unflatten(0, [])", None),
    "without a dim, indices count through all": ("x: f32[2, 4], i: i64[3]", "take_along_dim(x, i)", "f32[3]"),
    "a slice starts where the dimension does": ("x: f32[1, N]", "x[-2:N, 0]", None),
    "and is cut off at both of its ends": ("x: f32[1, 5], y: f32[N]", "x[-2:y.shape[0]]", None),
    "what is added to a scalar is a scalar": ("x: i64[], i: i64[4], y: i64[4]", "index_add(x, 0, i, y)", None),
    "beside a size of 0 none can be left open": ("x: f32[1]", "x -> reshape([0, -1])", None),
    "whole numbers are scaled among fractions": ("x: bool[3, 3], y: f64[3]", "addr(x, y, y, beta=1.5)", "f64[3, 3]"),
    "a list of tensors may be the second of all tensors": (
        "x: f32[4, 2], i: i64[3], y: f32[3, 2]",
        "index_put(x, [i], y)",
        "f32[4, 2]",
    ),
}
"""What the checker was wrong about once: inputs, what is done with them, and the type at N = 5, or none."""


def test_losses_of_whole_experiments() -> None:
    losses = [name for name in sorted(table()) if is_loss(name)]
    for number, name in enumerate(losses * 2):
        verdict = compare(experiment(RandomDraw(number), name), number)
        assert verdict.agrees, f"{verdict.why}\n{verdict.text}"


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name: str) -> None:
    inputs, chain, expected = FOUND[name]
    checked = check_text(f"model M({inputs}) {{ v = {chain}; return v }}")
    assert checked.has_errors == (expected is None), [problem.message for problem in checked.problems]
    if expected is not None:
        assert checked.program is not None
        assert checked.program.model is not None
        result = checked.program.model.body.result
        assert isinstance(result, Value)
        assert isinstance(result.type, TensorType)
        assert str(at(result.type, {"N": 5})) == expected


# ------------------------------------------------------------------------------------------- the test can fail


def small(*stages: Operate | Cast) -> Program:
    return Program([Input("x", "f32", (Sym("N"), 4))], [], [Bind("v", Refs([Ref("x")]), list(stages))], {"N": 5})


@pytest.mark.parametrize(
    ("written", "run_instead", "outcome"),
    [
        (Cast("f64"), Cast("f32"), "another type"),
        (Operate("Linear", is_function=False, positional=[3], named={}), Cast("f32"), "another type"),
        (Operate("flatten", is_function=True, positional=[7], named={}), Cast("f32"), "wrongly refused"),
        (Cast("f32"), Operate("flatten", is_function=True, positional=[7], named={}), "wrongly accepted"),
    ],
)
def test_a_wrong_checker_is_found(
    monkeypatch: pytest.MonkeyPatch, written: Operate | Cast, run_instead: Operate | Cast, outcome: str
) -> None:
    """The checker is shown another program than the one that runs."""
    assert compare(small(run_instead), 0).agrees

    def check_another(_: str) -> Checked:
        return check_text(small(written).text())

    monkeypatch.setattr(fuzz.compare, "check_text", check_another)
    found = compare(small(run_instead), 0)
    assert not found.agrees
    assert found.outcome == outcome


def test_the_least_of_two_sizes_is_large_enough_where_both_are() -> None:
    checked = check_text("model M(x: f32[H, T, 4]) { x -> diagonal(dim2=-2); flow[0, 3:5] }")
    assert checked.program is not None
    assert checked.program.model is not None
    assert checked.program.model.floors == {"H": 5, "T": 5}
