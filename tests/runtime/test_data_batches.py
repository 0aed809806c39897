"""Batches: random numbers, transforms on whole batches, and the same ones whatever prepares them."""

import multiprocessing
import os
import pickle
import signal
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from data_plans import one_of, plan, split, use, write_digits, write_photos
from torch.nn.functional import pad

from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.program import Step as Mixed
from expc.runtime.data.loader import Loader
from expc.runtime.data.parameters import DRAW
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.data.randomness import Draws, permutation, philox
from expc.runtime.data.transforms import apply
from expc.runtime.errors import RunError
from expc.spec.values import Dtype


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ random numbers


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_its_authors_vectors(counter, key, expected):
    words = tuple(np.array([int(word, 16)], dtype=np.uint64) for word in counter.split())
    found = philox(words, tuple(int(word, 16) for word in key.split()))
    assert " ".join(f"{int(word[0]):08x}" for word in found) == expected


def test_draws_are_even_and_differ_in_every_respect():
    samples = np.arange(50_000)
    base = Draws(7, 3, samples, 0)
    (numbers,) = base.below(5)
    counts = np.bincount(numbers, minlength=5)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 25  # chi square with 4 degrees of freedom: p < 0.0001
    others = [Draws(8, 3, samples, 0), Draws(7, 4, samples, 0), Draws(7, 3, samples + 1, 0), Draws(7, 3, samples, 1)]
    for other in others:
        assert abs(np.corrcoef(base.uniform(), other.uniform())[0, 1]) < 0.02
    assert abs(np.corrcoef(base.uniform(0), base.uniform(1))[0, 1]) < 0.02
    assert np.array_equal(base.uniform()[123:125], Draws(7, 3, samples[123:125], 0).uniform())


def test_an_order_has_every_sample_once_and_each_epoch_its_own():
    orders = [permutation(1000, seed=0, epoch=epoch, purpose=0) for epoch in range(2)]
    assert all(sorted(order) == list(range(1000)) for order in orders)
    assert (orders[0] == orders[1]).mean() < 0.01


# ------------------------------------------------------------------------------------------------ transforms


def chain(name, **settings):
    """One transform as an item of a list of them."""
    return (use(name, **settings),)


STEPS = [
    ("ToTensor", {}),
    ("Normalize", {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]}),
    ("RandomCrop", {"size": [10, 9], "padding": [1, 2, 3, 0], "fill": [9, 8, 7]}),
    ("RandomCrop", {"size": 20, "pad_if_needed": True}),
    ("RandomCrop", {"size": 12, "padding": 3, "padding_mode": "reflect"}),
    ("CenterCrop", {"size": 7}),
    ("CenterCrop", {"size": [20, 5]}),
    ("Resize", {"size": [9, 17]}),
    ("Resize", {"size": 24, "interpolation": "bicubic"}),
    ("Resize", {"size": 6, "interpolation": "nearest", "antialias": False}),
    ("RandomHorizontalFlip", {"p": 0.5}),
    ("RandomVerticalFlip", {"p": 0.5}),
    ("Pad", {"padding": [2, 1], "padding_mode": "symmetric"}),
    ("ToDtype", {"dtype": Dtype("f64"), "scale": True}),
    ("RandomResizedCrop", {"size": 8}),
    ("RandomRotation", {"degrees": 40, "interpolation": "bilinear", "fill": [1, 2, 3]}),
    ("RandomAffine", {"degrees": 9, "translate": [0.2, 0.2], "scale": [0.5, 2], "shear": [-9, 9, -5, 5]}),
    ("RandomPerspective", {}),
    ("ElasticTransform", {"sigma": 1.0}),
    ("Grayscale", {}),
    ("RandomGrayscale", {"p": 0.5}),
    ("ColorJitter", {"brightness": 0.4, "contrast": 0.4, "saturation": [0.5, 2], "hue": 0.2}),
    ("RandomPhotometricDistort", {}),
    ("RandomChannelPermutation", {}),
    ("RandomInvert", {}),
    ("RandomEqualize", {}),
    ("RandomAutocontrast", {}),
    ("RandomPosterize", {"bits": 3}),
    ("RandomSolarize", {"threshold": 1}),
    ("RandomAdjustSharpness", {"sharpness_factor": 2}),
    ("GaussianBlur", {"kernel_size": 5}),
    ("GaussianNoise", {"sigma": 0.2}),
    ("JPEG", {"quality": [20, 90]}),
    ("RandomErasing", {"value": "random"}),
    ("RandomErasing", {"p": 0.8, "value": [9, 8.5, 7]}),
    ("RandomErasing", {"p": 0.8, "value": 3}),
    ("RandAugment", {}),
    ("TrivialAugmentWide", {}),
    ("AutoAugment", {"policy": "svhn"}),
    ("AugMix", {}),
    ("RandomApply", {"transforms": (chain("RandomInvert", p=1), chain("RandomRotation", degrees=20)), "p": 0.5}),
    ("RandomChoice", {"transforms": (chain("RandomInvert"), chain("ColorJitter", hue=0.3)), "p": [1, 2]}),
    ("RandomOrder", {"transforms": (chain("RandomSolarize", threshold=1), chain("RandomEqualize", p=1))}),
]
TORCHVISIONS_WAYS = {"ToTensor", "JPEG", "GaussianNoise", "RandomApply", "RandomChoice", "RandomOrder"}
"""Transforms that are not torchvision's object with parameters that are drawn here."""


@pytest.mark.parametrize(("name", "written"), STEPS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_sample_is_the_same_alone_and_in_a_batch(name, written, dtype):
    dtype = {"ToTensor": torch.uint8, "JPEG": torch.uint8, "Normalize": torch.float32}.get(name, dtype)
    images = torch.randint(0, 256, (8, 3, 13, 16), generator=torch.Generator().manual_seed(0)).to(dtype)
    settings, indices = use(name, **written).settings, np.array([5, 3, 90, 4, 7, 7, 1, 0])
    whole = apply(name, images.clone(), settings, Draws(1, 2, indices, 3))
    for i in range(8):
        alone = apply(name, images[i : i + 1].clone(), settings, Draws(1, 2, indices[i : i + 1], 3))
        assert torch.equal(whole[i], alone[0])
    assert whole.is_contiguous() or name == "CenterCrop"
    assert len({image.sum().item() for image in whole}) > 1


@pytest.mark.parametrize(
    "steps",
    [
        [("ToTensor", {}), ("Normalize", {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]})],
        [("CenterCrop", {"size": [9, 30]}), ("Pad", {"padding": [1, 2, 3, 4], "fill": 5}), ("ToTensor", {})],
        [("Pad", {"padding": 3, "padding_mode": "reflect"}), ("ToTensor", {})],
    ],
)
def test_a_pipeline_is_torchvisions_on_its_own_images(tmp_path, steps):
    vision = import_torchvision()
    write_photos(tmp_path / "photos")
    theirs = vision.transforms.Compose([getattr(vision.transforms, name)(**written) for name, written in steps])
    expected = vision.datasets.ImageFolder(str(tmp_path / "photos"), transform=theirs)
    photos = use("ImageFolder", root="photos", classes=2)
    ours, chosen = open_pipeline(plan(photos, *(use(name, **written) for name, written in steps)), tmp_path, 0)
    for i in chosen:
        image, label = expected[i]
        batch = ours.batch(0, chosen[i : i + 1])
        assert torch.equal(batch["image"][0], image)
        assert batch["label"].tolist() == [label]


def test_resize_is_torchvisions():
    v2 = import_module("torchvision.transforms.v2")
    image = torch.randint(0, 256, (1, 3, 21, 34), dtype=torch.uint8)
    for written in (
        {"size": [8, 50]},
        {"size": 10},
        {"size": 16, "max_size": 20},
        {"size": 9, "interpolation": "nearest"},
    ):
        found = apply("Resize", image, use("Resize", **written).settings, Draws(0, 0, np.arange(1), 0))
        assert torch.equal(found, v2.Resize(**written)(image))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rectangles_are_painted_as_torchvision_does(dtype):
    v2 = import_module("torchvision.transforms.v2")
    images = torch.randint(0, 256, (40, 3, 13, 16), generator=torch.Generator().manual_seed(0)).to(dtype)
    settings, draws = use("RandomErasing", p=0.7, value=[9, 8.5, 7]).settings, Draws(0, 0, np.arange(40), 0)
    found = apply("RandomErasing", images, settings, draws)
    theirs, painted = v2.RandomErasing(value=[9, 8.5, 7]), 0
    for image, ours, stream in zip(images, found, draws.streams(), strict=True):
        drawn = DRAW["RandomErasing"](settings, stream, (3, 13, 16))
        painted += drawn is not None
        assert torch.equal(ours, image if drawn is None else theirs.transform(image, drawn))
    assert 15 < painted < 40


def test_crops_and_flips_are_pieces_of_the_image_at_every_place():
    images = torch.arange(4 * 5).reshape(1, 1, 4, 5).repeat(400, 1, 1, 1).to(torch.uint8) + 1
    draws = Draws(0, 0, np.arange(400), 0)
    crops = apply("RandomCrop", images, use("RandomCrop", size=4, padding=1).settings, draws)
    padded = pad(images[0], (1, 1, 1, 1))
    places = {
        tuple(padded[0, top : top + 4, left : left + 4].flatten().tolist()) for top in range(3) for left in range(4)
    }
    assert {tuple(crop.flatten().tolist()) for crop in crops} == places
    # On a device, and for what numpy does not know, torch gathers the pieces.
    gathered = apply("RandomCrop", images.bfloat16(), use("RandomCrop", size=4, padding=1).settings, draws)
    assert torch.equal(gathered, crops.bfloat16())
    flipped = apply("RandomHorizontalFlip", images, use("RandomHorizontalFlip", p=0.3).settings, draws)
    mirrored = [torch.equal(image, images[0].flip(-1)) for image in flipped]
    assert all(torch.equal(image, images[0]) or mirror for image, mirror in zip(flipped, mirrored, strict=True))
    assert 0.2 < sum(mirrored) / 400 < 0.4


# ------------------------------------------------------------------------------------------------ the loader


@pytest.fixture
def digits(tmp_path):
    write_digits(tmp_path, 50)
    crop = use("RandomCrop", size=28, padding=2)
    normalize = use("Normalize", mean=[0.1307], std=[0.3081])
    stages = (split(0.9), crop, use("RandomHorizontalFlip"), use("ToTensor"), normalize)
    return plan(use("MNIST", root="."), *stages), tmp_path


def load(given, **settings):
    made, root = given
    return Loader(made, **{"root": root, "seed": 3, "batch": 8, "shuffle": True, **settings})


def equal(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right) > 0
    return all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(left, right, strict=True)
    )


def test_batches_are_the_fields_that_were_declared(digits):
    loader = load(digits)
    batches = list(loader.epoch(0))
    assert (loader.samples, len(loader), len(batches)) == (45, 6, 6)
    assert [len(batch["label"]) for batch in batches] == [8, 8, 8, 8, 8, 5]
    assert batches[0]["image"].shape == (8, 1, 28, 28)
    assert batches[0]["image"].dtype == torch.float32
    assert batches[0]["label"].dtype == torch.int64
    assert len(load(digits, drop_last=True)) == 5
    with pytest.raises(RunError) as error:
        load(digits, drop_last=True, batch=46)
    assert error.value.problem.code == "E0806"


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_change_nothing(digits, persistent):
    alone = load(digits)
    helped = load(digits, workers=2, persistent_workers=persistent)
    before = torch.get_rng_state()
    for epoch in (0, 1):
        assert equal(alone.epoch(epoch), helped.epoch(epoch))
    assert torch.equal(before, torch.get_rng_state())
    helped.close()


def test_photos_of_any_size_come_in_batches_whoever_prepares_them(tmp_path):
    write_photos(tmp_path / "photos")
    stages = (use("Resize", size=24), use("RandomCrop", size=20), use("ToTensor"))
    photos = plan(use("ImageFolder", root="photos", classes=2), *stages)
    assert equal(load((photos, tmp_path), batch=3).epoch(1), load((photos, tmp_path), batch=3, workers=1).epoch(1))


def test_epochs_differ_seeds_differ_and_the_same_comes_again(digits):
    assert equal(load(digits).epoch(2), load(digits).epoch(2))
    assert not equal(load(digits).epoch(2), load(digits).epoch(3))
    assert not equal(load(digits).epoch(2), load(digits, seed=4).epoch(2))
    in_order = load(digits, shuffle=False)
    labels = [torch.cat([batch["label"] for batch in in_order.epoch(epoch)]) for epoch in (0, 1)]
    assert torch.equal(*labels)


def test_an_epoch_can_start_at_any_step_and_ranks_share_a_batch(digits):
    whole = list(load(digits).epoch(1))
    assert equal(load(digits).epoch(1, start_step=4), whole[4:])
    assert equal(load(digits, workers=1).epoch(1, start_step=4), whole[4:])
    ranks = [load(digits, world=one_of(rank, 3)).epoch(1) for rank in range(3)]
    for batch, shares in zip(whole, zip(*ranks, strict=True), strict=True):
        assert equal([batch], [{name: torch.cat([share[name] for share in shares]) for name in batch}])


MIXED = Mixed(use("MixUp", alpha=0.5, num_classes=10), ("image", "label"), ("image", "label"), (False, False))


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_ranks_and_workers_share_a_batch_that_is_mixed(digits, name):
    made, root = digits
    mixed = Mixed(use(name, alpha=0.5, num_classes=10), ("image", "label"), ("image", "label"), (False, False))
    given = replace(made, stages=(*made.stages, mixed)), root
    whole = list(load(given).epoch(1))
    assert whole[0]["label"].shape == (8, 10)
    assert any(((batch["label"] > 0).sum(1) > 1).any() for batch in whole)
    assert equal(load(given, workers=2).epoch(1), whole)
    ranks = [load(given, world=one_of(rank, 2)).epoch(1) for rank in range(2)]
    for batch, shares in zip(whole, zip(*ranks, strict=True), strict=True):
        assert equal([batch], [{key: torch.cat([share[key] for share in shares]) for key in batch}])


@pytest.mark.parametrize(("stages", "workers"), [((), 0), ((), 1), ((MIXED,), 0), ((MIXED,), 1)])
def test_ranks_share_the_parts_of_a_batch(digits, stages, workers):
    """A rank without a sample of a part runs one of it, which does not count."""
    made, root = digits
    given = replace(made, stages=(*made.stages, *stages)), root
    loaders = [load(given, batch=7, parts=3, world=one_of(rank, 3), workers=workers) for rank in range(3)]
    whole = load(given, batch=7)
    idle = 0
    for step, (batch, *pieces) in enumerate(zip(whole.epoch(1), *(each.epoch(1) for each in loaders), strict=True)):
        shares = [each.shares(step) for each in loaders]
        sizes = [[share.run for share in own] for own in shares]
        runs = [piece["image"].split(each) for piece, each in zip(pieces, sizes, strict=True)]
        for number, part in enumerate(batch["image"].chunk(3)):
            found = [run[number][: own[number].samples] for run, own in zip(runs, shares, strict=True)]
            assert torch.equal(torch.cat(found), part)
            assert [own[number].whole for own in shares] == [len(part)] * 3
            idle += sum(own[number].samples == 0 for own in shares)
    assert idle > 0


def test_an_epoch_that_is_left_early_leaves_no_worker_behind(digits):
    loader = load(digits, workers=2)
    batches = loader.epoch(0)
    next(batches)
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt())
    assert not multiprocessing.active_children()
    kept = load(digits, workers=2, persistent_workers=True)
    next(kept.epoch(0))
    assert equal(kept.epoch(1), load(digits).epoch(1))
    kept.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_by_whoever_meets_it(tmp_path, workers):
    write_photos(tmp_path / "photos")
    broken = tmp_path / "photos" / "b" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    photos = plan(use("ImageFolder", root="photos", classes=2), use("Resize", size=[8, 8]))
    with pytest.raises(RunError) as error:
        list(load((photos, tmp_path), workers=workers).epoch(0))
    assert error.value.problem.code == "E0802"
    assert str(broken) in error.value.problem.message


def test_a_transform_that_fails_names_its_line(tmp_path):
    thin = plan(use("FakeData", size=4, image_size=[3, 40, 1]), use("Resize", size=8, max_size=10))
    with pytest.raises(RunError) as error:
        next(load((thin, tmp_path)).epoch(0))
    assert error.value.problem.code == "E0811"
    assert error.value.problem.span.text == "train"


def test_what_a_worker_needs_can_be_sent_to_it(digits):
    pipeline, chosen = open_pipeline(*digits, 0)
    again = pickle.loads(pickle.dumps(pipeline))
    assert equal([pipeline.batch(0, chosen[:4])], [again.batch(0, chosen[:4])])


def test_a_worker_that_is_killed_is_reported(tmp_path):
    loader = load((plan(use("FakeData", size=4000, image_size=[3, 64, 64])), tmp_path), workers=1)
    batches = loader.epoch(0)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RunError) as error:
        list(batches)
    assert error.value.problem.code == "E0807"


def test_a_worker_that_takes_too_long_is_reported(tmp_path):
    slow = plan(use("FakeData", size=4, image_size=[3, 2000, 2000]), use("GaussianBlur", kernel_size=21))
    with pytest.raises(RunError) as error:
        next(load((slow, tmp_path), workers=1, timeout=0.05).epoch(0))
    assert error.value.problem.code == "E0842"
    assert "0.05 s" in error.value.problem.message
