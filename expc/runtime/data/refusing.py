"""How data that cannot be used is refused: missing, damaged, or not what was declared."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expc.compiler.program import Use
from expc.diagnostics import Span
from expc.runtime.errors import RunError
from expc.runtime.errors.data import DataDamaged, DataNotFound, TooLittleData, UnexpectedData


def read(use: Use, path: Path, read: Callable[[str], Any]) -> Any:
    """What `read` makes of the file. Readers of foreign formats raise anything when a file is damaged."""
    try:
        with warnings.catch_warnings():
            # CIFAR's files were pickled by Python 2, which numpy now remarks upon.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
            return read(str(path))
    except UnicodeDecodeError as error:
        reason = f"it is not a text in UTF-8 (byte {error.start})"
        raise damaged(use.name, use.span, path, reason, 'tokens="byte" reads any file') from error
    except Exception as error:
        told = str(error).split("\n")[0]
        reason = "it is not a whole file of this format" + (f" ({told})" if told else "")
        raise damaged(use.name, use.span, path, reason) from error


def damaged(dataset: str, span: Span, path: Path, reason: str, *notes: str) -> RunError:
    """A file that cannot be read."""
    return RunError(DataDamaged(span=span, dataset=dataset, path=str(path), reason=reason, notes=notes))


def not_found(use: Use, path: Path, root: Path, reason: str) -> RunError:
    """Data that is not where it was sought; `root` is where relative paths start."""
    notes = [f"relative paths start at {root}; the environment variable EXPC_DATA names another folder"]
    if use.settings.get("download") is False:
        notes.append("`download=true` fetches the data where there is a network")
    problem = DataNotFound(span=use.span, dataset=use.name, path=str(path), reason=reason, notes=tuple(notes))
    return RunError(problem)


def unexpected(use: Use, path: Path, declared: str, found: str) -> RunError:
    """Data that is not what the experiment declares."""
    return RunError(UnexpectedData(span=use.span, dataset=use.name, path=str(path), declared=declared, found=found))


def need_samples(use: Use, found: int) -> None:
    """Refuse data without samples. Raises `RunError`."""
    if not found:
        raise RunError(TooLittleData(span=use.span, what=f"`{use.name}`", needed="1 sample", found=0))
