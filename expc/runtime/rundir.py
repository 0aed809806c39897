"""The run directory: everything that a run leaves behind.

`sources/` and `resolved.yaml` say what was run, and are enough to run it again. `run.json` says how it went,
`metrics.jsonl` and `tensorboard/` what was measured; `checkpoints/`, `best.safetensors` and `final.safetensors` hold
weights. A file appears under its name only when it is whole, and nothing that existed before is touched.
"""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from expc.compiler.program import Program
from expc.diagnostics import Span
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import OutputExists, from_os_error
from expc.runtime.lock import LOCK, Lock

SOURCES: Final = Path("sources")
RESOLVED: Final = "resolved.yaml"
FACTS: Final = "run.json"


class RunDirectory:
    """A directory that this run has made, or found empty."""

    def __init__(self, path: Path, lock: Lock, facts: Mapping[str, Any] | None = None) -> None:
        self.path: Final = path
        self._lock: Final = lock
        self._run: dict[str, Any] = dict(facts or {})

    @classmethod
    def create(cls, name: str, out: Path | None) -> "RunDirectory":
        """Make `out`, or a new directory `runs/NAME-TIME` under the working directory.

        Raises `RunError`: E0808 where `out` holds something, E0804 and E0805 where it cannot be made.
        """
        if out is not None:
            refuse_used(out)
            with writing(out):
                out.mkdir(parents=True, exist_ok=True)
                lock = Lock(out, option_span("--out", str(out)))
            try:
                refuse_used(out)  # once more: another process may have been quicker
            except BaseException:
                lock.close()
                raise
            return cls(out, lock)
        stem = f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        with writing(Path("runs")):
            Path("runs").mkdir(exist_ok=True)
            for attempt in range(1, 1000):
                path = Path("runs") / (stem if attempt == 1 else f"{stem}-{attempt}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path, Lock(path, option_span("--out", str(path))))
        raise RunError(OutputExists(span=option_span("--out", stem), path=stem, reason="was made a thousand times"))

    @classmethod
    def reopen(cls, path: Path, facts: Mapping[str, Any], span: Span) -> "RunDirectory":
        """The directory of an earlier run, of which `run.json` says `facts`. Raises `RunError` (E0831, E0804)."""
        with writing(path, span):
            return cls(path, Lock(path, span), facts)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `run.json` says."""
        return self._run

    def close(self) -> None:
        """Let another process write to it."""
        self._lock.close()

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file that appears whole or not at all, in the place of an older one."""
        path = self.path / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content.encode() if isinstance(content, str) else content)

    def record(self, **facts: Any) -> None:
        """Add facts to `run.json`."""
        self._run |= facts
        content = (json.dumps(self._run, indent=2, allow_nan=False, default=str) + "\n").encode()
        try:
            self.write(FACTS, content)
        except RunError:
            # On a full disk there is no place for a second file, but in the block of the first: how the run ended
            # matters more than a whole old file.
            with writing(self.path / FACTS), (self.path / FACTS).open("r+b") as file:
                file.write(content)
                file.truncate()

    def describe(self, program: Program, data_root: Path, precision: str) -> None:
        """Write what is run: copies of every file that was read, and every setting with who set it.

        The copies lie to each other as the files did, so that they import each other as before.
        """
        from expc.spec.resolved import Origin, resolved_yaml

        sources = program.sources or (program.source,)
        paths = [_absolute(source.name) for source in sources]
        top = Path(os.path.commonpath([path.parent for path in paths]))
        copies = [(SOURCES / path.relative_to(top)).as_posix() for path in paths]
        for source, copy in zip(sources, copies, strict=True):
            self.write(copy, source.text)
        for below, path in _python(program, top).items():
            with suppress(OSError):  # a module may be there without its source
                self.write((SOURCES / below).as_posix(), path.read_bytes())
        origin = Origin(
            file=copies[0],
            home=str(_absolute(program.source.home or program.source.name)),
            data=str(_absolute(data_root)),
            precision=precision,
            overrides=program.overrides,
        )
        self.write(RESOLVED, resolved_yaml(program.experiment, program.lets, origin))


def refuse_used(out: Path) -> None:
    """Raise `RunError` (E0808, E0804) where `out` cannot become a run directory."""
    span = option_span("--out", str(out))
    with writing(out):
        if out.is_dir():
            if any(path.name != LOCK for path in out.iterdir()):
                is_run = (out / FACTS).exists()
                reason = "holds another run" if is_run else "is not empty"
                raise RunError(OutputExists(span=span, path=str(out), reason=reason))
        elif out.exists() or out.is_symlink():
            raise RunError(OutputExists(span=span, path=str(out), reason="is a file"))


@contextmanager
def writing(path: Path, span: Span | None = None) -> Iterator[None]:
    """Tell an `OSError` inside as what it means for the user: E0805 where the disk is full, else E0804."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, str(path), span or option_span("--out", str(path))) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then move there. Raises OSError, and leaves what was there as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Make sure that the names in a folder survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now() -> str:
    """The time, as files have it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> Mapping[str, str]:
    """The versions of what the numbers of a run depend on."""
    import torch

    import expc

    found = {"python": platform.python_version(), "torch": torch.__version__, "expc": expc.__version__}
    for package in ("torchvision", "torchmetrics"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _absolute(path: str | Path) -> Path:
    """As imports see a path: `a/../b` is `b`, even where `a` is a link to another folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links


def _python(program: Program, top: Path) -> dict[Path, Path]:
    """The Python files beside the experiment that its `extern`s were loaded from, under their paths from `top`.

    These are the modules that were named, what else of their packages was loaded, and single files beside them.
    """
    found: dict[Path, Path] = {}
    for module, place in program.python:
        folder, package = Path(place).resolve(), module.partition(".")[0]
        below = _absolute(place).relative_to(top)
        named = folder.joinpath(*module.split("."))
        paths = [path for path in (named.with_suffix(".py"), named / "__init__.py") if path.is_file()]
        for name, loaded in list(sys.modules.items()):
            path = Path(getattr(loaded, "__file__", None) or "/").resolve()
            mine = name.partition(".")[0] == package and path.is_relative_to(folder)
            if path.suffix == ".py" and (mine or path.parent == folder):
                paths.append(path)
        found |= {below / path.relative_to(folder): path for path in paths}
    return found
