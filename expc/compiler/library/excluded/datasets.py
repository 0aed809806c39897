"""The names of `torchvision.datasets` that the language leaves out, each with its reason.

A reason is a sentence: it stands in the message for a name that is not known, and in the reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_GROUPS: Final = (
    (
        "Its samples are pairs of images with a map of distances, and the language has no transforms for those.",
        """CREStereo CarlaStereo ETH3DStereo FallingThingsStereo InStereo2k Kitti2012Stereo Kitti2015Stereo
        Middlebury2014Stereo SceneFlowStereo SintelStereo""",
    ),
    (
        "Its samples are pairs of images with a map of movements, and the language has no transforms for those.",
        "FlyingChairs FlyingThings3D HD1K KittiFlow Sintel",
    ),
    (
        "Its labels are boxes, of which each image has another number, so that no batch can be made of them.",
        "CocoDetection Kitti VOCDetection WIDERFace",
    ),
    (
        "Its labels are sentences about images, and the language has no tokens beside images.",
        "CocoCaptions Flickr30k Flickr8k SBU",
    ),
    ("Its samples are videos, and the language has no transforms for those.", "HMDB51 Kinetics MovingMNIST UCF101"),
    ("It gives patches of photographs to be matched, which have no class.", "PhotoTour"),
    ("It is one class of `LSUN`, without a label: write `LSUN` with a list of classes.", "LSUNClass"),
    ("It reads files with Python code of one's own: write `ImageFolder` for images.", "DatasetFolder"),
    ("It is the base class of data sets: declare one of your own with `extern dataset`.", "VisionDataset"),
    ("It is a helper for programs in Python: fields have their kinds here.", "wrap_dataset_for_transforms_v2"),
)

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {name: reason for reason, names in _GROUPS for name in names.split()}
)
"""The reason for each name."""
