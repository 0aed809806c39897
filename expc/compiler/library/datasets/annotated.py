"""Data sets whose samples have more than a class: masks, attributes, pairs of images."""

from typing import Any

from expc.compiler.errors.data import DataUndeclared
from expc.compiler.library.datasets.declare import DOWNLOAD, HERE, ROOT, Settings, photographs, split
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import choice, either, list_of
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType


def annotated() -> tuple[Dataset, ...]:
    """The family."""
    return (_celeba(), _pairs(), _pets(), _voc(), _boundaries(), _cityscapes())


def _sample(image: tuple[Any, ...], **fields: TensorType) -> tuple[SampleField, ...]:
    others = (SampleField(name, type_) for name, type_ in fields.items())
    return SampleField("image", TensorType("u8", image)), *others


def _mask(image: tuple[Any, ...], classes: int) -> TensorType:
    return TensorType("i64", image[1:], classes)


def _celeba() -> Dataset:
    labels = {
        "attr": TensorType("i64", (40,)),
        "identity": TensorType("i64", (), 10_178),
        "bbox": TensorType("i64", (4,)),
        "landmarks": TensorType("i64", (10,)),
    }
    counts = {"train": 162_770, "valid": 19_867, "test": 19_962, "all": 202_599}
    return Dataset(
        name="CelebA",
        doc="202,599 faces of famous people: 218 x 178, with 40 attributes that are 0 or 1.",
        settings=(
            ROOT,
            split(*counts),
            Param("target_type", choice(*labels), "attr", doc="what the label is"),
            DOWNLOAD,
        ),
        sample=lambda settings: _sample((3, 218, 178), label=labels[settings["target_type"]]),
        length=lambda settings: counts[settings["split"]],
        example='CelebA("data") -> ToTensor',
    )


def _pairs() -> Dataset:
    size = (3, 250, 250)
    return Dataset(
        name="LFWPairs",
        doc="Pairs of faces, of one person (1) or of two (0): 250 x 250.",
        settings=(
            ROOT,
            split("10fold", "train", "test"),
            Param("image_set", choice("original", "funneled", "deepfunneled"), "funneled", doc="how aligned"),
            DOWNLOAD,
        ),
        sample=lambda _: _sample(size, other=TensorType("u8", size), label=TensorType("i64", (), 2)),
        length=lambda _: None,
        example='LFWPairs("data") -> ToTensor',
    )


def _pets() -> Dataset:
    kinds = choice("category", "binary-category", "segmentation")

    def sample(settings: Settings) -> tuple[SampleField, ...]:
        given, image = settings["target_types"], photographs()
        fields = {
            "category": ("label", TensorType("i64", (), 37)),
            "binary-category": ("species", TensorType("i64", (), 2)),
            "segmentation": ("mask", _mask(image, 3)),
        }
        chosen = [given] if isinstance(given, str) else list(given)
        if len(set(chosen)) < len(chosen) or not chosen:
            raise Fault(DataUndeclared, dataset="OxfordIIITPet", reason="each of `target_types` stands once")
        return _sample(image, **dict(fields[name] for name in chosen))

    return Dataset(
        name="OxfordIIITPet",
        doc="7,349 photographs of cats and dogs of 37 breeds. The mask's classes: the pet, the background, its border.",
        settings=(
            ROOT,
            split("trainval", "test"),
            Param(
                "target_types",
                either(kinds, list_of(kinds)),
                "category",
                doc="`label`, the breed; `species`, cat or dog; `mask`: one, or a list of them",
            ),
            DOWNLOAD,
        ),
        sample=sample,
        length=lambda settings: 3680 if settings["split"] == "trainval" else 3669,
        example='OxfordIIITPet("data") -> Resize([64, 64]) -> ToTensor',
    )


def _voc() -> Dataset:
    def sample(settings: Settings) -> tuple[SampleField, ...]:
        if settings["image_set"] == "test" and settings["year"] != "2007":
            reason = f'only the masks of year="2007" for testing were published, not those of {settings["year"]}'
            raise Fault(DataUndeclared, dataset="VOCSegmentation", reason=reason)
        image = photographs()
        return _sample(image, mask=_mask(image, 21))

    return Dataset(
        name="VOCSegmentation",
        doc=(
            "Photographs with masks of 20 kinds of objects and the background. Borders, 255 in the files, are -100, "
            "which losses leave out."
        ),
        settings=(
            ROOT,
            Param("year", choice("2007", "2008", "2009", "2010", "2011", "2012"), "2012"),
            split("train", "trainval", "val", "test", called="image_set"),
            DOWNLOAD,
        ),
        sample=sample,
        length=lambda _: None,
        example='VOCSegmentation("data") -> { image, mask = (image, mask) -> Resize([64, 64]) } -> ToTensor',
    )


def _boundaries() -> Dataset:
    counts = {"train": 8498, "val": 2857, "train_noval": 5623}

    def sample(settings: Settings) -> tuple[SampleField, ...]:
        image = photographs()
        if settings["mode"] == "segmentation":
            return _sample(image, mask=_mask(image, 21))
        return _sample(image, boundaries=TensorType("f32", (20, *image[1:])))

    return Dataset(
        name="SBDataset",
        doc="Photographs with masks, or with the boundaries, of 20 kinds of objects. It needs SciPy.",
        settings=(
            ROOT,
            split(*counts, called="image_set"),
            Param("mode", choice("boundaries", "segmentation"), "boundaries", doc="`boundaries` or `mask`"),
            DOWNLOAD,
        ),
        sample=sample,
        length=lambda settings: counts[settings["image_set"]],
        example=(
            'SBDataset("data", mode="segmentation") -> { image, mask = (image, mask) -> Resize([64, 64]) } -> ToTensor'
        ),
    )


def _cityscapes() -> Dataset:
    def sample(settings: Settings) -> tuple[SampleField, ...]:
        coarse, which = settings["mode"] == "coarse", settings["split"]
        if which == ("test" if coarse else "train_extra"):
            reason = f'mode="{settings["mode"]}" has no split="{which}"'
            raise Fault(DataUndeclared, dataset="Cityscapes", reason=reason)
        image = (3, 1024, 2048)
        if settings["target_type"] == "semantic":
            return _sample(image, mask=_mask(image, 34))
        return _sample(image, instances=TensorType("i64", image[1:]))

    return Dataset(
        name="Cityscapes",
        doc="Photographs of streets with masks of 34 kinds: 1024 x 2048. It cannot be fetched without an account.",
        settings=(
            HERE,
            split("train", "test", "val", "train_extra"),
            Param("mode", choice("fine", "coarse"), "fine", doc="how exact the masks are"),
            Param("target_type", choice("instance", "semantic"), "instance", doc="`instances` or `mask`"),
        ),
        sample=sample,
        length=lambda _: None,
        example='Cityscapes("data", target_type="semantic") -> ToTensor',
    )
