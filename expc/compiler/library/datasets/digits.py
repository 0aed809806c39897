"""Data sets of small images of one size: handwriting, clothing, and the small photographs of CIFAR, SVHN and STL-10."""

from collections.abc import Mapping
from typing import Final

from expc.compiler.library.datasets.declare import DOWNLOAD, ROOT, TRAIN, Settings, classification, labelled, split
from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import BOOL, choice, integer, optional
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType

_GREY: Final = (1, 28, 28)
_USUAL: Final = (ROOT, TRAIN, DOWNLOAD)


def small_images() -> tuple[Dataset, ...]:
    """The family. MNIST's format says how many images it holds, so a folder may hold fewer than were published."""
    return (
        classification("MNIST", "70,000 handwritten digits: 28 x 28 in grey.", _USUAL, classes=10, image=_GREY),
        classification("FashionMNIST", "70,000 pieces of clothing: 28 x 28 in grey.", _USUAL, classes=10, image=_GREY),
        classification("KMNIST", "70,000 handwritten Japanese characters: 28 x 28.", _USUAL, classes=10, image=_GREY),
        _emnist(),
        _qmnist(),
        classification(
            "CIFAR10",
            "60,000 photographs of 10 kinds: 32 x 32.",
            _USUAL,
            classes=10,
            image=(3, 32, 32),
            count=_CIFAR,
        ),
        classification(
            "CIFAR100",
            "60,000 photographs of 100 kinds: 32 x 32.",
            _USUAL,
            classes=100,
            image=(3, 32, 32),
            count=_CIFAR,
        ),
        classification(
            "SVHN",
            "Digits of house numbers: 32 x 32 in colour. It needs SciPy.",
            (ROOT, split("train", "test", "extra"), DOWNLOAD),
            classes=10,
            image=(3, 32, 32),
            count={"train": 73_257, "test": 26_032, "extra": 531_131},
        ),
        _stl10(),
        classification(
            "USPS",
            "9,298 handwritten digits of the post office: 16 x 16 in grey.",
            _USUAL,
            classes=10,
            image=(1, 16, 16),
            count={True: 7291, False: 2007},
        ),
        classification(
            "SEMEION",
            "1,593 handwritten digits: 16 x 16, black and white.",
            (ROOT, Param("download", BOOL, True, doc="fetch it where it is missing")),
            classes=10,
            image=(1, 16, 16),
            count=1593,
        ),
        classification(
            "Omniglot",
            "Handwritten characters of 50 alphabets, 20 of each: 105 x 105 in grey.",
            (ROOT, Param("background", BOOL, True, doc="30 alphabets, else the 20 others"), DOWNLOAD),
            classes={True: 964, False: 659},
            image=(1, 105, 105),
            count={True: 19_280, False: 13_180},
        ),
        classification(
            "FER2013",
            "Faces with 7 expressions: 48 x 48 in grey.",
            (ROOT, split("train", "test")),
            classes=7,
            image=(1, 48, 48),
        ),
    )


_CIFAR: Final[Mapping[bool, int]] = {True: 50_000, False: 10_000}
"""torchvision verifies checksums, so it is never another number."""


def _emnist() -> Dataset:
    classes = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 27, "digits": 10, "mnist": 10}
    return Dataset(
        name="EMNIST",
        doc="Handwritten letters and digits: 28 x 28 in grey. The letters are classes 1 to 26.",
        settings=(
            ROOT,
            Param("split", choice(*classes), doc="which characters, and which count as one"),
            Param("train", BOOL, True, doc=TRAIN.doc, by_name=True),
            Param("download", BOOL, False, doc=DOWNLOAD.doc, by_name=True),
        ),
        sample=labelled(lambda _: _GREY, lambda settings: classes[settings["split"]]),
        length=lambda _: None,
        example='EMNIST("data", "letters") -> ToTensor',
    )


def _qmnist() -> Dataset:
    def sample(settings: Settings) -> tuple[SampleField, ...]:
        label = TensorType("i64", (), 10) if settings["compat"] else TensorType("i64", (8,))
        return SampleField("image", TensorType("u8", _GREY)), SampleField("label", label)

    return Dataset(
        name="QMNIST",
        doc="MNIST made again with all of its 120,000 digits: 28 x 28 in grey.",
        settings=(
            ROOT,
            Param(
                "what",
                optional(choice("train", "test", "test10k", "test50k", "nist")),
                None,
                doc="which samples; none: as `train` says",
            ),
            Param("compat", BOOL, True, doc="the class as label, else the eight numbers known of each image"),
            TRAIN,
            Param("download", BOOL, False, doc=DOWNLOAD.doc, by_name=True),
        ),
        sample=sample,
        length=lambda _: None,
        example='QMNIST("data") -> ToTensor',
    )


def _stl10() -> Dataset:
    counts = {"train": 5000, "test": 8000, "unlabeled": 100_000, "train+unlabeled": 105_000}

    def sample(settings: Settings) -> tuple[SampleField, ...]:
        unlabelled = "unlabeled" in settings["split"]
        # Where nobody said the class, torchvision gives -1, which is no class.
        label = TensorType("i64", (), None if unlabelled else 10)
        return SampleField("image", TensorType("u8", (3, 96, 96))), SampleField("label", label)

    def length(settings: Settings) -> int:
        folded = settings["folds"] is not None and settings["split"].startswith("train")
        return counts[settings["split"]] - 4000 * folded

    return Dataset(
        name="STL10",
        doc="Photographs of 10 kinds, and 100,000 of which the kind is not known: 96 x 96.",
        settings=(
            ROOT,
            split(*counts),
            Param("folds", optional(integer(0, 9)), None, doc="one of ten choices of 1,000 samples for training"),
            DOWNLOAD,
        ),
        sample=sample,
        length=length,
        example='STL10("data") -> ToTensor',
    )
