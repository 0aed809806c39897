"""The manifest of a checkpoint: what files it has, and the size and the SHA-256 of each; and the hash of itself.

A manifest has one spelling. Whatever byte of it changes, it is another text than what it says of itself, or none.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from expc.frozen import dataclass

NAME: Final = "manifest.json"
FORMAT: Final = 1
SHARDS: Final = "shards"
"""The folder of what several processes have parts of."""
_FILE: Final = re.compile(rf"[a-z][a-z0-9_]*\.(safetensors|json)|{SHARDS}/[a-z0-9][a-z0-9-]*\.safetensors")
_BLOCK: Final = 1 << 20
_LARGEST: Final = 1 << 20
"""Bytes of a manifest: it names a handful of files."""


class Damaged(Exception):
    """A checkpoint cannot be used; the message says why, in words that go after "it is damaged:"."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is: `facts` has its step, versions, the hash of the experiment and the layout of processes."""

    files: Mapping[str, tuple[int, str]]
    """Size and SHA-256 by name."""
    facts: Mapping[str, Any]

    def text(self) -> bytes:
        """The file's content."""
        files = {name: {"size": size, "sha256": digest} for name, (size, digest) in sorted(self.files.items())}
        content = {"format": FORMAT, "files": files, "facts": self.facts}
        digest = hashlib.sha256(_canonical(content)).hexdigest()
        return _canonical({"manifest": content, "sha256": digest})


def verified(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest of the checkpoint in `folder` and what its files hold, every byte verified. Raises `Damaged`.

    What is in `SHARDS` is verified too, and not held: it may be more than one process has memory for.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise Damaged("it is no folder")
    manifest = _read(read_plain(folder, NAME, _LARGEST))
    there = {name for entry in os.scandir(folder) for name in _names(entry)} - {NAME}
    if there - manifest.files.keys():
        raise Damaged(f"it holds {_listed(there - manifest.files.keys())}, which its manifest does not list")
    if manifest.files.keys() - there:
        raise Damaged(f"{_listed(manifest.files.keys() - there)} is missing")
    contents = {}
    for name, (size, digest) in manifest.files.items():
        if name.startswith(f"{SHARDS}/"):
            found, length = _hashed(folder, name, size)
        else:
            contents[name] = read_plain(folder, name, size)
            found, length = hashlib.sha256(contents[name]).hexdigest(), len(contents[name])
        if length != size:
            raise Damaged(f"{name} has {length:,} bytes instead of {size:,}")
        if found != digest:
            raise Damaged(f"{name} is not what was saved")
    return manifest, contents


def hash_of(file: IO[bytes]) -> str:
    """The SHA-256 of what is left of a file."""
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()


def read_plain(folder: Path, name: str, most: int) -> bytes:
    """A file of `folder` that is no link, no pipe and no larger than `most` bytes. Raises `Damaged`."""
    with opened_plain(folder, name, most) as file:
        return file.read()


@contextmanager
def opened_plain(folder: Path, name: str, most: int) -> Iterator[IO[bytes]]:
    """As `read_plain`, to be read from. Raises `Damaged`, also where reading fails."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise Damaged(f"{name} cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(f"{name} is no plain file")
        if found.st_size > most:
            raise Damaged(f"{name} has {found.st_size:,} bytes, which is more than {most:,}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise Damaged(f"{name} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def plain_json(content: bytes, name: str) -> Any:
    """What a JSON file says. Raises `Damaged`."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name} is no JSON that expc writes") from error


def _names(entry: "os.DirEntry[str]") -> Iterator[str]:
    """The files of an entry of a checkpoint's folder: itself, or those of the one folder that may be there."""
    if entry.name == SHARDS and entry.is_dir(follow_symlinks=False):
        yield from (f"{SHARDS}/{inner.name}" for inner in os.scandir(entry))
    else:
        yield entry.name


def _hashed(folder: Path, name: str, most: int) -> tuple[str, int]:
    with opened_plain(folder, name, most) as file:
        return hash_of(file), file.tell()


def _read(text: bytes) -> Manifest:
    match plain_json(text, NAME):
        case {"manifest": {"format": int(written), "files": dict(files), "facts": dict(facts)}, "sha256": str()}:
            if written != FORMAT:
                raise Damaged(f"it is of format {written}, and this version of expc reads format {FORMAT}")
        case _:
            raise Damaged(f"{NAME} is none")
    listed = {}
    for name, entry in files.items():
        match entry:
            case {"size": int(size), "sha256": str(digest)} if _FILE.fullmatch(name) and size >= 0:
                listed[name] = (size, digest)
            case _:
                raise Damaged(f"{NAME} lists {name[:100]!r}, which is no file of a checkpoint")
    manifest = Manifest(listed, facts)
    if manifest.text() != text:
        raise Damaged(f"{NAME} is not what was saved")
    return manifest


def _canonical(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=True).encode() + b"\n"


def _listed(names: set[str]) -> str:
    return ", ".join(repr(name[:100]) for name in sorted(names)[:3])
