"""E08xx: what can only go wrong when files are read or written, and while a run goes on.

Each is a `Problem` like those of the checker, so that the command line prints it in the same way: `raise RunError(
DataNotFound(span=use.span, ...))`. Where nothing in the file is to blame, the span points at the option that is, as
`option_span("--out", path)`. Nothing here imports torch, so that `expc explain` prints these pages at once.
"""

from expc.diagnostics import ProblemError, Source, Span


class RunError(ProblemError):
    """The run cannot go on; `problem` says what happened, and which line of the experiment asked for it."""


def option_span(option: str, value: str) -> Span:
    """The place of a value that was given on the command line: `option_span("--out", "runs/a")`."""
    return Span(Source(option, value), 0, len(value))
