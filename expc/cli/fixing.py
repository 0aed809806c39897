"""Writing a file anew after its safe fixes."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from expc.cli.reading import Unreadable, readable
from expc.compiler.fixes.fixing import Fixed, fix_text
from expc.compiler.reading import read_text
from expc.diagnostics import text


def fix_file(path: str, overrides: Sequence[str], lints: frozenset[str]) -> Fixed:
    """Apply the safe fixes of the file at `path`. Raises `Unreadable` where it cannot be read or written."""
    if path.endswith((".yaml", ".yml")):
        raise Unreadable(f"{text.printable(path)} tells of a run, and holds nothing to fix")
    with readable(path):
        before = read_text(path)
        fixed = fix_text(before, path, overrides, read_text, lints)
    if fixed.text != before:
        try:
            _replace(Path(path).resolve(), fixed.text)
        except OSError as error:
            raise Unreadable(f"cannot write {text.printable(path)}: {error.strerror or error}") from None
    return fixed


def _replace(path: Path, content: str) -> None:
    """Write a file whole or not at all: whatever happens meanwhile, the old text or the new one is there."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(path.stat().st_mode)
        beside.replace(path)
    except BaseException:
        beside.unlink()
        raise
