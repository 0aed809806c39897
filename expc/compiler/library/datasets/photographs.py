"""Data sets of photographs in classes. Where the images differ in size, height and width are symbols."""

from typing import Any

from expc.compiler.errors.data import DataUndeclared
from expc.compiler.library.datasets.declare import (
    DOWNLOAD,
    HERE,
    ROOT,
    Settings,
    classification,
    labelled,
    photographs,
    split,
)
from expc.compiler.ops.declare import Fault, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, choice, either, integer, list_of, optional
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType


def photograph_sets() -> tuple[Dataset, ...]:
    """The family."""
    return (
        _one_label("Caltech101", "8,677 photographs of objects of 101 kinds.", "target_type", 101, 8677),
        classification(
            "Caltech256",
            "30,607 photographs of objects of 256 kinds, and of none of them.",
            (ROOT, DOWNLOAD),
            classes=257,
            count=30_607,
        ),
        classification(
            "CLEVRClassification",
            "Pictures of 3 to 10 simple things: 320 x 480. The label is how many; `test` has none.",
            (ROOT, split("train", "val"), DOWNLOAD),
            classes=11,
            image=(3, 320, 480),
            count={"train": 70_000, "val": 15_000},
        ),
        classification(
            "Country211",
            "Photographs from 211 countries.",
            (ROOT, split("train", "valid", "test"), DOWNLOAD),
            classes=211,
            count={"train": 31_650, "valid": 10_550, "test": 21_100},
        ),
        classification(
            "DTD",
            "5,640 photographs of textures of 47 kinds, divided in ten ways.",
            (
                ROOT,
                split("train", "val", "test"),
                Param("partition", integer(1, 10), 1, doc="which way"),
                DOWNLOAD,
            ),
            classes=47,
            count=1880,
        ),
        classification(
            "EuroSAT",
            "27,000 photographs of the land from above, of 10 kinds: 64 x 64.",
            (ROOT, DOWNLOAD),
            classes=10,
            image=(3, 64, 64),
            count=27_000,
        ),
        _aircraft(),
        classification(
            "Flowers102",
            "8,189 photographs of flowers of 102 kinds. It needs SciPy.",
            (ROOT, split("train", "val", "test"), DOWNLOAD),
            classes=102,
            count={"train": 1020, "val": 1020, "test": 6149},
        ),
        classification(
            "Food101",
            "101,000 photographs of food of 101 kinds.",
            (ROOT, split("train", "test"), DOWNLOAD),
            classes=101,
            count={"train": 75_750, "test": 25_250},
        ),
        classification(
            "GTSRB",
            "Photographs of German traffic signs of 43 kinds.",
            (ROOT, split("train", "test"), DOWNLOAD),
            classes=43,
        ),
        classification(
            "ImageNet",
            "Photographs of 1,000 kinds: those of the ILSVRC of 2012. It cannot be fetched without an account.",
            (HERE, split("train", "val")),
            classes=1000,
            count={"train": 1_281_167, "val": 50_000},
        ),
        classification(
            "Imagenette",
            "Photographs of 10 kinds that are easily told apart, out of ImageNet.",
            (
                ROOT,
                split("train", "val"),
                Param("size", choice("full", "320px", "160px"), "full", doc="of the smaller side"),
                DOWNLOAD,
            ),
            classes=10,
            count={"train": 9469, "val": 3925},
        ),
        _inaturalist(),
        classification(
            "LFWPeople",
            "13,233 faces of 5,749 people: 250 x 250.",
            (
                ROOT,
                split("10fold", "train", "test"),
                Param("image_set", choice("original", "funneled", "deepfunneled"), "funneled", doc="how aligned"),
                DOWNLOAD,
            ),
            classes=5749,
            image=(3, 250, 250),
        ),
        _lsun(),
        classification(
            "PCAM",
            "Pieces of tissue, healthy or not: 96 x 96. It needs h5py.",
            (ROOT, split("train", "test", "val"), DOWNLOAD),
            classes=2,
            image=(3, 96, 96),
            count={"train": 262_144, "test": 32_768, "val": 32_768},
        ),
        _places(),
        classification(
            "RenderedSST2",
            "Sentences about films as images, favourable or not: 448 x 448.",
            (ROOT, split("train", "val", "test"), DOWNLOAD),
            classes=2,
            image=(3, 448, 448),
            count={"train": 6920, "val": 872, "test": 1821},
        ),
        classification(
            "StanfordCars",
            "16,185 photographs of cars of 196 kinds. It needs SciPy.",
            (ROOT, split("train", "test"), DOWNLOAD),
            classes=196,
            count={"train": 8144, "test": 8041},
        ),
        classification(
            "SUN397",
            "108,754 photographs of places of 397 kinds.",
            (ROOT, DOWNLOAD),
            classes=397,
            count=108_754,
        ),
    )


def _one_label(name: str, doc: str, setting: str, classes: int, count: int) -> Dataset:
    kind = Param(setting, choice("category"), "category", doc="what the label is")
    return classification(name, doc, (ROOT, kind, DOWNLOAD), classes=classes, count=count)


def _aircraft() -> Dataset:
    counts = {"trainval": 6667, "train": 3334, "val": 3333, "test": 3333}
    classes = {"variant": 100, "family": 70, "manufacturer": 30}
    return Dataset(
        name="FGVCAircraft",
        doc="10,000 photographs of aircraft of 100 kinds.",
        settings=(
            ROOT,
            split("train", "val", "trainval", "test", default="trainval"),
            Param("annotation_level", choice(*classes), "variant", doc="how finely kinds are told apart"),
            DOWNLOAD,
        ),
        sample=labelled(lambda _: photographs(), lambda settings: classes[settings["annotation_level"]]),
        length=lambda settings: counts[settings["split"]],
        example='FGVCAircraft("data") -> Resize([64, 64]) -> ToTensor',
    )


def _places() -> Dataset:
    counts = {"train-standard": 1_803_460, "train-challenge": 8_026_628, "val": 36_500}
    return Dataset(
        name="Places365",
        doc="Photographs of places of 365 kinds.",
        settings=(ROOT, split(*counts), Param("small", BOOL, False, doc="all of 256 x 256"), DOWNLOAD),
        sample=labelled(lambda settings: (3, 256, 256) if settings["small"] else photographs(), lambda _: 365),
        length=lambda settings: counts[settings["split"]],
        example='Places365("data", split="val", small=true) -> ToTensor',
    )


_SPECIES = {"2017": 5089, "2018": 8142, "2019": 1010}
"""How many kinds each of the first competitions has; those of 2021 have 10,000."""


def _inaturalist() -> Dataset:
    versions = ("2017", "2018", "2019", "2021_train", "2021_train_mini", "2021_valid")
    levels = ("full", "kingdom", "phylum", "class", "order", "family", "genus", "super")

    def classes(settings: Settings) -> Any:
        version, level, declared = settings["version"], settings["target_type"], settings["classes"]
        known = _SPECIES.get(version, 10_000) if level == "full" else None
        if (level == "super") == version.startswith("2021") and level != "full":
            reason = f'version="{version}" has no target_type="{level}"'
            raise Fault(DataUndeclared, dataset="INaturalist", reason=reason)
        if declared is None and known is None:
            reason = f"say how many classes there are at the level `{level}`, as in `classes=13`"
            raise Fault(DataUndeclared, dataset="INaturalist", reason=reason)
        if None not in (declared, known) and declared != known:
            reason = f'version="{version}" has {known} classes, so classes={declared} is wrong'
            raise Fault(DataUndeclared, dataset="INaturalist", reason=reason)
        return known if declared is None else int(declared)

    return Dataset(
        name="INaturalist",
        doc="Photographs of animals, plants and fungi.",
        settings=(
            ROOT,
            Param("version", choice(*versions), "2021_train"),
            Param("target_type", choice(*levels), "full", doc="what the label is"),
            DOWNLOAD,
            Param(
                "classes",
                optional(POSITIVE),
                None,
                doc="how many there are, where the label is not the species; verified when the data is opened",
                by_name=True,
            ),
        ),
        sample=labelled(lambda _: photographs(), classes),
        length=lambda _: None,
        example='INaturalist("data", version="2021_valid") -> Resize([64, 64]) -> ToTensor',
    )


def _lsun() -> Dataset:
    def sample(settings: Settings) -> tuple[SampleField, ...]:
        given = settings["classes"]
        count = len(given) if isinstance(given, list | tuple) else 1 if given == "test" else 10
        label = TensorType("i64", (), count)
        return SampleField("image", TensorType("u8", photographs())), SampleField("label", label)

    scenes = "bedroom bridge church_outdoor classroom conference_room dining_room kitchen living_room restaurant tower"
    things = (
        "airplane bicycle bird boat bottle bus car cat chair cow dining_table dog horse motorbike person potted_plant "
        "sheep sofa train tv-monitor"
    )
    sets = [f"{name}_{part}" for name in f"{scenes} {things}".split() for part in ("train", "val")]
    return Dataset(
        name="LSUN",
        doc="Photographs of 10 kinds of places, or of any of 30 kinds. It needs lmdb.",
        settings=(
            HERE,
            Param(
                "classes",
                either(choice("train", "val", "test"), list_of(choice(*sets))),
                "train",
                doc='which of its samples, or which classes: `["bedroom_train", "church_outdoor_train"]`',
            ),
        ),
        sample=sample,
        length=lambda _: None,
        example='LSUN("data", classes="val") -> Resize([64, 64]) -> ToTensor',
    )
