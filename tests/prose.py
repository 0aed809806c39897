"""Programs in prose: the fenced blocks of a Markdown page, and the problems that their comments expect.

A block ```` ```exp ```` is a whole program. A problem stands as a comment on the line that causes it:

    Conv2d(64, kernal_size=3)  # error: E0243 `kernal_size` "did you mean" fix `kernel_size`

After the code may follow the text that is underlined, a part of the message, and the text that the first fix writes.
These comments are taken out before the program is checked, so that they may follow an open quotation mark too.

A block ```` ```exp patch=mnist.exp ```` is a change of an example, as `diff` writes it: `- ` a line that goes, `+ ` one
that comes, two spaces before one that stays. The lines that go and stay are found from the top of the example on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from expc.diagnostics import Problem

EXAMPLES = Path(__file__).parents[1] / "examples"

_FENCE = re.compile(r"^```exp(?: patch=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(
    r"\s*# (?P<severity>error|warning|hint): (?P<code>[EW]\d{4})"
    r"(?: `(?P<marked>[^`]*)`)?"
    r'(?: "(?P<message>[^"]*)")?'
    r"(?: fix `(?P<fix>[^`]*)`)?"
    r"(?=\s*(?:$|# (?:error|warning|hint): ))"
)


@dataclass(frozen=True)
class Expected:
    """A problem that a comment asks for; what it leaves open is none."""

    line: int
    severity: str
    code: str
    marked: str | None
    message: str | None
    fix: str | None

    def fits(self, problem: Problem) -> bool:
        """Whether `problem` is the one that is meant."""
        written = [fix.edits[0].text for fix in problem.fixes[:1]]
        return (
            (problem.span.line, problem.severity, problem.code) == (self.line, self.severity, self.code)
            and (self.marked is None or problem.span.text == self.marked)
            and (self.message is None or self.message in problem.message)
            and (self.fix is None or written == [self.fix])
        )

    def __str__(self) -> str:
        parts = [f"line {self.line}: {self.severity} {self.code}"]
        parts += [f"at `{self.marked}`"] if self.marked is not None else []
        parts += [f'with "{self.message}"'] if self.message is not None else []
        parts += [f"and the fix `{self.fix}`"] if self.fix is not None else []
        return " ".join(parts)


@dataclass(frozen=True)
class Snippet:
    """One block of a page: the program as it is checked, and what its comments expect."""

    name: str
    text: str
    expected: tuple[Expected, ...]


def snippets(page: str, markdown: str) -> Iterator[Snippet]:
    """The blocks of a page, each named by the page and its line. Raises `ValueError` where a patch does not fit."""
    for match in _FENCE.finditer(markdown):
        name = f"{page}:{markdown.count(chr(10), 0, match.start()) + 1}"
        example, text = match.groups()
        if example is not None:
            try:
                text = patched((EXAMPLES / example).read_text("utf-8"), text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        yield snippet(name, text)


def snippet(name: str, text: str) -> Snippet:
    """A program without its comments about problems, and these."""
    expected = [
        Expected(number, **found.groupdict())
        for number, line in enumerate(text.splitlines(), 1)
        for found in _EXPECTED.finditer(line)
    ]
    return Snippet(name, "".join(_EXPECTED.sub("", line) for line in text.splitlines(keepends=True)), tuple(expected))


def patched(text: str, patch: str) -> str:
    """`text` after a change. Raises `ValueError` where a line that the change names is not there."""
    lines, done = text.splitlines(), 0
    result: list[str] = []
    for change in patch.splitlines():
        sign, line = change[:2], change[2:]
        if sign == "+ ":
            result.append(line)
        elif sign in ("- ", "  "):
            old = _EXPECTED.sub("", line).strip()
            while done < len(lines) and lines[done].strip() != old:
                result.append(lines[done])
                done += 1
            if done == len(lines):
                raise ValueError(f"the example has no line `{old}` here")
            result += [lines[done] + line.strip()[len(old) :]] if sign == "  " else []
            done += 1
        elif change.strip():
            raise ValueError(f"a line of a patch starts with `- `, `+ ` or two spaces: `{change}`")
    return "\n".join([*result, *lines[done:]]) + "\n"


def differences(expected: tuple[Expected, ...], problems: tuple[Problem, ...]) -> list[str]:
    """In words, what was expected and not found, and what was found and not expected."""
    left = list(problems)
    missing = []
    for wanted in expected:
        found = next((problem for problem in left if wanted.fits(problem)), None)
        if found is None:
            missing.append(f"expected, not found: {wanted}")
        else:
            left.remove(found)
    return missing + [
        f"found, not expected: line {p.span.line}: {p.severity} {p.code} at `{p.span.text}`" for p in left
    ]
