"""Safe fixes: they mend what they are said to, and leave everything else as it was."""

from pathlib import Path

import pytest

from expc.compiler.fixes.fixing import fix_text
from expc.compiler.session import check_text

ROOT = Path(__file__).parents[3]

SLIPS = {
    "Conv2d(32 * 2 ** i, 3, padding=1, bias=false)": "Conv2d(32 * 2 ** i, 3, padding=1, bias=False)",
    "batch = 128": "batch := 128",
    "lr=2e-3": "lr=.002",
    "for 100 steps": "for 100steps",
    "metrics   = [Accuracy]": "metrics   = Accuracy",
    "every = 1 epochs": "evry = 1 epochs",
}
"""What `mnist.exp` says, and how it might be written instead."""


def mnist() -> str:
    return (ROOT / "examples" / "mnist.exp").read_text("utf-8")


@pytest.mark.parametrize("right", SLIPS)
def test_one_slip_is_mended(right: str) -> None:
    wrong = mnist().replace(right, SLIPS[right])
    assert wrong != mnist()
    fixed = fix_text(wrong, "mnist.exp")
    assert fixed.checked.problems == ()
    assert len(fixed.mended) == 1
    assert check_text(fixed.text, "mnist.exp").program is not None
    assert "\n".join(set(mnist().splitlines()) & set(fixed.text.splitlines())).count("\n") >= mnist().count("\n") - 8


def test_all_slips_are_mended_at_once_and_then_nothing_is_left_to_do() -> None:
    text = mnist()
    for right, wrong in SLIPS.items():
        text = text.replace(right, wrong)
    fixed = fix_text(text, "mnist.exp")
    assert fixed.checked.problems == ()
    assert len(fixed.mended) == len(SLIPS)
    assert fix_text(fixed.text, "mnist.exp").text == fixed.text


def test_what_is_only_likely_is_not_done() -> None:
    text = "model Net(x: f32[N, 8]) -> f32[N, 10] { Linear(12) }\n"
    fixed = fix_text(text)
    assert fixed.text == text
    assert fixed.mended == ()
    assert [problem.code for problem in fixed.checked.problems] == ["E0309"]
    assert fixed.checked.problems[0].fixes
