"""The table of transforms: names, defaults, verdicts and sizes, each against torchvision.transforms.v2 itself."""

import inspect
import random
import warnings
from enum import Enum
from importlib import import_module

import pytest
import torch

from expc.compiler.dimensions import as_symbol, substitute, symbol
from expc.compiler.library.excluded.transforms import EXCLUDED
from expc.compiler.library.transforms import transforms
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.ops.declare import REQUIRED, Fault
from expc.compiler.types import TORCH_NAMES, TensorType
from expc.spec.values import Dtype


@pytest.fixture(scope="module")
def v2():
    import_torchvision()
    return import_module("torchvision.transforms.v2")


COMBINING = {"RandomApply", "RandomChoice", "RandomOrder"}
"""Their settings are transforms: see `tests/language/transforms.md`."""
MIXING = {"MixUp", "CutMix"}
"""They act on batches: see `tests/language/transforms.md`."""
ALONE = [name for name in transforms() if name not in COMBINING | MIXING]


def test_every_transform_is_in_the_table_or_left_out_for_a_reason(v2):
    theirs = [name for name, value in vars(v2).items() if inspect.isclass(value)]
    assert sorted(theirs) == sorted([*transforms(), *EXCLUDED])
    assert all(reason[0].isupper() and reason.endswith(".") for reason in EXCLUDED.values())


def settings_of(name, written):
    return {param.name: written.get(param.name, param.default) for param in transforms()[name].settings}


def accepted(name, written, type_):
    """What the table says: the result's type, or none where a setting or the image is refused."""
    complete = settings_of(name, written)
    if not all(param.kind.accepts(complete[param.name]) for param in transforms()[name].settings):
        return None
    try:
        return transforms()[name].rule(complete, type_)
    except Fault:
        return None


BUG = torch.empty(0)
"""torch 2.13 fails to make one pixel of three u8 channels, by an assertion of its own: E0811 at run time."""


def carried_out(v2, name, written, image):
    """What torchvision does: the result, or none where it raises."""
    given = dict(written)
    if "dtype" in given:
        given["dtype"] = getattr(torch, TORCH_NAMES[str(given["dtype"])])
    if "policy" in given:
        given["policy"] = v2.AutoAugmentPolicy(given["policy"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = getattr(v2, name)(**given)
            return [made(image) for _ in range(6)][-1]
    except (ValueError, TypeError, RuntimeError, IndexError, OverflowError, UserWarning) as error:
        if "please report a bug to PyTorch" in str(error):
            return BUG
        return None


def plain(default):
    """A default as the language writes it."""
    if default is inspect.Parameter.empty:
        return REQUIRED
    if isinstance(default, torch.dtype):
        return Dtype(next(ours for ours, name in TORCH_NAMES.items() if f"torch.{name}" == str(default)))
    if isinstance(default, Enum):
        return default.value
    return list(default) if isinstance(default, tuple) else default


@pytest.mark.parametrize("name", transforms())
def test_settings_are_torchvisions(v2, name):
    theirs = [
        (p.name, plain(p.default))
        for p in inspect.signature(getattr(v2, name).__init__).parameters.values()
        if p.name not in ("self", "inplace", "labels_getter")
    ]
    assert [(p.name, p.default) for p in transforms()[name].settings] == theirs


def draw_settings(rng, name, channels):
    def size(most=12):
        return rng.choice([rng.randint(1, most), [rng.randint(1, most)], [rng.randint(1, most) for _ in "hw"]])

    def padding():
        return rng.choice([rng.randint(0, 6), [rng.randint(0, 6) for _ in range(rng.choice([1, 2, 4, 4, 3]))]])

    def border():
        mode = rng.choice(["constant", "constant", "edge", "reflect", "symmetric"])
        fill = rng.choice([0, 7, None, [3.0], [1] * rng.choice([channels, 3])])
        return {"padding_mode": mode, "fill": fill}

    def numbers():
        return [
            rng.choice([0.5, 0.25, 1.5, 0.0 if rng.random() < 0.3 else 0.1])
            for _ in range(rng.choice([channels] * 4 + [2]))
        ]

    def pair(low, high):
        values = [round(rng.uniform(low, high), 2) for _ in "ab"]
        return sorted(values) if rng.random() < 0.9 else values

    def fill():
        return rng.choice([0, 0.5, None, [3.0], [1] * rng.choice([channels, 3])])

    def often():
        return {"p": rng.choice([0.0, 1.0, 0.9, 1.5])}

    def warping():
        return {"interpolation": rng.choice(["nearest", "bilinear", "bilinear", "bicubic"]), "fill": fill()}

    def degrees():
        return rng.choice([30, 0, -1, pair(-40, 40)])

    def policy():
        return {"interpolation": rng.choice(["nearest", "nearest", "bicubic"]), "fill": fill()}

    resampling = {
        "interpolation": rng.choice(["nearest", "nearest-exact", "bilinear", "bicubic", "linear"]),
        "antialias": rng.choice([True, False, None]),
    }
    dtypes = ["u8", "f32", "f16", "f64", "i16", "i32", "i64", "bool"]
    factor = rng.choice([None, 0.3, 0, -0.1, pair(-0.1, 0.6)])
    return {
        "ToDtype": lambda: {"dtype": Dtype(rng.choice(dtypes)), "scale": rng.random() < 0.7},
        "ConvertImageDtype": lambda: {"dtype": Dtype(rng.choice(dtypes))},
        "Normalize": lambda: {"mean": numbers(), "std": numbers()},
        "RandomCrop": lambda: {
            "size": size(16),
            "padding": rng.choice([None, padding()]),
            "pad_if_needed": rng.random() < 0.4,
            **border(),
        },
        "CenterCrop": lambda: {"size": rng.choice([size(16), [1, 2, 3]])},
        "Resize": lambda: {
            "size": rng.choice([size(), size(), None]),
            "max_size": rng.choice([None, None, rng.randint(1, 16)]),
            **resampling,
        },
        "RandomResizedCrop": lambda: {
            "size": size(),
            "scale": pair(rng.choice([0.1, -0.1]), 1.2),
            "ratio": pair(rng.choice([0.5, 0.5, 0, -1]), 1.9),
            **resampling,
        },
        "RandomHorizontalFlip": lambda: {"p": rng.choice([0.0, 0.3, 1.0, 1.5])},
        "RandomVerticalFlip": lambda: {"p": rng.choice([0.0, 0.3, 1.0, -0.5])},
        "Pad": lambda: {"padding": padding(), **border()},
        "RandomZoomOut": lambda: {"side_range": pair(rng.choice([0.9, 1]), 2), "fill": fill(), **often()},
        "RandomResize": lambda: {"min_size": rng.randint(0, 8), "max_size": rng.randint(3, 9), **resampling},
        "RandomShortestSize": lambda: {
            "min_size": rng.choice([rng.randint(1, 9), [rng.randint(1, 9) for _ in range(rng.randint(1, 3))]]),
            "max_size": rng.choice([None, rng.randint(1, 12)]),
            **resampling,
        },
        "ScaleJitter": lambda: {
            "target_size": [rng.randint(1, 12), rng.randint(1, 12)],
            "scale_range": pair(0.2, 2),
            **resampling,
        },
        "RandomRotation": lambda: {
            "degrees": degrees(),
            "expand": rng.random() < 0.4,
            "center": rng.choice([None, None, [1, 2], [1]]),
            **warping(),
        },
        "RandomAffine": lambda: {
            "degrees": degrees(),
            "translate": rng.choice([None, [0.2, 0.3], [1.2, 0]]),
            "scale": rng.choice([None, pair(0.2, 2), [0, 1]]),
            "shear": rng.choice([None, 10, -1, pair(-5, 5), [-1, 1, -2, 2], [1, 2, 3]]),
            "center": rng.choice([None, [1, 2]]),
            **warping(),
        },
        "RandomPerspective": lambda: {"distortion_scale": rng.choice([0.0, 0.5, 1.0, 1.5]), **often(), **warping()},
        "ElasticTransform": lambda: {
            "alpha": rng.choice([10, [5], [5, 7], [1, 2, 3]]),
            "sigma": rng.choice([0.4, 1, 0, [0.5, 1], [0, 1], [0.3]]),
            **warping(),
        },
        "Grayscale": lambda: {"num_output_channels": rng.choice([1, 3, 2, 4])},
        "RandomGrayscale": often,
        "ColorJitter": lambda: {rng.choice(["brightness", "contrast", "saturation", "hue"]): factor, "hue": factor},
        "RandomPhotometricDistort": lambda: {"hue": pair(-0.6, 0.6), "contrast": pair(-0.1, 2), "p": 1.0},
        "RandomInvert": often,
        "RandomEqualize": often,
        "RandomAutocontrast": often,
        "RandomPosterize": lambda: {"bits": rng.choice([0, 3, 8, 9, -1]), **often()},
        "RandomSolarize": lambda: {"threshold": rng.choice([0.5, 1, 100, 300]), **often()},
        "RandomAdjustSharpness": lambda: {"sharpness_factor": rng.choice([0, 0.5, 2, -1]), **often()},
        "GaussianBlur": lambda: {
            "kernel_size": rng.choice([1, 3, 5, [3], [3, 7], [7, 1], 4, [3, 2]]),
            "sigma": rng.choice([0.5, [0.1, 2], 0, [2, 1], [1]]),
        },
        "GaussianNoise": lambda: {"mean": 0.1, "sigma": rng.choice([0.0, 0.2, -0.1]), "clip": rng.random() < 0.5},
        "RandomErasing": lambda: {
            "scale": pair(rng.choice([0.02, -0.01]), rng.choice([0.5, 1.1])),
            "ratio": pair(rng.choice([0.3, 0]), 3),
            "value": rng.choice([0, 0.5, "random", "noise", [1] * channels, [1, 2]]),
            "p": 1.0,
        },
        "RandAugment": lambda: {
            "num_ops": rng.randint(0, 2),
            "magnitude": rng.choice([0, 5, 9]),
            "num_magnitude_bins": rng.choice([6, 9, 31]),
            **policy(),
        },
        "TrivialAugmentWide": lambda: {"num_magnitude_bins": rng.choice([2, 31]), **policy()},
        "AutoAugment": lambda: {"policy": rng.choice(["imagenet", "cifar10", "svhn"]), **policy()},
        "AugMix": lambda: {
            "severity": rng.choice([0, 1, 10, 11]),
            "mixture_width": rng.choice([1, 3]),
            "chain_depth": rng.choice([-1, 0, 2]),
            "alpha": rng.choice([0.5, 1.0, 0.0]),
            "all_ops": rng.random() < 0.5,
            **policy(),
        },
    }.get(name, dict)()


SOMETIMES = (
    "RandomSolarize",
    "RandomGrayscale",
    "RandomAutocontrast",
    "RandomAdjustSharpness",
    "RandomPerspective",
)
BY_CHANCE = {
    "RandomResizedCrop": ("scale", 0),
    "RandomPhotometricDistort": ("contrast", 0),
    "ScaleJitter": ("scale_range", 0),
}
"""Where torchvision fails only when it draws what is impossible."""


def stricter(name, written, type_):
    """Where the table refuses what torchvision lets pass, or only lets pass by chance."""
    (channels, height, width), dtype = type_.dims, type_.dtype
    if name == "Normalize":  # see E0402
        return {len(written["mean"]), len(written["std"])} != {channels}
    if name in ("ToDtype", "ConvertImageDtype"):  # true and false have no range
        return "bool" in (str(written["dtype"]), dtype)
    if name in BY_CHANCE and written[BY_CHANCE[name][0]][0] < BY_CHANCE[name][1]:
        return True
    if name == "ScaleJitter":
        low, high = written["scale_range"]
        fit = min(written["target_size"][1] / height, written["target_size"][0] / width)
        return low > high or min(height, width) * fit * low < 1.001
    if (
        name
        in ("RandomSolarize", "RandomGrayscale", "RandomAutocontrast", "RandomAdjustSharpness", "RandomPerspective")
        and not written["p"]
    ):
        return True
    if name in ("AutoAugment", "AugMix", "RandAugment", "TrivialAugmentWide") and (channels == 2 or dtype == "i64"):
        return True
    if written.get("interpolation") == "bicubic" and "antialias" not in written:  # needless where nothing is drawn
        return True
    if name == "RandAugment" and (not written["num_ops"] or written["magnitude"] >= written["num_magnitude_bins"]):
        return True
    if name == "AugMix" and not written["alpha"]:
        return True
    if name == "RandomPhotometricDistort":
        return min(written["hue"]) < -0.5 or max(written["hue"]) > 0.5 or channels == 2
    if name == "RandomPosterize":
        return not 0 <= written["bits"] <= 8
    if name == "RandomResize":
        return not written["min_size"]
    fill = written.get("fill")
    return isinstance(fill, list) and (len(fill) > 1 or len(fill) not in (1, channels))


def holds(said, actual):
    """Whether a side is what the table says of it: a number, or bounds."""
    unknown = as_symbol(said)
    if unknown is None:
        return said == actual
    return unknown.lower <= actual and (unknown.upper is None or actual <= unknown.upper)


@pytest.mark.parametrize("name", [name for name in ALONE if name not in ("ToTensor", "JPEG")])
def test_verdicts_and_sizes_are_torchvisions(v2, name):
    rng = random.Random(name)
    torch.manual_seed(0)
    verdicts = {True: 0, False: 0}
    for _ in range(200 if len(transforms()[name].settings) > 1 else 100):
        channels = rng.choice([1, 3, 3, 2])
        dtype = rng.choice(["u8", "u8", "f32", "f32", "f16", "bf16", "f64", "i16", "i32", "i64", "bool"])
        type_ = TensorType(dtype, (channels, rng.randint(1, 14), rng.randint(1, 14)))
        written = draw_settings(rng, name, channels)
        image = torch.zeros(*type_.dims, dtype=getattr(torch, TORCH_NAMES[type_.dtype]))
        result, real = accepted(name, written, type_), carried_out(v2, name, written, image)
        if real is BUG or (name == "RandomPerspective" and real is None and min(type_.dims[1:]) < 4):
            continue
        if result is None and real is not None:
            assert dtype == "bool" or stricter(name, written, type_), (written, type_)
        else:
            assert (result is None) == (real is None), (written, type_, result)
        verdicts[result is not None] += 1
        if result is not None:
            assert TORCH_NAMES[result.dtype] == str(real.dtype)[6:], (written, type_)
            assert all(map(holds, result.dims, real.shape)), (written, type_, result, real.shape)
    assert verdicts[True] > 5, verdicts


MAY_FAIL = {"Resize", "ScaleJitter", "RandomShortestSize", "RandomResizedCrop", "RandomPerspective"}
"""They may leave nothing of an image that is very thin, or of one without four corners: E0811 at run time."""
ANY_SIZE = [transform.name for transform in transforms().values() if transform.geometric and transform.settings]


@pytest.mark.parametrize("name", ANY_SIZE)
def test_what_is_said_of_images_of_any_size_holds_for_each(v2, name):
    rng = random.Random(name)
    any_size = TensorType("u8", (3, symbol("H"), symbol("W")))
    held = 0
    for _ in range(200):
        written = draw_settings(rng, name, 3)
        result = accepted(name, written, any_size)
        if result is None:
            continue
        for height, width in [(1, 1), (1, 40), (30, 2), (rng.randint(1, 40), rng.randint(1, 40))]:
            real = carried_out(v2, name, written, torch.zeros(3, height, width, dtype=torch.uint8))
            if real is BUG or (real is None and name in MAY_FAIL):
                continue
            assert real is not None, (written, height, width)
            said = [substitute(size, {"H": height, "W": width}) for size in result.dims]
            assert all(map(holds, said, real.shape)), (written, height, width, real.shape)
            held += 1
    assert held > 50


def refusal(name, type_, **written):
    with pytest.raises(Fault) as refused:
        transforms()[name].rule(settings_of(name, written), type_)
    fault = refused.value
    return fault.problem.code, fault.problem.template.format(**fault.facts)


def test_refusals_say_what_is_wrong():
    grey, colour = TensorType("u8", (1, 28, 28)), TensorType("f32", (3, 32, 32))
    text = TensorType("i64", (8,), 65)
    assert refusal("ToTensor", colour) == (
        "E0401",
        "`ToTensor` takes an image u8[C, H, W], once, since what it makes is floating point, but gets f32[3, 32, 32]",
    )
    assert refusal("Normalize", grey, mean=[0.5], std=[0.5]) == (
        "E0401",
        "`Normalize` takes an image f32[C, H, W], as `ToTensor` makes it, but gets u8[1, 28, 28]",
    )
    assert refusal("Normalize", colour, mean=[0.5], std=[0.5]) == (
        "E0402",
        "`Normalize`: mean has 1 value, but the image f32[3, 32, 32] has 3 channels",
    )
    assert refusal("RandomCrop", grey, size=32) == ("E0403", "`RandomCrop` cuts 32 x 32 out of 28 x 28")
    assert refusal("Resize", text, size=8)[0] == "E0401"


def test_a_resize_makes_a_crop_of_images_of_any_size_safe():
    photos = TensorType("u8", (3, symbol("H"), symbol("W")))
    assert refusal("RandomCrop", photos, size=224)[0] == "E0403"
    resized = transforms()["Resize"].rule(settings_of("Resize", {"size": 256}), photos)
    assert str(transforms()["RandomCrop"].rule(settings_of("RandomCrop", {"size": 224}), resized)) == "u8[3, 224, 224]"
