"""Opening torchvision's data sets by torchvision's own classes: its files, its order, its labels.

A class reads what says which samples there are when it is made. Arrays are held in memory from then on; photographs
are decoded when they are asked for, and become RGB or grey as the checker says. Every sample is held against its
declared type.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.program import SampleField, Use
from expc.compiler.types import NO_CLASS, TORCH_NAMES, TensorType
from expc.diagnostics import Span
from expc.runtime.data.datasets import Kind, Raw, Stored
from expc.runtime.data.download import fetch
from expc.runtime.data.randomness import Indices
from expc.runtime.data.refusing import damaged, need_samples, not_found, outside, unexpected, without_advice
from expc.runtime.errors import RunError
from expc.runtime.errors.data import UnexpectedData
from expc.runtime.errors.output import from_os_error
from expc.runtime.errors.training import PackageMissing

NEEDS: Final[Mapping[str, str]] = {
    "Caltech101": "scipy",
    "Flowers102": "scipy",
    "LSUN": "lmdb",
    "PCAM": "h5py",
    "SBDataset": "scipy",
    "StanfordCars": "scipy",
    "SVHN": "scipy",
}
"""The packages that torchvision needs for a data set, and does not install."""

PROBED: Final = 8
"""How many samples are read to see whether a list is that of their labels."""

MAKING: Final[Mapping[str, str]] = {"Caltech101": "caltech101", "Caltech256": "caltech256", "INaturalist": "."}
"""Data sets whose class makes the folder that it looks into: the folder below that of the data."""


def open_vision(use: Use, root: Path) -> "Stored | Decoded":
    """A data set of `torchvision.datasets`. Raises `RunError`."""
    package = NEEDS.get(use.name)
    if package is not None and find_spec(package) is None:
        raise RunError(PackageMissing(span=use.span, dataset=use.name, package=package))
    folder = root / use.settings["root"]
    made = _made(use, folder, root)
    fields = use.declaration.sample(use.settings)
    need_samples(use, len(made))
    expected = use.declaration.length(use.settings)
    if expected is not None and expected != len(made):
        raise unexpected(use, folder, f"{expected} samples", f"{len(made)}: the data is incomplete")
    _verify_classes(use, folder, made, fields)
    if isinstance(getattr(made, "data", None), np.ndarray | Tensor):
        return _arrays(use, folder, made, fields)
    return Decoded(use, folder, made, fields)


def _made(use: Use, folder: Path, root: Path) -> Any:
    """Torchvision's object, after fetching the data where it is missing and the experiment says so."""
    import_torchvision()
    from torchvision import datasets

    place = folder / MAKING.get(use.name, "")
    if use.name in MAKING and not use.settings["download"] and not place.is_dir():
        raise not_found(use, place, root, "there is no folder")
    reader = getattr(datasets, use.name)
    given = {name: value for name, value in use.settings.items() if name not in ("root", "download")}
    if use.name == "INaturalist":
        del given["classes"]
    present = {**given, "download": False} if "download" in use.settings else given
    try:
        return _constructed(use, reader, folder, present, root)
    except RunError as error:
        if error.problem.code != "E0801" or not use.settings.get("download"):
            raise
    fetch(use, folder, lambda temporary: reader(temporary, **{**given, "download": True}))
    return _constructed(use, reader, folder, present, root)


def _constructed(use: Use, reader: Any, folder: Path, given: Mapping[str, Any], root: Path) -> Any:
    try:
        return reader(str(folder), **given)
    except ImportError as error:
        if not folder.is_dir() or not any(folder.iterdir()):
            # A package that is missing matters where there is something to read with it.
            raise not_found(use, folder, root, "there is nothing") from error
        raise RunError(PackageMissing(span=use.span, dataset=use.name, package=error.name or str(error))) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = f"there is no {Path(error.filename).name}" if error.filename else str(error).split("\n")[0].rstrip(".")
        raise not_found(use, folder, root, reason) from error
    except OSError as error:
        if error.errno is not None:
            raise from_os_error(error, str(folder), use.span) from error
        raise damaged(use.name, use.span, folder, str(error)) from error
    except RuntimeError as error:
        if any(words in str(error) for words in ("not found", "not present", "does not exist")):
            raise not_found(use, folder, root, "there are no files, or not all of them,") from error
        raise damaged(use.name, use.span, folder, without_advice(str(error))) from error
    except Exception as error:  # readers of foreign formats raise anything when a file is damaged
        reason = str(error).split("\n")[0] or type(error).__name__
        raise damaged(use.name, use.span, folder, f"it is not whole ({reason})") from error


def _verify_classes(use: Use, folder: Path, made: Any, fields: tuple[SampleField, ...]) -> None:
    """As many classes must be there as the checker says, where torchvision's object tells."""
    label = next((field for field in fields if field.name == "label"), None)
    found = getattr(made, "classes", None)
    if use.name == "INaturalist":
        level = use.settings["target_type"]
        found = made.all_categories if level == "full" else made.categories_index[level]
    if label is None or label.type.classes is None or found is None or len(found) == label.type.classes:
        return
    raise unexpected(use, folder, f"{label.type.classes} classes", f"{len(found)}")


def _arrays(use: Use, folder: Path, made: Any, fields: tuple[SampleField, ...]) -> Stored:
    """Images that torchvision holds in one array, `[n, H, W]` or `[n, C, H, W]`, with their labels."""
    images = torch.as_tensor(made.data)
    labels = torch.as_tensor(made.labels if hasattr(made, "labels") else made.targets).long()
    if use.name == "QMNIST" and use.settings["compat"]:
        labels = labels[:, 0]
    found = {"image": images[:, None] if images.ndim == 3 else images, "label": labels}
    for field in fields:
        values = found[field.name]
        if wrong := _wrong(values[0], field.type) or _other_class(values, field.type):
            raise unexpected(use, folder, f"`{field.name}` of {field.type}", wrong)
    return Stored(found)


class Decoded:
    """Samples that torchvision's object makes one by one."""

    kind: Kind = "read"

    def __init__(self, use: Use, folder: Path, made: Any, fields: tuple[SampleField, ...]) -> None:
        self._dataset, self._span, self._folder = use.name, use.span, folder
        self._made, self._fields = made, fields

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._made)

    def fetch(self, indices: Indices) -> Raw:
        """Each field as one tensor where its size is fixed, else as a list. Raises `RunError`."""
        samples = [self._sample(int(index)) for index in indices]
        made: Raw = {}
        for place, field in enumerate(self._fields):
            values = [sample[place] for sample in samples]
            fixed = all(isinstance(size, int) for size in field.type.dims)
            made[field.name] = torch.stack(values) if fixed else values
        return made

    def known(self, field: str) -> Tensor | None:
        """The labels, where torchvision's object lists them under one of its usual names, as some samples confirm."""
        for name in ("targets", "_labels", "labels", "_samples", "samples"):
            found = getattr(self._made, name, None)
            if field != "label" or not isinstance(found, list | tuple) or len(found) != len(self):
                continue
            labels = [row[-1] if isinstance(row, list | tuple) else row for row in found]
            if not all(isinstance(label, int) for label in labels):
                continue
            probe = np.linspace(0, len(self) - 1, min(PROBED, len(self))).astype(np.int64)
            if torch.tensor([labels[i] for i in probe]).equal(torch.stack(list(self.fetch(probe)["label"]))):
                return torch.tensor(labels)
        return None

    def _sample(self, index: int) -> list[Tensor]:
        try:
            parts = list(_flat(self._made[index]))
            values = [_tensor(self._dataset, part, field.type) for part, field in zip(parts, self._fields, strict=True)]
        except Exception as error:  # Pillow raises whatever a decoder meets, SyntaxError included
            reason = str(error).split("\n")[0]
            raise damaged(self._dataset, self._span, self._folder, f"sample {index}: {reason}") from error
        for value, field in zip(values, self._fields, strict=True):
            found = _wrong(value, field.type) or _other_class(value, field.type)
            if found:
                raise _other_sample(self._dataset, self._span, self._folder, index, field, found)
        return values


def _other_sample(dataset: str, span: Span, folder: Path, index: int, field: SampleField, found: str) -> RunError:
    declared, found = f"`{field.name}` of {field.type}", f"{found} at sample {index}"
    return RunError(UnexpectedData(span=span, dataset=dataset, path=str(folder), declared=declared, found=found))


def _flat(sample: Any) -> Iterator[Any]:
    for part in sample:
        if isinstance(part, tuple | list):
            yield from _flat(part)
        else:
            yield part


def _tensor(dataset: str, part: Any, type_: TensorType) -> Tensor:
    """One field of a sample, in the dtype that is declared."""
    dtype = getattr(torch, TORCH_NAMES[type_.dtype])
    if type_.dtype == "u8" and type_.rank == 3:
        pixels = np.array(part.convert("RGB" if type_.dims[0] == 3 else "L"))
        image = torch.from_numpy(pixels)
        return image.permute(2, 0, 1).contiguous() if image.ndim == 3 else image[None]
    values = torch.as_tensor(np.array(part) if not isinstance(part, Tensor) else part).to(dtype)
    if dataset == "VOCSegmentation":
        return values.where(values != 255, NO_CLASS)
    # The three classes of a pet's mask are numbered from 1.
    return values - 1 if dataset == "OxfordIIITPet" and type_.rank == 2 else values


def _wrong(value: Tensor, type_: TensorType) -> str:
    """How the shape of one sample differs from what is declared; empty where it does not."""
    same = len(value.shape) == type_.rank and all(
        said == actual for said, actual in zip(type_.dims, value.shape, strict=True) if isinstance(said, int)
    )
    return "" if same else f"{list(value.shape)}"


def _other_class(values: Tensor, type_: TensorType) -> str:
    """A class that is none of those declared; empty where there is none."""
    return "" if (found := outside(values, type_)) is None else f"a class {found}"
