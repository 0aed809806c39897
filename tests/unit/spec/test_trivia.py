"""Comments, blank lines and allowed lints."""

from expc.diagnostics import Source
from expc.spec.trivia import trivia

TEXT = """\
# first
let a = 3  # after

let b = "# no comment"
# allow(some-rule): because

# and more
let c = 4
let d = 5  # allow(other): why not
# allow(bare)
"""


def test_comments_know_whether_they_stand_alone() -> None:
    comments = trivia(Source("t", TEXT)).comments
    assert [(comment.span.line, comment.alone) for comment in comments] == [
        (1, True),
        (2, False),
        (5, True),
        (7, True),
        (9, False),
        (10, True),
    ]
    assert comments[1].span.text == "# after"


def test_blank_lines() -> None:
    assert trivia(Source("t", TEXT)).blank_lines == {3, 6}
    assert trivia(Source("t", "a\n\n")).blank_lines == {2}
    assert trivia(Source("t", "a")).blank_lines == frozenset()


def test_allowed_lints_belong_to_a_line_of_code() -> None:
    allowances = trivia(Source("t", TEXT)).allowances
    assert [(one.line, one.rule, one.reason) for one in allowances] == [
        (8, "some-rule", "because"),
        (9, "other", "why not"),
        (10, "bare", ""),
    ]


def test_broken_text_has_trivia_too() -> None:
    assert len(trivia(Source("t", 'let x = "a # b\n}}} $ # c')).comments) == 1
