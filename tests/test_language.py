"""The pages of `tests/language`: each program has the problems that stand in its comments, and no others."""

from pathlib import Path

import pytest
from prose import EXAMPLES, Snippet, differences, patched, snippet, snippets

from expc.compiler.session import Checked, check_text
from expc.diagnostics.text import render

PAGES = sorted((Path(__file__).parent / "language").glob("*.md"))
SNIPPETS = [found for page in PAGES for found in snippets(page.name, page.read_text("utf-8"))]


def checked(found: Snippet) -> Checked:
    return check_text(found.text, "page.exp", read=lambda name: (EXAMPLES / name).read_text("utf-8"))


@pytest.mark.parametrize("found", SNIPPETS, ids=[found.name for found in SNIPPETS])
def test_a_program_has_the_problems_that_its_page_says(found: Snippet) -> None:
    problems = checked(found).problems
    wrong = differences(found.expected, problems)
    assert not wrong, "\n\n".join(["", *wrong, *(render(problem) for problem in problems), found.text])


RIGHT = """\
data { train = MNIST("data") -> ToTensor }
model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
"""
WRONG = RIGHT.replace("epochs = 1,", "epoch = 1,")
EXPECTED = '  # error: E0201 `epoch` "no setting `epoch`" fix `epochs`'


def with_comment(comment: str, line: int = 3) -> Snippet:
    lines = WRONG.splitlines()
    lines[line - 1] += comment
    return snippet("test", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "found",
    [
        snippet("nothing expected", WRONG),
        snippet("nothing found", RIGHT + EXPECTED),
        with_comment("  # error: E0202"),
        with_comment("  # warning: E0201"),
        with_comment(EXPECTED, line=2),
        with_comment(EXPECTED + " # error: E0201"),
        with_comment("  # error: E0201 `epoch = 1`"),
        with_comment('  # error: E0201 "another message"'),
        with_comment("  # error: E0201 fix `steps`"),
    ],
    ids=lambda found: str(found.expected),
)
def test_the_test_of_a_page_can_fail(found: Snippet) -> None:
    assert not differences(with_comment(EXPECTED).expected, checked(with_comment(EXPECTED)).problems)
    assert differences(found.expected, checked(found).problems)


def test_a_patch_changes_lines_in_order() -> None:
    assert patched("a\n  b\na\nc\n", "  a\n- b\n+ B # error: E0101\n  c # error: E0102\n") == (
        "a\nB # error: E0101\na\nc # error: E0102\n"
    )
    with pytest.raises(ValueError, match="no line `a`"):
        patched("a\nb\n", "  b\n- a\n")
    with pytest.raises(ValueError, match="starts with"):
        patched("a\n", "a\n")
