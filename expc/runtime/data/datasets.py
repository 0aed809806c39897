"""Opening data sets: what was declared is verified, and samples become tensors.

An open data set holds what it can in memory, so that a batch is one indexing operation; images of a folder are decoded
when they are asked for.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.program import Use
from expc.runtime.data.download import fetch
from expc.runtime.data.randomness import Indices, beside
from expc.runtime.data.refusing import damaged, need_samples, not_found, read, unexpected, unreadable
from expc.runtime.errors import RunError
from expc.runtime.errors.data import TooLittleData

Raw = dict[str, Tensor | list[Tensor]]
"""The fields of several samples: one tensor `[B, ...]`, or a list of tensors where sizes may differ."""


Kind = Literal["held", "read", "python"]


class Samples(Protocol):
    """An open data set."""

    kind: Kind
    """Whether its samples are in memory, are made anew at each asking, or come from Python code, which may draw."""

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def fetch(self, indices: Indices) -> Raw:
        """The samples at `indices`. Raises `RunError` where one cannot be read."""
        ...


def data_root(folder: Path) -> Path:
    """Where relative paths of an experiment in `folder` start: there, or where `EXPC_DATA` says."""
    return Path(os.environ.get("EXPC_DATA") or folder)


def open_dataset(use: Use, root: Path) -> Samples:
    """The data set that `use` declares, its relative path starting at `root`. Raises `RunError`."""
    if use.name in _OPEN:
        return _OPEN[use.name](use, root)
    from expc.runtime.data.vision import open_vision

    return open_vision(use, root)


READ_AT_ONCE: Final = 256
"""How many samples are read for one field of them."""


def column(samples: Samples, field: str, indices: Indices) -> Tensor:
    """One field of the samples at `indices`, `[n, ...]`, without decoding images where labels are known apart.

    Raises `RunError` where a sample cannot be read.
    """
    known = samples.known(field) if isinstance(samples, Labelled) else None
    if known is not None:
        return known[torch.from_numpy(indices)]
    parts = [
        samples.fetch(indices[start : start + READ_AT_ONCE])[field] for start in range(0, len(indices), READ_AT_ONCE)
    ]
    return torch.cat([part if isinstance(part, Tensor) else torch.stack(part) for part in parts])


@runtime_checkable
class Labelled(Protocol):
    """A data set that knows some fields of all samples without reading them."""

    def known(self, field: str) -> Tensor | None:
        """The field `[n]`; none where it is not known."""
        ...


def class_names(use: Use, root: Path) -> list[str] | None:
    """What the classes of a data set are called, in their order; none where nothing tells without opening it."""
    if use.name == "Csv" and use.settings["classes"] is not None:
        return list(use.settings["classes"])
    folder = root / use.settings["root"] if use.name == "ImageFolder" else None
    if folder is None or not folder.is_dir():
        return None
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


class Stored:
    """Samples that are held in memory, one tensor `[n, ...]` for each field."""

    kind: Kind = "held"

    def __init__(self, fields: Mapping[str, Tensor]) -> None:
        self._fields = fields
        self.size = sum(values.nbytes for values in fields.values())
        """Bytes."""

    def on(self, device: torch.device) -> "Stored":
        """The same samples there."""
        return Stored({name: values.to(device) for name, values in self._fields.items()})

    def __len__(self) -> int:
        return len(next(iter(self._fields.values())))

    def fetch(self, indices: Indices) -> Raw:
        """One indexing operation for each field."""
        return {name: values.index_select(0, beside(indices, values)) for name, values in self._fields.items()}


class Windows:
    """Windows of a text, `stride` tokens apart; `target` is one token later."""

    kind: Kind = "held"

    def __init__(self, tokens: Tensor, window: int, stride: int) -> None:
        self._tokens = tokens
        self._offsets = torch.arange(window + 1, device=tokens.device)
        self._stride = stride
        self.size = tokens.nbytes
        """Bytes."""

    def on(self, device: torch.device) -> "Windows":
        """The same samples there."""
        return Windows(self._tokens.to(device), len(self._offsets) - 1, self._stride)

    def __len__(self) -> int:
        return (len(self._tokens) - len(self._offsets)) // self._stride + 1

    def fetch(self, indices: Indices) -> Raw:
        """Tokens `[B, window]` and targets, i64."""
        found = self._tokens[beside(indices, self._tokens)[:, None] * self._stride + self._offsets].long()
        return {"tokens": found[:, :-1].contiguous(), "target": found[:, 1:].contiguous()}


class Fake:
    """Random images, the same numbers as `torchvision.datasets.FakeData`.

    That class seeds torch's own generators for each sample, those of GPUs without restoring them; this one has its own.
    """

    kind: Kind = "read"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    def __len__(self) -> int:
        return int(self._settings["size"])

    def fetch(self, indices: Indices) -> Raw:
        """Images u8 `[B, C, H, W]` and labels."""
        made = [self._make(int(index)) for index in indices]
        return {"image": torch.stack([image for image, _ in made]), "label": torch.stack([label for _, label in made])}

    def _make(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index + self._settings["random_offset"])
        image = torch.randn(*self._settings["image_size"], generator=generator)
        label = torch.randint(0, self._settings["num_classes"], (), generator=generator)
        return image.mul(255).byte(), label


LOOKED_INTO: Final = 10_000
"""How many images of a folder are looked into when it is opened, in a second or so."""


class Folder:
    """Images in files, each decoded when it is asked for."""

    kind: Kind = "read"

    def __init__(self, use: Use, files: list[tuple[str, int]], load: Callable[[str], Any]) -> None:
        self._dataset, self._span = use.name, use.span
        self._files = files
        self._load = load
        self.files: Final = [path for path, _ in files]
        """The path of each sample."""

    def __len__(self) -> int:
        return len(self._files)

    def fetch(self, indices: Indices) -> Raw:
        """A list of images u8 `[3, H, W]`, and labels."""
        chosen = [self._files[index] for index in indices]
        labels = torch.tensor([label for _, label in chosen])
        return {"image": [self._decode(path) for path, _ in chosen], "label": labels}

    def known(self, field: str) -> Tensor | None:
        """The labels."""
        return torch.tensor([label for _, label in self._files]) if field == "label" else None

    def verify(self) -> None:
        """Look at the files, and into the first bytes of many: a run would meet what is no image hours later.

        Raises `RunError`.
        """
        from PIL import Image

        step = -(-len(self._files) // LOOKED_INTO)
        for number, (path, _) in enumerate(self._files):
            with self._readable(path):
                if not Path(path).stat().st_size:
                    raise ValueError("it is empty")
                if number % step == 0:
                    with Image.open(path):
                        pass

    def _decode(self, path: str) -> Tensor:
        with self._readable(path):
            pixels = np.array(self._load(path))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    @contextmanager
    def _readable(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno is not None:
                raise unreadable(self._dataset, self._span, Path(path), error) from error
            told = "it is no image" if type(error).__name__ == "UnidentifiedImageError" else str(error)
            raise damaged(self._dataset, self._span, Path(path), told) from error
        except Exception as error:  # Pillow raises whatever a decoder meets, SyntaxError included
            raise damaged(self._dataset, self._span, Path(path), str(error)) from error


# ------------------------------------------------------------------------------------------------ opening


def _open_mnist(use: Use, root: Path) -> Samples:
    import_torchvision()
    from torchvision import datasets
    from torchvision.datasets.mnist import read_image_file, read_label_file

    reader = getattr(datasets, use.name)
    folder = root / use.settings["root"]
    raw = Path(use.name, "raw")
    pairs = {part: (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")}
    part = "train" if use.settings["train"] else "t10k"
    there = {part: [name for name in pair if (folder / raw / name).is_file()] for part, pair in pairs.items()}
    missing = [name for name in pairs[part] if name not in there[part]]
    if len(missing) == 2 and use.settings["download"]:
        # Images of one origin are never joined with labels of another.
        wanted = [str(raw / name) for other, pair in pairs.items() if not there[other] for name in pair]
        fetch(use, folder, lambda temporary: reader(temporary, download=True), wanted)
    elif missing:
        raise not_found(use, folder / raw, root, f"there is no {' and no '.join(missing)}")
    images = read(use, folder / raw / pairs[part][0], read_image_file)
    labels = read(use, folder / raw / pairs[part][1], read_label_file)
    _verify_mnist(use, folder / raw, images, labels)
    return Stored({"image": images[:, None], "label": labels})


def _verify_mnist(use: Use, path: Path, images: Tensor, labels: Tensor) -> None:
    if images.shape[1:] != (28, 28):
        raise unexpected(use, path, "images of 28 x 28", f"{images.shape[1]} x {images.shape[2]}")
    if len(images) != len(labels):
        raise damaged(use.name, use.span, path, f"it holds {len(images)} images and {len(labels)} labels")
    if len(labels) and int(labels.max()) >= 10:
        raise unexpected(use, path, "10 classes", f"a label {int(labels.max())}")
    need_samples(use, len(images))


def _open_cifar(use: Use, root: Path) -> Samples:
    import_torchvision()
    from torchvision import datasets

    reader = getattr(datasets, use.name)
    folder = root / use.settings["root"]
    path = folder / reader.base_folder
    if not path.exists():
        if not use.settings["download"]:
            raise not_found(use, path, root, "there are no files")
        fetch(use, folder, lambda temporary: reader(temporary, download=True), [reader.base_folder])

    def batches(_: str) -> Any:
        try:
            return reader(str(folder), train=use.settings["train"])
        except RuntimeError as error:
            reason = "files are missing, or are not those that were published"
            raise damaged(use.name, use.span, path, reason) from error

    found = read(use, path, batches)
    images = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
    return Stored({"image": images, "label": torch.tensor(found.targets)})


def _open_fake_data(use: Use, _: Path) -> Samples:
    return Fake(use.settings)


def _open_image_folder(use: Use, root: Path) -> Samples:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    folder = root / use.settings["root"]
    if not folder.is_dir():
        raise not_found(use, folder, root, "there is no folder")
    try:
        found = ImageFolder(str(folder), allow_empty=use.settings["allow_empty"])
    except OSError as error:
        if error.errno is not None:
            raise unreadable(use.name, use.span, folder, error) from error
        _, _, empty = str(error).partition("no valid file for the classes ")
        reason = f"there are no images of {empty.partition('. ')[0]}" if empty else "there is no folder of a class"
        raise not_found(use, folder, root, reason) from error
    if len(found.classes) != use.settings["classes"]:
        folders = ", ".join(found.classes[:8]) + (", ..." if len(found.classes) > 8 else "")
        raise unexpected(use, folder, f"classes={use.settings['classes']}", f"{len(found.classes)} folders: {folders}")
    need_samples(use, len(found.samples))
    folder_of_images = Folder(use, found.samples, found.loader)
    folder_of_images.verify()
    return folder_of_images


def _open_text(use: Use, root: Path) -> Samples:
    path = root / use.settings["path"]
    if not path.is_file():
        raise not_found(use, path, root, "there is no file")
    tokens = read(use, path, _bytes if use.settings["tokens"] == "byte" else _characters)
    window = use.settings["window"]
    if use.settings["tokens"] == "char":
        count = int(tokens.max()) + 1 if len(tokens) else 0
        if count != use.settings["vocab"]:
            raise unexpected(use, path, f"vocab={use.settings['vocab']}", f"{count} different characters")
    if len(tokens) <= window:
        needed = f"{window + 1} tokens"
        problem = TooLittleData(span=use.span, what=f"a window of {window}", needed=needed, found=len(tokens))
        raise RunError(problem)
    return Windows(tokens, window, use.settings["stride"] or window)


def _bytes(path: str) -> Tensor:
    # Not by `numpy.fromfile`, which takes a disk that fails for the end of the file.
    return torch.from_numpy(np.frombuffer(bytearray(Path(path).read_bytes()), dtype=np.uint8))


def _characters(path: str) -> Tensor:
    """The number of each character among all that the text has, in the order of Unicode."""
    points = np.frombuffer(Path(path).read_bytes().decode("utf-8").encode("utf-32-le"), dtype=np.uint32)
    _, numbers = np.unique(points, return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int32))


_OPEN: Mapping[str, Callable[[Use, Path], Samples]] = {
    "MNIST": _open_mnist,
    "FashionMNIST": _open_mnist,
    "KMNIST": _open_mnist,
    "CIFAR10": _open_cifar,
    "CIFAR100": _open_cifar,
    "FakeData": _open_fake_data,
    "ImageFolder": _open_image_folder,
    "Text": _open_text,
}
