"""What is drawn for a transform: torchvision's distributions, and torchvision's functions make of it what they make."""

from importlib import import_module
from math import sqrt

import numpy as np
import pytest
import torch
from data_plans import plan, use

from expc.compiler.library.transforms import transforms
from expc.compiler.lower.torchvision import import_torchvision
from expc.runtime.data.fields import through
from expc.runtime.data.mixtures import mix
from expc.runtime.data.parameters import DRAW
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.data.randomness import Draws
from expc.runtime.data.transforms import apply
from expc.spec.values import Dtype


@pytest.fixture(scope="module")
def v2():
    import_torchvision()
    return import_module("torchvision.transforms.v2")


@pytest.fixture(scope="module")
def functional(v2):
    return v2.functional


EXTENT = (3, 20, 28)
COUNT = 1000

SETTINGS = {
    "RandomResizedCrop": {"size": 8, "scale": [0.2, 1.0]},
    "RandomRotation": {"degrees": [-10, 50]},
    "RandomAffine": {"degrees": 9, "translate": [0.2, 0.3], "scale": [0.5, 2], "shear": [-9, 9, 0, 5]},
    "RandomPerspective": {"distortion_scale": 0.4, "p": 1.0},
    "ElasticTransform": {"alpha": 20.0, "sigma": [1.0, 1.5]},
    "RandomZoomOut": {"p": 1.0},
    "RandomResize": {"min_size": 10, "max_size": 20},
    "RandomShortestSize": {"min_size": [10, 12, 30], "max_size": 40},
    "ScaleJitter": {"target_size": [16, 24]},
    "ColorJitter": {"brightness": 0.4, "contrast": [0.2, 3], "saturation": 0.5, "hue": 0.2},
    "RandomPhotometricDistort": {},
    "RandomChannelPermutation": {},
    "GaussianBlur": {"kernel_size": 3},
    "RandomErasing": {"p": 1.0, "value": "random"},
}


def numbers(drawn):
    """A few numbers that tell much of what was drawn."""
    found = []
    for value in drawn.values():
        if isinstance(value, torch.Tensor) and value.numel() > 8:
            found += [value.float().mean().item(), value.float().std().item(), value.flatten()[0].item()]
        elif isinstance(value, torch.Tensor | list | tuple):
            found += [float(number) for number in value][:8]
        else:
            found.append(-9.0 if value is None else float(value))
    return found


def apart(ours, theirs):
    """The greatest distance between two distributions (Kolmogorov and Smirnov), at their steps."""
    steps = np.unique(np.concatenate([ours, theirs]))
    return max(
        abs(np.searchsorted(np.sort(a), steps, side) / len(a) - np.searchsorted(np.sort(b), steps, side) / len(b)).max()
        for a, b in ((ours, theirs),)
        for side in ("left", "right")
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_have_torchvisions_distributions(v2, name):
    count = 300 if name == "ElasticTransform" else COUNT
    torch.manual_seed(0)
    settings = use(name, **SETTINGS[name]).settings
    made, image = getattr(v2, name)(**SETTINGS[name]), torch.zeros(*EXTENT)
    theirs = [made.make_params([image]) for _ in range(count)]
    ours = [DRAW[name](settings, stream, EXTENT) for stream in Draws(3, 1, np.arange(count), 5).streams()]
    assert {key for drawn in ours for key in drawn} == {key for drawn in theirs for key in drawn}
    ordered = [[numbers({key: drawn[key] for key in sorted(drawn)}) for drawn in kind] for kind in (ours, theirs)]
    for column in range(min(map(len, ordered[0] + ordered[1]))):
        a, b = (np.round([row[column] for row in kind], 5) for kind in ordered)
        assert apart(a, b) < 2.4 * sqrt(2 / count), (column, a[:5], b[:5])  # p < 0.00003 where both are equal


def test_every_transform_with_parameters_is_held_against_torchvisions():
    assert {*SETTINGS, "RandomAdjustSharpness"} == DRAW.keys()


def drawn(name, given, image, epoch=0):
    (stream,) = Draws(1, epoch, np.array([7]), 2).streams()
    return DRAW[name](given, stream, tuple(image.shape))


def test_pixels_are_those_of_torchvisions_functions(v2, functional):
    image = torch.randint(0, 256, (3, 24, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def carried_out(name, **written):
        settings = use(name, **written).settings
        return apply(name, image[None], settings, Draws(1, 0, np.array([7]), 2))[0], drawn(name, settings, image)

    found, p = carried_out("RandomRotation", degrees=40, interpolation="bilinear", fill=[1, 2, 3])
    assert torch.equal(found, functional.rotate(image, p["angle"], v2.InterpolationMode.BILINEAR, fill=[1, 2, 3]))
    found, p = carried_out("RandomAffine", degrees=9, translate=[0.2, 0.2], shear=10)
    expected = functional.affine(image, p["angle"], list(p["translate"]), p["scale"], list(p["shear"]), fill=0)
    assert torch.equal(found, expected)
    found, p = carried_out("RandomResizedCrop", size=[9, 8])
    assert torch.equal(found, functional.resized_crop(image, p["top"], p["left"], p["height"], p["width"], [9, 8]))
    found, p = carried_out("GaussianBlur", kernel_size=[3, 5])
    assert torch.equal(found, functional.gaussian_blur(image, [3, 5], p["sigma"]))
    found, p = carried_out("RandomErasing", p=1.0, value=[1, 2, 3])
    assert torch.equal(found, functional.erase(image, p["i"], p["j"], p["h"], p["w"], p["v"]))
    assert not torch.equal(found, image)
    found, p = carried_out("ColorJitter", saturation=0.5, brightness=0.5)
    steps = [functional.adjust_brightness, lambda i, _: i, functional.adjust_saturation, lambda i, _: i]
    expected = image
    for which in p["fn_idx"]:
        expected = steps[which](expected, [p["brightness_factor"], 1, p["saturation_factor"], 1][which])
    assert torch.equal(found, expected)
    found, _ = carried_out("RandomAdjustSharpness", sharpness_factor=2, p=1.0)
    assert torch.equal(found, functional.adjust_sharpness(image, 2))


def test_noise_is_as_strong_as_torchvisions(functional):
    draws, images = Draws(0, 0, np.arange(2), 0), torch.full((2, 3, 50, 50), 0.5)
    found = apply("GaussianNoise", images, use("GaussianNoise", mean=0.1, sigma=0.05).settings, draws)
    assert found.mean().item() == pytest.approx(0.6, abs=0.002)
    assert found.std().item() == pytest.approx(0.05, abs=0.002)
    bytes_ = apply("GaussianNoise", images.mul(255).byte(), use("GaussianNoise", sigma=0.5).settings, draws)
    torch.manual_seed(0)
    expected = functional.gaussian_noise(images.mul(255).byte(), 0.0, 0.5)
    assert bytes_.float().mean().item() == pytest.approx(expected.float().mean().item(), abs=1.5)
    assert (bytes_ == 0).float().mean().item() == pytest.approx((expected == 0).float().mean().item(), abs=0.02)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("RandAugment", {"num_ops": 1}),
        ("TrivialAugmentWide", {}),
        ("AutoAugment", {"policy": "cifar10"}),
        ("AugMix", {"severity": 6}),
    ],
)
def test_policies_change_images_as_much_as_torchvisions(v2, name, written):
    image = torch.randint(0, 256, (3, 12, 14), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    given = {**written, "policy": v2.AutoAugmentPolicy(written["policy"])} if "policy" in written else written
    made = getattr(v2, name)(**given)
    count = 400
    theirs = torch.stack([made(image) for _ in range(count)])
    images = image.expand(count, *image.shape)
    ours = apply(name, images, use(name, **written).settings, Draws(0, 0, np.arange(count), 0))
    change = [kind.float() - image for kind in (ours, theirs)]
    for measure in (torch.Tensor.abs, torch.Tensor.clone):  # how much, and whether darker or lighter
        measured = [measure(kind).mean((1, 2, 3)).round(decimals=3).numpy() for kind in change]
        assert apart(*measured) < 2.4 * sqrt(2 / count)


@pytest.mark.parametrize("shape", [0.1, 0.4, 1.0, 3.0])
def test_beta_numbers_have_their_moments(shape):
    found = np.array([stream.dirichlet(shape, shape)[0] for stream in Draws(0, 0, np.arange(4000), 0).streams()])
    assert found.mean() == pytest.approx(0.5, abs=0.03)
    assert found.var() == pytest.approx(1 / (4 * (2 * shape + 1)), rel=0.08)


# ------------------------------------------------------------------------------------------------ batches


def test_mixtures_are_torchvisions_with_the_same_numbers(v2):
    images, labels = torch.rand(5, 3, 8, 10), torch.tensor([0, 3, 1, 2, 3])
    settings = {"alpha": 0.7, "num_classes": 4}
    draws = Draws(0, 1, np.arange(5) + 9, 0)
    for name in ("MixUp", "CutMix"):
        found, probabilities = mix(name, images, labels, settings, draws)
        made = getattr(v2, name)(num_classes=4)
        kept = draws.streams()[0].dirichlet(0.7, 0.7)[0]
        if name == "MixUp":
            given = {"lam": kept}
        else:
            changed = (found != images).any(0).any(0).nonzero()
            (top, left), (bottom, right) = changed.min(0).values.tolist(), (changed.max(0).values + 1).tolist()
            share = (right - left) * (bottom - top) / 80
            assert share == pytest.approx(1 - kept, abs=0.35)
            given = {"box": (left, top, right, bottom), "lam_adjusted": 1 - share}
        params = {"labels": labels, "batch_size": 5, **given}
        assert torch.equal(found, made.transform(images, params))
        assert torch.allclose(probabilities, made.transform(labels, params))
        assert torch.allclose(probabilities.sum(1), torch.ones(5))


def test_images_of_any_size_and_of_random_size_go_together(tmp_path):
    fake = use("FakeData", size=6, image_size=[3, 30, 24])
    stages = (
        use("RandomResize", min_size=12, max_size=20),
        use("RandomRotation", degrees=30, expand=True),
        use("RandomApply", transforms=((use("Resize", size=40),),), p=0.5),
        use("RandomZoomOut"),
        use("CenterCrop", size=16),
        use("ToDtype", dtype=Dtype("f32"), scale=True),
    )
    pipeline, _ = open_pipeline(plan(fake, *stages), tmp_path, 0)
    whole = pipeline.batch(0, np.arange(6))["image"]
    assert whole.shape == (6, 3, 16, 16)
    for i in range(6):
        assert torch.equal(pipeline.batch(0, np.array([i]))["image"][0], whole[i])


GEOMETRIC = [name for name, transform in transforms().items() if transform.geometric]
WRITTEN = {
    "Pad": {"padding": 2},
    "CenterCrop": {"size": 9},
    "RandomCrop": {"size": 9},
    "Resize": {"size": [9, 8]},
    **{name: {"p": 1.0} for name in ("RandomHorizontalFlip", "RandomVerticalFlip")},
}


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_mask_goes_the_way_of_its_image(name):
    images = torch.randint(0, 21, (3, 1, 20, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = use(name, **{**SETTINGS, **WRITTEN}[name]).settings
    settings = {**given, "interpolation": "nearest"} if "interpolation" in given else given
    draws = Draws(0, 2, np.arange(3), 1)
    changed = through(name, images, settings, draws, mask=False)
    masks = through(name, images[:, 0].long(), settings, draws, mask=True)
    for image, mask in zip(changed, masks, strict=True):
        assert torch.equal(image[0].long(), mask)
