"""Why a token does not fit, in words."""

from collections.abc import Callable

from expc.diagnostics import Problem, Source, Span
from expc.spec.driver import Place
from expc.spec.errors.syntax import Unexpected


def explain(source: Source, place: Place, complain: Callable[[Problem], None]) -> bool:
    """Report what is wrong at `place`; true if tokens were mended and the statement shall be read again."""
    token = place.token
    complain(Unexpected(span=Span(source, token.start, token.end), expected="something else", found=f"`{token.text}`"))
    return False
