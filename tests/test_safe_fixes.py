"""Safe fixes, on every wrong program there is: the language's book and the pages about problems."""

from collections.abc import Iterable
from pathlib import Path

from prose import EXAMPLES, Snippet, snippets

from expc.cli.catalog import page, problems
from expc.compiler.fixing import fix_text
from expc.compiler.session import check_text
from expc.diagnostics import Problem

BOOK = Path(__file__).parent / "language"


def read_example(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


def errors(found: Iterable[Problem]) -> int:
    return sum(problem.severity == "error" for problem in found)


def wrong_programs() -> list[Snippet]:
    """Every program of the language's book, and every wrong example of a page about an error or a lint."""
    pages = sorted(BOOK.glob("*.md"))
    book = [found for page in pages for found in snippets(page.name, page.read_text("utf-8")) if found.expected]
    examples = [Snippet(kind.code, wrong, ()) for kind in problems().values() for wrong in page(kind).wrong]
    return [*book, *examples]


def test_safe_fixes_of_all_wrong_programs_leave_nothing_that_is_safe_to_mend_and_add_nothing() -> None:
    mended = 0
    for found in wrong_programs():
        before = check_text(found.text, "page.exp", read=read_example)
        if not any(fix.safety == "safe" for problem in before.problems for fix in problem.fixes[:1]):
            continue
        fixed = fix_text(found.text, "page.exp", read=read_example)
        after = fixed.checked.problems
        mended += len(fixed.mended)
        left = [problem for problem in after for fix in problem.fixes[:1] if fix.safety == "safe"]
        assert left == [], f"{found.name}: {left[0].message}\n{fixed.text}"
        assert errors(after) <= errors(before.problems) - errors(kind for kind, _ in fixed.mended), found.name
        again = check_text(fixed.text, "page.exp", read=read_example).problems
        assert [p.message for p in again] == [p.message for p in after], found.name
    assert mended > 60
