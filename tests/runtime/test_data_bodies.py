"""Bodies as data stages: what is piped together is drawn together, and the same bits whoever prepares them."""

import pickle

import numpy as np
import pytest
import torch
from data_plans import write_photos
from torch.nn.functional import one_hot

from expc.compiler.session import check_text
from expc.runtime.data.loader import Loader
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.errors import RunError

SIDE, CLASSES = 24, 21


@pytest.fixture
def scans(tmp_path):
    """Images whose pixels say where they are, and masks that follow from them."""
    rows, columns = np.indices((SIDE, SIDE))
    place = np.stack([rows, columns, np.zeros_like(rows)]).astype(np.uint8)
    images = np.stack([place + np.array([[[0]], [[0]], [[n]]], dtype=np.uint8) for n in range(12)])
    masks = np.stack([(rows * 7 + columns * 3) % CLASSES] * 12).astype(np.int16)
    np.savez(tmp_path / "scans.npz", image=images, mask=masks, weight=np.linspace(0, 1, 12))
    return tmp_path


SCANS = f'Npz("scans.npz") -> as (image: u8[3, {SIDE}, {SIDE}], mask: class({CLASSES})[{SIDE}, {SIDE}], weight: f32)'


def planned(stages, lets=""):
    """The plan of a role that is checked without a problem."""
    checked = check_text(f"{lets}\ndata {{ train = {stages} }}")
    assert [problem.message for problem in checked.problems] == []
    return checked.program.data["train"]


def batches(plan, root, epoch=0, workers=0, **settings):
    loader = Loader(plan, root=root, seed=5, batch=5, shuffle=True, workers=workers, **settings)
    return list(loader.epoch(epoch))


def equal(left, right):
    return all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(left, right, strict=True)
    )


def followed(image, mask):
    """Whether every pixel of the mask is the one that belongs to its pixel of the image."""
    image = image.long()
    return torch.equal((image[:, 0] * 7 + image[:, 1] * 3) % CLASSES, mask)


def test_a_mask_goes_where_its_image_goes(scans):
    body = "{ image, mask = (image, mask) -> RandomCrop(10) -> RandomHorizontalFlip -> RandomVerticalFlip }"
    plan = planned(f"{SCANS} -> {body}")
    assert [f"{field.name}: {field.type}" for field in plan.fields] == [
        "image: u8[3, 10, 10]",
        f"mask: class({CLASSES})[10, 10]",
        "weight: f32[]",
    ]
    made = batches(plan, scans)
    assert all(followed(batch["image"], batch["mask"]) for batch in made)
    corners = {tuple(image[:2, 0, 0].tolist()) for batch in made for image in batch["image"]}
    assert len(corners) > 6
    apart = planned(f"{SCANS} -> {{ image = image -> RandomCrop(10); mask = mask -> RandomCrop(10) }}")
    assert not any(followed(batch["image"], batch["mask"]) for batch in batches(apart, scans))


def test_a_mask_goes_where_its_image_goes_through_lists_of_transforms(scans):
    lists = (
        "RandomApply([RandomCrop(10) -> RandomHorizontalFlip], p=1)",
        "RandomApply([RandomHorizontalFlip(1), RandomVerticalFlip(0.5)])",
        "RandomChoice([RandomVerticalFlip(1), RandomAffine(0, translate=[0.2, 0.2]) -> CenterCrop(10)], p=[3, 1])",
        "RandomOrder([RandomHorizontalFlip, RandomApply([RandomVerticalFlip])])",
    )
    plan = planned(f"{SCANS} -> {{ image, mask = (image, mask) -> {' -> '.join(lists)} }}")
    assert [str(field.type) for field in plan.fields][:2] == ["u8[3, 10, 10]", f"class({CLASSES})[10, 10]"]
    made = batches(plan, scans)
    assert all(followed(batch["image"], batch["mask"]) for batch in made)
    assert len({tuple(image[:2, 0, 0].tolist()) for batch in made for image in batch["image"]}) > 6


def test_a_mask_is_never_blended(scans):
    plan = planned(f'{SCANS} -> {{ image, mask = (image, mask) -> Resize([17, 31], interpolation="bilinear") }}')
    (found,) = {batch["mask"].dtype for batch in batches(plan, scans)}
    assert found == torch.int64
    rows, columns = torch.arange(17) * SIDE // 17, torch.arange(31) * SIDE // 31
    expected = (rows[:, None] * 7 + columns * 3) % CLASSES
    assert all(torch.equal(mask, expected) for batch in batches(plan, scans) for mask in batch["mask"])


def test_two_views_are_drawn_apart_and_each_is_a_piece_of_its_image(scans):
    plan = planned(
        f"{SCANS} -> {{ a = image -> view; b = image -> view; _ = mask }}",
        "let view = RandomCrop(9) -> RandomHorizontalFlip -> f32",
    )
    assert [field.name for field in plan.fields] == ["a", "b", "weight"]
    made = batches(plan, scans)
    for batch in made:
        assert batch["a"].dtype == torch.float32
        assert torch.equal(batch["a"][:, 2], batch["b"][:, 2])  # of one image
        number = torch.linspace(0, 1, 12)[batch["a"][:, 2, 0, 0].long()]
        assert torch.allclose(number, batch["weight"])
    assert not any(torch.equal(batch["a"], batch["b"]) for batch in made)


@pytest.mark.parametrize("together", ["(image, mask) -> RandomCrop(10) -> RandomHorizontalFlip", "(image, mask)"])
def test_workers_and_resuming_change_nothing(scans, together):
    plan = planned(f"{SCANS} -> {{ image, mask = {together}; again = image -> RandomCrop(4) }}")
    for epoch in (0, 1):
        assert equal(batches(plan, scans, epoch), batches(plan, scans, epoch, workers=2))
    loader = Loader(plan, root=scans, seed=5, batch=5, shuffle=True)
    assert equal(loader.epoch(1, start_step=1), list(loader.epoch(1))[1:])
    pipeline, chosen = open_pipeline(plan, scans, 5)
    one_by_one = [pipeline.batch(1, chosen[i : i + 1]) for i in range(5)]
    whole = pickle.loads(pickle.dumps(pipeline)).batch(1, chosen[:5])
    assert equal([whole], [{name: torch.cat([one[name] for one in one_by_one]) for name in whole}])


def test_images_of_any_size_are_drawn_with_their_copies(tmp_path):
    write_photos(tmp_path / "photos")
    body = "{ image, copy = (image, image) -> Resize(20) -> RandomCrop(12) -> ToTensor }"
    plan = planned(f'ImageFolder("photos", classes=2) -> {body}')
    assert [field.name for field in plan.fields] == ["image", "label", "copy"]
    for batch in batches(plan, tmp_path):
        assert torch.equal(batch["image"], batch["copy"])
    assert equal(batches(plan, tmp_path), batches(plan, tmp_path, workers=1))


def test_sizes_that_were_declared_are_verified_sample_by_sample(tmp_path):
    write_photos(tmp_path / "photos")
    plan = planned('ImageFolder("photos", classes=2) -> as (image: u8[3, 30, 30]) -> ToTensor')
    with pytest.raises(RunError) as error:
        batches(plan, tmp_path)
    problem = error.value.problem
    assert problem.code == "E0803"
    assert problem.span.text == "as (image: u8[3, 30, 30])"


def test_classes_become_numbers(tmp_path):
    plan = planned("FakeData(20, [1, 4, 4], 7) -> { label = label -> OneHot; number = image -> f32 }")
    plain = planned("FakeData(20, [1, 4, 4], 7)")
    for made, before in zip(batches(plan, tmp_path), batches(plain, tmp_path), strict=True):
        assert torch.equal(made["label"], one_hot(before["label"], 7).float())
        assert torch.equal(made["number"], before["image"].float())
    masks = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    np.savez(tmp_path / "m.npz", mask=masks)
    (batch,) = batches(planned('Npz("m.npz") -> as (mask: class(3)[5, 6]) -> OneHot(4)'), tmp_path, drop_last=False)
    assert batch["mask"].shape == (4, 4, 5, 6)
    assert sorted(map(str, batch["mask"].argmax(1))) == sorted(map(str, torch.from_numpy(masks)))
