"""The table of transforms: settings as in `torchvision.transforms.v2`, and what each makes of an image's type.

Images are `u8[C, H, W]` until `ToTensor`, then `f32`. `H` and `W` may be unknown, with a lower bound that `Resize`
gives, so that `Resize(256) -> RandomCrop(224)` is known to be right for images of every size. One file per family;
what is left out, and why, is in `expc.compiler.library.excluded.transforms`.
"""

from collections.abc import Mapping
from functools import cache

from expc.compiler.library.transforms.augment import augmentations
from expc.compiler.library.transforms.batches import batches
from expc.compiler.library.transforms.colour import colours
from expc.compiler.library.transforms.combining import combining
from expc.compiler.library.transforms.conversion import conversions
from expc.compiler.library.transforms.geometry import geometry
from expc.compiler.library.transforms.image import borders, sides
from expc.compiler.library.transforms.warping import warping
from expc.compiler.program import Transform

__all__ = ["borders", "sides", "transforms"]


@cache
def transforms() -> Mapping[str, Transform]:
    """Every transform by name."""
    families = (conversions(), geometry(), warping(), colours(), augmentations(), combining(), batches())
    return {transform.name: transform for family in families for transform in family}
