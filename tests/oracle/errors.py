"""How the oracle says no."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    AttributeError,
    ArithmeticError,
)
"""What torch raises."""

_ALLOWED = ("dropout option adds dropout after all but last recurrent layer",)
"""Warnings of torch that are warnings of the checker too: what runs has no effect, and does no harm."""


@contextmanager
def asking(where: str) -> Iterator[None]:
    """Turns what torch says while it does `where` into a verdict: the language is stricter where torch warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for said in _ALLOWED:
                warnings.filterwarnings("ignore", message=said)
            yield
    except NotImplementedError as error:
        raise NotCovered(f"{where}: {error}") from None
    except (Refused, NotCovered):
        raise
    except Warning as warning:
        raise LanguageRefused("torch warns", f"{where}: {warning}") from None
    except FAILURES as error:
        raise TorchRefused.of(where, error) from None


class Refused(Exception):
    """The program is wrong. `rule` says which rule of the language or which part of torch."""

    kind = "refused"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule, self.message = rule, message


class LanguageRefused(Refused):
    """A rule of the language forbids the program; torch was not asked."""

    kind = "language"


class TorchRefused(Refused):
    """torch (torchvision, torchmetrics) raised an error; `rule` is its class."""

    kind = "torch"

    @classmethod
    def of(cls, where: str, error: Exception) -> "TorchRefused":
        """What torch said while doing `where`."""
        first = (str(error).strip().splitlines() or [""])[0]
        return cls(type(error).__name__, f"{where}: {first[:300]}")


class NotCovered(Exception):
    """The oracle does not know this part of the language: it has no verdict."""
