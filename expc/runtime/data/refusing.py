"""How data that cannot be used is refused: missing, damaged, or not what was declared."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from expc.compiler.program import Use
from expc.compiler.types import NO_CLASS, TensorType
from expc.diagnostics import Span
from expc.runtime.errors import RunError
from expc.runtime.errors.data import DataDamaged, DataNotFound, TooLittleData, UnexpectedData


def outside(values: Tensor, type_: TensorType) -> int | None:
    """A class that is none of those declared of a field; none where there is no such. Only what has several classes,
    a mask or a row of tokens, may leave some out.
    """
    if type_.rank:
        values = values[values != NO_CLASS]
    if not isinstance(type_.classes, int) or not values.numel():
        return None
    least, most = (int(value) for value in values.aminmax())
    return least if least < 0 else most if most >= type_.classes else None


def read(use: Use, path: Path, read: Callable[[str], Any]) -> Any:
    """What `read` makes of the file. Readers of foreign formats raise anything when a file is damaged."""
    try:
        with warnings.catch_warnings():
            # CIFAR's files were pickled by Python 2, which numpy now remarks upon.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
            return read(str(path))
    except RunError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise unreadable(use.name, use.span, path, error) from error
        raise damaged(use.name, use.span, path, without_advice(str(error))) from error
    except UnicodeDecodeError as error:
        reason = f"it is not a text in UTF-8 (byte {error.start})"
        raise damaged(use.name, use.span, path, reason, 'tokens="byte" reads any file') from error
    except Exception as error:
        told = without_advice(str(error))
        reason = "it is not a whole file of this format" + (f" ({told})" if told else "")
        empty = path.is_file() and not path.stat().st_size
        raise damaged(use.name, use.span, path, "it is empty" if empty else reason) from error


def without_advice(text: str) -> str:
    """The first line of a message of torchvision's, without what it says about its own arguments."""
    return text.split("\n", maxsplit=1)[0].partition(" You can use")[0].partition(" You can set")[0].rstrip(".")


def unreadable(dataset: str, span: Span, path: Path, error: OSError) -> RunError:
    """A file that is there, and that the system does not let us read."""
    return damaged(dataset, span, path, f"{error.strerror or error}")


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
