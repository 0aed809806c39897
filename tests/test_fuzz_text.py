"""Texts that are hardly programs: the checker says what is wrong, soon. `benchmarks/fuzz_text.py` tries many more."""

import time

import pytest
from fuzz.draw import RandomDraw
from fuzz.text import KINDS, text

from expc.compiler.session import check_text


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_gets_an_answer(kind: str) -> None:
    at = list(KINDS).index(kind)
    for number in range(at, at + 25 * len(KINDS), len(KINDS)):
        _, given = text(RandomDraw(f"ci:{number}"), number)
        started = time.process_time()
        checked = check_text(given)
        assert time.process_time() - started < 2, given[:500]
        assert checked.program is not None or checked.has_errors, given[:500]
        for problem in checked.problems:
            assert problem.message
            assert 0 <= problem.span.start <= problem.span.end <= len(problem.span.source.text)


@pytest.mark.parametrize(
    ("written", "marked", "message"),
    [
        ("repeat 10_000_000 { Linear(8) }", "10_000_000", "rounds"),
        ("repeat 10_000_000 { repeat 1 { ReLU } }", "10_000_000", "rounds"),
        ("for i in range(10_000_000) { ReLU }", "range(10_000_000)", "at most 100,000 items"),
        ("Linear(2 ** 10_000_000)", "2 ** 10_000_000", "2 ** 10000000"),
        ("Linear(10 ** 10 ** 10)", "10 ** 10 ** 10", "10 ** 10000000000"),
    ],
)
def test_what_is_too_large_is_refused_where_it_stands(written: str, marked: str, message: str) -> None:
    checked = check_text(f"model M(x: f32[N, 8]) {{ {written} }}")
    (problem,) = checked.problems
    assert (problem.span.text, problem.severity) == (marked, "error")
    assert message in problem.message


def test_rules_about_very_many_layers_are_soon_applied() -> None:
    body = "MaxPool2d(2); repeat 2_000 { Conv2d(8, 3, padding=1, bias=false) -> BatchNorm2d -> ReLU }"
    rules = "init Conv2d.weight = kaiming_normal; init BatchNorm2d.weight = ones"
    given = f"model M(x: f32[N, 8, H, W]) {{ {body}; {rules} }}"
    started = time.process_time()
    assert not check_text(given).has_errors
    assert time.process_time() - started < 2
