"""The classes of `torchvision.transforms.v2` that the language leaves out, each with its reason.

A reason is a sentence: it stands in the message for a name that is not known, and in the reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_BOXES: Final = "It changes boxes around objects, and no data set of the language has boxes."
_POINTS: Final = "It changes points on objects, and no data set of the language has points."
_SEVERAL: Final = "It makes several images of one, and a sample of the language has one image: give each crop a field."

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AutoAugmentPolicy": 'It is a setting and no transform: write `AutoAugment("imagenet")`.',
        "ClampBoundingBoxes": _BOXES,
        "ClampKeyPoints": _POINTS,
        "Compose": "Transforms are written one after another: `ToTensor -> Normalize([0.5], [0.5])`.",
        "ConvertBoundingBoxFormat": _BOXES,
        "FiveCrop": _SEVERAL,
        "InterpolationMode": 'It is a setting and no transform: write `Resize(64, interpolation="bicubic")`.',
        "Lambda": "It runs Python code: declare it with `extern transform`.",
        "LinearTransformation": "Its matrix has the square of the image's numbers, which do not belong into a text.",
        "RandomIoUCrop": _BOXES,
        "SanitizeBoundingBoxes": _BOXES,
        "SanitizeKeyPoints": _POINTS,
        "SetClampingMode": _BOXES,
        "TenCrop": _SEVERAL,
        "ToPILImage": "Images are tensors from the start, and what transforms do to them needs no Pillow.",
        "Transform": "It is the base class of transforms: declare one of your own with `extern transform`.",
        "UniformTemporalSubsample": "It chooses frames of a video, and no data set of the language has videos.",
    }
)
"""The reason for each name."""
