"""Data sets of any kind: random images, folders of images, text."""

from collections.abc import Mapping
from typing import Any

from expc.compiler.dimensions import symbol
from expc.compiler.errors.data import DataUndeclared
from expc.compiler.library.datasets.declare import labelled
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import BOOL, INT, POSITIVE, STR, choice, list_of, optional
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType


def general() -> tuple[Dataset, ...]:
    """The family."""
    return _fake_data(), _image_folder(), _text()


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
        sample=labelled(lambda settings: settings["image_size"], lambda settings: settings["num_classes"]),
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
        sample=labelled(lambda _: (3, symbol("H"), symbol("W")), lambda settings: settings["classes"]),
        length=lambda _: None,
        example='ImageFolder("photos", classes=3) -> Resize([64, 64]) -> ToTensor',
    )


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
