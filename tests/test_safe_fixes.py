"""Safe fixes, on every wrong program there is: the language's book and the pages about problems."""

from collections.abc import Iterable
from pathlib import Path

from prose import EXAMPLES, Snippet, snippets

from expc.cli.catalog import page, problems
from expc.compiler.fixes.fixing import fix_text
from expc.compiler.session import check_text
from expc.diagnostics import Problem

BOOK = Path(__file__).parent / "language"


def read_example(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


def errors(found: Iterable[Problem]) -> int:
    return sum(problem.severity == "error" for problem in found)


def wrong_programs() -> list[Snippet]:
    """The programs of the language's book, and every wrong example of a page about an error or a lint.

    Of the examples with one mistake each, which are long, every third is enough.
    """
    texts = {page.name: page.read_text("utf-8") for page in sorted(BOOK.glob("*.md"))}
    pages = {name: [found for found in snippets(name, text) if found.expected] for name, text in texts.items()}
    book = [found for name, all_ in pages.items() for found in all_[:: 3 if name.startswith("mistakes-") else 1]]
    examples = [Snippet(kind.code, wrong, ()) for kind in problems().values() for wrong in page(kind).wrong]
    return [*book, *examples]


def test_safe_fixes_of_all_wrong_programs_leave_nothing_that_is_safe_to_mend_and_add_nothing() -> None:
    mended = 0
    for found in wrong_programs():
        fixed = fix_text(found.text, "page.exp", read=read_example)
        after = fixed.checked.problems
        mended += len(fixed.mended)
        left = [problem for problem in after for fix in problem.fixes[:1] if fix.safety == "safe"]
        assert left == [], f"{found.name}: {left[0].message}\n{fixed.text}"
        if fixed.mended:
            before = check_text(found.text, "page.exp", read=read_example).problems
            assert errors(after) <= errors(before) - errors(problem for problem, _ in fixed.mended), found.name
    assert mended > 50
