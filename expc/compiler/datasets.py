"""The table of data sets: torchvision's settings, and the samples that each gives.

What can only be known by reading (the classes of a folder, the vocabulary of a text) is a setting that must be given,
and that `expc.runtime.data` verifies on opening. Sizes that differ from sample to sample are symbols.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from expc.compiler.dimensions import symbol
from expc.compiler.errors.data import DataUndeclared, SplitFractions
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import BOOL, INT, POSITIVE, STR, choice, list_of, optional
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType


@cache
def datasets() -> Mapping[str, Dataset]:
    """Every data set by name."""
    table = (
        _download("MNIST", "70,000 handwritten digits: 28 x 28 pixels in grey.", (1, 28, 28), 10, known=None),
        _download("FashionMNIST", "70,000 pieces of clothing: 28 x 28 pixels in grey.", (1, 28, 28), 10, known=None),
        _download("CIFAR10", "60,000 photographs of 10 kinds: 32 x 32 pixels.", (3, 32, 32), 10, known=_CIFAR),
        _download("CIFAR100", "60,000 photographs of 100 kinds: 32 x 32 pixels.", (3, 32, 32), 100, known=_CIFAR),
        _fake_data(),
        _image_folder(),
        _text(),
    )
    return {dataset.name: dataset for dataset in table}


def split_fractions(written: Sequence[float]) -> tuple[float, ...]:
    """The fractions of all parts, which sum to 1: what is left is one more part. `(0.9,)` gives `(0.9, 0.1)`.

    Raises `Fault` with `SplitFractions`.
    """
    total = sum(written)
    if not written or min(written) <= 0 or total > 1 + _ROUNDING:
        raise Fault(SplitFractions, found=", ".join(map(str, written)) or "none")
    return tuple(written) if total > 1 - _ROUNDING else (*written, 1 - total)


def split_bounds(length: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Where each part of `length` samples ends; the last takes what rounding leaves."""
    ends = [round(length * sum(fractions[: i + 1])) for i in range(len(fractions) - 1)]
    return (*ends, length)


def split_length(length: int, fractions: Sequence[float], index: int) -> int:
    """The number of samples in part `index`."""
    bounds = (0, *split_bounds(length, fractions))
    return bounds[index + 1] - bounds[index]


_ROUNDING = 1e-9
"""How far fractions such as 0.7, 0.2, 0.1 may be from 1 because of binary arithmetic."""

_CIFAR = (50_000, 10_000)
"""Samples for training and for testing. torchvision verifies checksums, so it is never another number."""


def _download(name: str, doc: str, image: tuple[int, int, int], classes: int, known: tuple[int, int] | None) -> Dataset:
    """A data set that torchvision can fetch. MNIST's format says how many it holds, so a folder may hold fewer."""
    return Dataset(
        name=name,
        doc=doc,
        settings=(
            Param("root", STR, doc="the folder that holds it, or will"),
            Param("train", BOOL, True, doc="the samples for training, else those for testing"),
            Param("download", BOOL, False, doc="fetch it where it is missing"),
        ),
        sample=_images(lambda _: image, lambda _: classes),
        length=lambda settings: None if known is None else known[0 if settings["train"] else 1],
        example=f'{name}("data", download=true) -> ToTensor',
    )


def _fake_data() -> Dataset:
    return Dataset(
        name="FakeData",
        doc="Random images with random classes, always the same ones.",
        settings=(
            Param("size", POSITIVE, 1000, doc="the number of samples"),
            Param("image_size", list_of(POSITIVE, 3), [3, 224, 224], doc="channels, height and width"),
            Param("num_classes", POSITIVE, 10),
            Param("random_offset", INT, 0, doc="another number gives other images"),
        ),
        sample=_images(lambda settings: settings["image_size"], lambda settings: settings["num_classes"]),
        length=lambda settings: int(settings["size"]),
        example="FakeData(size=100, image_size=[3, 32, 32]) -> ToTensor",
    )


def _image_folder() -> Dataset:
    return Dataset(
        name="ImageFolder",
        doc="Images in one folder per class, the classes in alphabetical order. Images may differ in size.",
        settings=(
            Param("root", STR, doc="the folder that holds the folders of the classes"),
            Param("allow_empty", BOOL, False, doc="a class may have no image"),
            Param("classes", POSITIVE, doc="the number of classes; verified when the data is opened", by_name=True),
        ),
        sample=_images(lambda _: (3, symbol("H"), symbol("W")), lambda settings: settings["classes"]),
        length=lambda _: None,
        example='ImageFolder("photos", classes=3) -> Resize([64, 64]) -> ToTensor',
    )


def _images(size: Callable[[Any], Sequence[Any]], classes: Callable[[Any], int]) -> Callable[[Any], Any]:
    def sample(settings: Mapping[str, Any]) -> tuple[SampleField, ...]:
        image = TensorType("u8", tuple(size(settings)))
        return SampleField("image", image), SampleField("label", TensorType("i64", (), classes(settings)))

    return sample


def _text() -> Dataset:
    return Dataset(
        name="Text",
        doc="Windows of a text, side by side: `tokens`, and as `target` the same moved on by one.",
        settings=(
            Param("path", STR, doc="a text file in UTF-8, or any file for bytes"),
            Param("tokens", choice("char", "byte"), "char", doc="what is one token"),
            Param(
                "vocab",
                optional(POSITIVE),
                None,
                doc="the number of different characters, in the order of Unicode; 256 for bytes",
                by_name=True,
            ),
            Param("window", POSITIVE, doc="the number of tokens in a sample", by_name=True),
            Param(
                "stride",
                optional(POSITIVE),
                None,
                doc="from one window to the next; none: as long as a window, so that each token is predicted once",
                by_name=True,
            ),
        ),
        sample=_text_sample,
        length=lambda _: None,
        example='Text("tinyshakespeare.txt", vocab=65, window=64)',
    )


def _text_sample(settings: Mapping[str, Any]) -> tuple[SampleField, ...]:
    vocabulary = settings["vocab"]
    if settings["tokens"] == "byte":
        if vocabulary not in (None, 256):
            raise Fault(DataUndeclared, dataset="Text", reason=f"there are 256 bytes, so vocab={vocabulary} is wrong")
        vocabulary = 256
    elif vocabulary is None:
        reason = "say how many different characters the text has, as in `vocab=65`"
        raise Fault(DataUndeclared, dataset="Text", reason=reason)
    type_ = TensorType("i64", (settings["window"],), vocabulary)
    return SampleField("tokens", type_), SampleField("target", type_)
