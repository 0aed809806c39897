"""What can be wrong, as data.

One frozen dataclass per code derives from `Problem`: its fields are the facts, its `template` the sentence, and its
docstring the page that `expc explain CODE` prints. A page holds a wrong and a right example in fences marked
`exp wrong` and `exp right`; a test runs both.
"""

from typing import ClassVar, Final, Literal

from expc.diagnostics.source import Span
from expc.frozen import dataclass

Severity = Literal["error", "warning", "hint"]
Safety = Literal["safe", "unsafe"]


PROBLEMS_READ: Final = 1000
"""So many problems are more than anybody reads at once; of problems with one cause, many become one."""


@dataclass(frozen=True)
class Label:
    """A second place that matters to a problem, and what it has to do with it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Edit:
    """Replace the characters of `span` by `text`; an empty span inserts."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A change that mends a problem. `safe`: the program then means what was surely meant."""

    title: str
    edits: tuple[Edit, ...]
    safety: Safety = "unsafe"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Base of everything that expc reports about a file.

    A subclass sets `code` (stable, `E0301`), `name` (readable, `shape-mismatch`), `template` (formatted with the
    instance's own fields) and, for lints, `severity`.
    """

    code: ClassVar[str] = ""
    name: ClassVar[str] = ""
    severity: ClassVar[Severity] = "error"
    template: ClassVar[str] = ""

    span: Span
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()

    @property
    def message(self) -> str:
        """The sentence that says what is wrong."""
        return self.template.format(**vars(self))


class ProblemError(Exception):
    """Carries one problem out of a function that cannot go on; whoever catches it reports `problem` and continues."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Report:
    """Collects problems, each once, while a stage goes on after the first."""

    def __init__(self) -> None:
        self._problems: dict[tuple[str, int, int, str], Problem] = {}

    def add(self, problem: Problem) -> None:
        """Remember `problem`, unless its kind was reported at the same place already.

        A block that is used at several sizes would otherwise repeat its mistake with other numbers.
        """
        key = (problem.span.source.name, problem.span.start, problem.span.end, problem.code)
        self._problems.setdefault(key, problem)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems so far, in the order of the text."""
        return tuple(sorted(self._problems.values(), key=lambda p: (p.span.source.name, p.span.start, p.span.end)))

    @property
    def is_full(self) -> bool:
        """Whether so much was reported that nobody will read the rest."""
        return len(self._problems) > PROBLEMS_READ

    @property
    def has_errors(self) -> bool:
        """Whether anything that was reported is an error."""
        return any(problem.severity == "error" for problem in self._problems.values())
