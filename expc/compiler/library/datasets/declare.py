"""What the declarations of data sets share: torchvision's usual settings, and samples of an image and its label."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from expc.compiler.dimensions import Size, symbol
from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import BOOL, STR, choice
from expc.compiler.program import Dataset, SampleField
from expc.compiler.types import TensorType

Settings = Mapping[str, Any]
Sample = Callable[[Settings], tuple[SampleField, ...]]

ROOT: Final = Param("root", STR, doc="the folder that holds it, or will")
HERE: Final = Param("root", STR, doc="the folder that holds it")
TRAIN: Final = Param("train", BOOL, True, doc="the samples for training, else those for testing")
DOWNLOAD: Final = Param("download", BOOL, False, doc="fetch it where it is missing")


def split(*names: str, default: str | None = None, called: str = "split") -> Param:
    """The setting that says which samples; the first name is the default."""
    return Param(called, choice(*names), default or names[0], doc="which of its samples")


def photographs() -> tuple[Size, Size, Size]:
    """Images in colour that differ in size."""
    return 3, symbol("H"), symbol("W")


def labelled(size: Callable[[Any], Sequence[Any]], classes: Callable[[Any], int]) -> Sample:
    """Samples of an image and the number of its class."""

    def sample(settings: Settings) -> tuple[SampleField, ...]:
        image = TensorType("u8", tuple(size(settings)))
        return SampleField("image", image), SampleField("label", TensorType("i64", (), classes(settings)))

    return sample


def classification(
    name: str,
    doc: str,
    settings: tuple[Param, ...],
    *,
    classes: int | Mapping[Any, int],
    image: tuple[int, int, int] | None = None,
    count: int | Mapping[Any, int] | None = None,
    example: str = "",
) -> Dataset:
    """A data set of images in classes.

    `image`: their size, none where they differ; `count`: how many samples, where that is fixed. What depends on the
    split is a mapping from the values of the setting that says it: `split`, `train` or `background`.
    """
    which = next((param.name for param in settings if param.name in ("split", "train", "background")), "")

    def at(given: Any, values: Settings) -> Any:
        return given.get(values[which]) if isinstance(given, Mapping) else given

    steps = "ToTensor" if image else "Resize([64, 64]) -> ToTensor"
    opened = example or name + '("data")'
    return Dataset(
        name=name,
        doc=doc,
        settings=settings,
        sample=labelled(lambda _: image or photographs(), lambda values: at(classes, values)),
        length=lambda values: at(count, values),
        example=f"{opened} -> {steps}",
    )
