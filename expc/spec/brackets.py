"""Brackets: make them balance, and say where one is missing or too many."""

from collections.abc import Callable

from expc.diagnostics import Problem, Source
from expc.spec.lexing import Token

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}


def balance(tokens: list[Token], source: Source, complain: Callable[[Problem], None]) -> list[Token]:
    """The tokens with every bracket closed by its own kind."""
    return tokens
