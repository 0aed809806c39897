"""Data: what samples are, once torchvision's own transforms have been run on one of them."""

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from oracle.bodies import refuse
from oracle.errors import NotCovered, asking
from oracle.library import DATASETS, TRANSFORMS
from oracle.sections import Part, Section, whole
from oracle.values import Argument, Lasting, Pipeline, Recipe, Tensor

_IMAGES = {"MNIST": ((1, 28, 28), 10), "FashionMNIST": ((1, 28, 28), 10)}
_IMAGES |= {"CIFAR10": ((3, 32, 32), 10), "CIFAR100": ((3, 32, 32), 100)}


@dataclass(frozen=True)
class Field:
    """One field of a sample: a value of its type, and the number of classes where it is one."""

    name: str
    value: torch.Tensor
    classes: int | None = None

    def batch(self, size: int) -> Tensor:
        """A batch of such values, on the meta device; classes are known, and all of them occur."""
        shape = (size, *self.value.shape)
        data = torch.empty(shape, dtype=self.value.dtype, device="meta")
        if self.classes is None:
            return Tensor(data)
        known = (torch.arange(data.numel()) % self.classes).flip(0)
        known[-1:] = self.classes - 1
        return Tensor(data, known.reshape(shape))


@cache
def _transforms() -> Any:
    from expc.compiler.lower.torchvision import import_torchvision

    import_torchvision()
    from torchvision.transforms import v2

    return v2


def sample(value: Any) -> list[Field]:
    """The fields of a sample of a role. Raises `LanguageRefused` and `TorchRefused`."""
    stages = list(value.stages) if isinstance(value, Pipeline) else [value]
    head, *rest = stages
    if not isinstance(head, Recipe) or head.target is not None or head.name not in DATASETS:
        refuse("no data set", str(getattr(head, "name", head)))
    first, *others = _dataset(head)
    for stage in rest:
        if isinstance(stage, Part):
            _split(stage)
            continue
        if isinstance(stage, Lasting) or not isinstance(stage, Recipe) or stage.target or stage.name not in TRANSFORMS:
            refuse("no transform", str(getattr(stage, "name", stage)))
        if first.name != "image" or first.value.dim() != 3:
            refuse("transform", f"{stage.name} of no image")
        first = Field(first.name, _transformed(stage, first.value))
    return [first, *others]


def _dataset(recipe: Recipe) -> list[Field]:
    if recipe.name in _IMAGES:
        shape, classes = _IMAGES[recipe.name]
        kinds = {"root": _is_text, "train": _is_bool, "download": _is_bool}
        _settings(recipe, kinds, {"train": True, "download": False})
        return _image(shape, classes)
    if recipe.name == "FakeData":
        kinds = {"size": whole(1), "image_size": _sizes, "num_classes": whole(1), "random_offset": whole(-(10**9))}
        defaults = {"size": 1000, "image_size": (3, 224, 224), "num_classes": 10, "random_offset": 0}
        settings = _settings(recipe, kinds, defaults)
        return _image(settings["image_size"], settings["num_classes"])
    if recipe.name == "Text":
        optional = {"vocab": _or_none(whole(1)), "window": whole(1), "stride": _or_none(whole(1))}
        kinds = {"path": _is_text, "tokens": lambda value: value in ("char", "byte"), **optional}
        settings = _settings(recipe, kinds, {"tokens": "char", "vocab": None, "stride": None}, by_name=set(optional))
        classes = settings["vocab"]
        if settings["tokens"] == "byte":
            if classes not in (None, 256):
                refuse("vocabulary", str(classes))
            classes = 256
        if classes is None:
            refuse("vocabulary", "is not said")
        window = torch.zeros(settings["window"], dtype=torch.int64)
        return [Field("tokens", window, classes), Field("target", window, classes)]
    raise NotCovered(recipe.name)


def _image(shape: tuple[int, ...], classes: int) -> list[Field]:
    image = torch.zeros(shape, dtype=torch.uint8)
    return [Field("image", image), Field("label", torch.zeros((), dtype=torch.int64), classes)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(kind: Any) -> Any:
    return lambda value: value is None or kind(value)


def _sizes(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(whole(1), value))


def _settings(recipe: Recipe, kinds: dict[str, Any], defaults: dict[str, Any], by_name: Any = ()) -> dict[str, Any]:
    values = by_names(recipe.name, recipe.arguments, [name for name in kinds if name not in by_name], set(kinds))
    for name, kind in kinds.items():
        if name not in values and name not in defaults:
            refuse("missing argument", f"{recipe.name}: {name}")
        if name in values and not kind(values[name]):
            refuse("kind", f"{recipe.name}: {name}={values[name]!r}")
    return {**defaults, **values}


def by_names(owner: str, given: tuple[Argument, ...], positional: list[str], known: set[str]) -> dict[str, Any]:
    """Arguments by name. Raises `LanguageRefused` for one that there is none for."""
    values: dict[str, Any] = {}
    for argument in given:
        name = argument.name or next((name for name in positional if name not in values), None)
        if name not in known:
            refuse("unknown argument", f"{owner}: {argument.name}")
        if name in values and argument.name is not None:
            refuse("argument twice", f"{owner}: {name}")
        values[str(name)] = argument.value
    return values


def _transformed(recipe: Recipe, image: torch.Tensor) -> torch.Tensor:
    """What torchvision's transform makes of an image."""
    cls = getattr(_transforms(), recipe.name)
    parameters = [n for n in inspect.signature(cls.__init__).parameters if n not in ("self", "inplace")]
    values = by_names(recipe.name, recipe.arguments, parameters, set(parameters))
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    if any(isinstance(value, bool) for name, value in values.items() if name in ("size", "padding", "mean", "std")):
        refuse("kind", recipe.name)
    if recipe.name == "ToTensor":
        if image.dtype != torch.uint8 or values:
            refuse("transform", "ToTensor of no u8")
        return image.to(torch.float32) / 255
    if recipe.name == "Normalize":
        for name in ("mean", "std"):
            if not isinstance(values.get(name), list) or len(values[name]) != image.shape[0]:
                refuse("channels", f"{name}={values.get(name)}")
    if recipe.name in ("RandomCrop", "CenterCrop") and not _positive(values.get("size")):
        refuse("kind", f"{recipe.name}: size={values.get('size')}")
    if recipe.name in ("RandomCrop", "Pad") and "padding" in values and not _natural(values["padding"]):
        refuse("kind", f"{recipe.name}: padding={values['padding']}")
    with asking(recipe.name):
        return cls(**values)(image)


def _positive(value: Any) -> bool:
    return all(map(whole(1), value)) if isinstance(value, list) else whole(1)(value)


def _natural(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) in (1, 2, 4) and all(map(whole(0), value))
    return value is None or whole(0)(value)


def _split(part: Part) -> None:
    """The fractions of a split, and how many parts they make."""
    fractions = []
    for argument in part.split.arguments:
        number = isinstance(argument.value, int | float) and not isinstance(argument.value, bool)
        if argument.name is None and number:
            fractions.append(argument.value)
        elif argument.name != "shuffle" or not isinstance(argument.value, bool):
            refuse("split", str(argument))
    total = sum(fractions)
    if not fractions or min(fractions) <= 0 or total > 1 + 1e-9:
        refuse("split", str(fractions))
    if part.count != len(fractions) + (total <= 1 - 1e-9):
        refuse("split", "parts")


def check_loader(section: Section) -> None:
    """Settings of `data` that need loading processes."""
    if section.settings.get("workers", 0) == 0 and (
        section.settings.get("persistent_workers") or section.settings.get("prefetch_factor")
    ):
        refuse("workers", "there are none")
