"""The tensors of files: safetensors, what `torch.save` wrote, and the weights that torchvision publishes.

Always true: nothing in a file is run. torch's unpickler is told to make tensors and plain values alone.
"""

import pickle
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, hub

from expc.compiler.lower.torchvision import import_torchvision


class UnreadableWeightsError(Exception):
    """A file has no tensors for us. Its text says why, for people."""


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their keys, on the CPU. Raises `UnreadableWeightsError`.

    What stands in a mapping inside the file has the mapping's key before its own: `state_dict.conv1.weight`.
    """
    try:
        with path.open("rb"):  # Python says what is wrong with a path; the libraries have words of their own
            pass
        return load_file(path) if path.suffix == ".safetensors" else dict(_tensors(_unpickled(path), "", set()))
    except FileNotFoundError:
        raise UnreadableWeightsError("there is no such file") from None
    except SafetensorError as error:
        raise UnreadableWeightsError(f"it is no safetensors file, or not a whole one: {error}") from error
    except OSError as error:
        raise UnreadableWeightsError(f"it cannot be read: {error.strerror or error}") from error


def fetch(name: str) -> dict[str, Tensor]:
    """The tensors that torchvision publishes as `ResNet18_Weights.IMAGENET1K_V1`. Raises `UnreadableWeightsError`.

    They are kept where torch keeps them, `hub/checkpoints` in `TORCH_HOME`, and downloaded where they are not there.
    """
    url = str(import_torchvision().models.get_weight(name).url)
    file = Path(urlparse(url).path).name
    path = Path(hub.get_dir()) / "checkpoints" / file
    if not path.exists():
        _download(url, path)
    try:
        return {_as_torchvision_loads_it(key): tensor for key, tensor in read(path).items()}
    except UnreadableWeightsError as error:
        raise UnreadableWeightsError(f"{path}: {error}") from error


def _download(url: str, path: Path) -> None:
    digest = hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(path), digest[1] if digest else None, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # without a network; with a file that is another than it should be
        why = getattr(error, "reason", error)  # what `urllib` itself was told
        reason = f"{path} is not there, and {url} cannot be downloaded: {why}"
        raise UnreadableWeightsError(reason) from error


_RENAMED: Final = (
    (re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)"), r"\1\2"),
    (re.compile(r"(.*\.mlp)\.linear_1\.(.*)"), r"\1.0.\2"),
    (re.compile(r"(.*\.mlp)\.linear_2\.(.*)"), r"\1.3.\2"),
)
"""Keys in old files, and what torchvision makes of them when its models load them."""


def _as_torchvision_loads_it(key: str) -> str:
    return next((old.sub(new, key) for old, new in _RENAMED if old.fullmatch(key)), key)


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code is not None:
            reason = f"it holds more than tensors (`{code[1]}`), and no code of a file is run: save a `state_dict`"
            raise UnreadableWeightsError(reason) from error
        reason = f"it is no file of torch, or not a whole one: {_first_line(error)}"
        raise UnreadableWeightsError(reason) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _tensors(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value.detach()
    elif isinstance(value, Mapping) and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items():
            yield from _tensors(item, f"{prefix}{key}.", seen)
