"""The paths of data: whether samples live decoded or batches are made anew, the batches are the same, bit for bit."""

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from data_plans import one_of, write_photos

from expc.compiler.library.transforms import transforms
from expc.compiler.session import check_text
from expc.runtime.data.loader import Loader
from expc.runtime.data.memory import Memory, free
from expc.runtime.data.roles import open_roles, say
from expc.runtime.data.ways import Way, described
from expc.runtime.errors import RunError

NPZ = 'Npz("images.npz") -> as (image: u8[3, 40, 36], label: class(5))'
MIXED = ["", " -> MixUp(num_classes=5)", " -> CutMix(alpha=0.7, num_classes=5)"]
MODEL = """
model Net(x: f32[N, 3, H, W]) -> f32[N, 5] { AdaptiveAvgPool2d(1) -> Flatten -> Linear(5) }
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 30, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    np.savez(
        folder / "images.npz",
        image=rng.integers(0, 256, (30, 3, 40, 36), dtype=np.uint8),
        label=labels,
        mask=rng.integers(0, 4, (30, 40, 36)),
        often=rng.uniform(0, 3, 30).astype(np.float32),
    )
    write_photos(folder / "photos", (9, 2))
    (folder / "a.txt").write_text("to be or not to be " * 20)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def checked(text):
    return check_text(text, "net.exp")


def load(root, line, settings="batch = 7", **given):
    found = checked(f"data {{\n  train = {line}\n  {settings}\n}}\n")
    assert not found.has_errors, [problem.message for problem in found.problems]
    data = found.program.experiment.data
    taken = {"root": root, "seed": 5, "batch": data.batch, "shuffle": True, **given}
    return Loader(found.program.data["train"], **taken)


def same(left, right, epochs=(0, 1)):
    for epoch in epochs:
        ours, theirs = list(left.epoch(epoch)), list(right.epoch(epoch))
        assert len(ours) == len(theirs) == len(left) > 0
        for a, b in zip(ours, theirs, strict=True):
            assert a.keys() == b.keys()
            for name in a:
                assert a[name].dtype == b[name].dtype
                assert torch.equal(a[name], b[name])


def around(name):
    """A pipeline that the transform stands in, others around it at random, and images mixed now and then."""
    rng, table = random.Random(name), transforms()
    examples = [transform.example for transform in table.values() if transform.fields is None]
    for _ in range(40):
        stages = rng.choices(examples, k=3)
        stages.insert(rng.randrange(4), table[name].example)
        line = f"{' -> '.join(stages)} -> ToDtype(f32) -> Resize([12, 9]){rng.choice(MIXED)}"
        if checked(f"data {{ train = {NPZ} -> {line} }}\n").program is not None:
            return line
    raise AssertionError(f"{name} stands beside no other transform")


@pytest.mark.parametrize("name", [name for name, transform in transforms().items() if transform.fields is None])
def test_every_transform_gives_the_same_on_both_paths(root, name):
    line = f"{NPZ} -> {around(name)}"
    anew, resident = load(root, line), load(root, line, path="resident", memory=Memory(0.25))
    assert anew.way.device is None
    assert resident.way.device == torch.device("cpu")
    same(anew, resident)


MASKED = 'Npz("images.npz") -> as (image: u8[3, 40, 36], mask: class(4)[40, 36])'
VIEW = "RandomCrop(16) -> ToTensor"
LINES = [
    f"{NPZ} -> Resize([20, 20]) -> ToTensor -> RandomCrop(16) -> Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.1])",
    'ImageFolder("photos", classes=2) -> Resize([20, 18]) -> RandomHorizontalFlip -> ToTensor',
    'ImageFolder("photos", classes=2) -> RandomResizedCrop(16) -> ToTensor',
    'ImageFolder("photos", classes=2) -> Resize(24) -> RandomCrop(20) -> ToTensor -> MixUp(num_classes=2)',
    "FakeData(size=40, image_size=[3, 9, 8], num_classes=4) -> ToTensor",
    'Text("a.txt", tokens="char", vocab=7, window=8, stride=3)',
    f"{MASKED} -> {{ image, mask = (image, mask) -> RandomCrop(30) -> RandomRotation(20) }} -> ToTensor",
    f"{NPZ} -> {{ a = image -> {VIEW}; b = image -> {VIEW}; label = label -> OneHot }}",
    f"{NPZ} -> ToTensor -> as (image: f32[3, 40, 36], label: class(5))",
]


@pytest.mark.parametrize("line", LINES)
def test_whoever_makes_batches_they_are_the_same(root, line):
    anew = load(root, line)
    same(anew, load(root, line, path="resident", memory=Memory(0.25)))
    if line in LINES[:4]:
        same(anew, load(root, line, path="workers", workers=1, memory=Memory(0.25)), epochs=(1,))
        same(anew, load(root, line, workers=1, memory=Memory(0.25)))
    ranks = [load(root, line, path="resident", memory=Memory(0.25), world=one_of(rank, 2)) for rank in range(2)]
    for whole, *parts in zip(anew.epoch(1), *(rank.epoch(1) for rank in ranks), strict=True):
        for name in whole:
            assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))


def test_an_epoch_that_is_left_early_and_goes_on_elsewhere_is_the_same(root):
    line = LINES[1]
    for workers in (0, 1):
        anew, resident = (
            load(root, line, "batch = 2"),
            load(root, line, "batch = 2", workers=workers, memory=Memory(0.25)),
        )
        list(islice(resident.epoch(0), 2))
        assert torch.equal(*(next(loader.epoch(0, start_step=3))["image"] for loader in (anew, resident)))
        same(anew, resident)


def test_what_is_done_once_is_not_done_again(root, monkeypatch):
    """Images are decoded in the first epoch alone, and nothing but the random transforms is done in others."""
    from expc.runtime.data import datasets, pipeline

    line = 'ImageFolder("photos", classes=2) -> Resize([20, 18]) -> ToTensor -> RandomHorizontalFlip'
    loader, decoded, done = load(root, line, memory=Memory(0.25)), [], []
    decode, through = datasets.Folder._decode, pipeline.through
    monkeypatch.setattr(datasets.Folder, "_decode", lambda self, path: decoded.append(path) or decode(self, path))
    monkeypatch.setattr(
        pipeline, "through", lambda name, *args, **named: done.append(name) or through(name, *args, **named)
    )
    list(loader.epoch(0))
    assert Counter(decoded) == Counter(str(path) for path in (root / "photos").rglob("*.png"))
    assert {"Resize", "ToTensor"} < set(done)
    done.clear()
    list(loader.epoch(1))
    assert len(decoded) == 11
    assert set(done) == {"RandomHorizontalFlip"}


def test_a_batch_is_nobody_elses(root):
    """Batches that are parts of a larger tensor do not share what a model does to them."""
    line = f"{NPZ} -> CenterCrop(4) -> ToTensor"
    expected = [batch["image"] for batch in load(root, line, "batch = 3").epoch(0)]
    weight = torch.ones((), requires_grad=True)
    for batch, clean in zip(load(root, line, "batch = 3", memory=Memory(0.25)).epoch(0), expected, strict=True):
        image = batch["image"]
        assert torch.equal(image, clean)
        assert not image.requires_grad
        image += weight
        image.sum().backward()
    assert weight.grad == sum(image.numel() for image in expected)


def test_what_validation_has_read_can_be_read_elsewhere(root):
    loader = load(root, LINES[1], "batch = 2", memory=Memory(0.25))
    with torch.inference_mode():
        next(loader.epoch(0))
    same(load(root, LINES[1], "batch = 2"), loader)


# ------------------------------------------------------------------------------------------------ the choice


class Little(Memory):
    """As many bytes as a test says."""

    def __init__(self, size):
        super().__init__(0.5)
        self._left[torch.device("cpu")] = size


PHOTOS = 'ImageFolder("photos", classes=2) -> Resize([10, 10])'
BYTES = 11 * (3 * 10 * 10 + 8)
"""What eleven of them take, with their labels."""


@pytest.mark.parametrize(
    ("line", "size", "given", "expected"),
    [
        (f"{PHOTOS} -> ToTensor", 11 * (4 * 300 + 8), {}, (2, 11 * (4 * 300 + 8))),
        (f"{PHOTOS} -> ToTensor", 11 * (4 * 300 + 8) - 1, {}, (1, BYTES)),
        (f"{PHOTOS} -> ToTensor", BYTES, {}, (1, BYTES)),
        (f"{PHOTOS} -> ToTensor", BYTES - 1, {}, "decoded it takes 3.3 KiB, and it may take 3.3 KiB"),
        (f"{PHOTOS} -> ToTensor", BYTES, {"passes": lambda _: 1}, "each sample is read only once"),
        (f"{PHOTOS} -> RandAugment", BYTES, {}, (1, BYTES)),
        (f"{PHOTOS} -> RandAugment", BYTES, {"workers": 2}, "`RandAugment` goes image by image"),
        (f"{PHOTOS} -> RandomHorizontalFlip", BYTES, {"workers": 2}, (1, BYTES)),
        (f"{NPZ} -> CenterCrop(8)", 1 << 20, {"passes": lambda _: 1}, (0, 0)),
        (f"{NPZ} -> CenterCrop(8) -> ToTensor", 30 * (3 * 8 * 8 + 8), {}, (1, 30 * (3 * 8 * 8 + 8))),
    ],
)
def test_samples_are_resident_where_they_fit_and_are_worth_it(root, line, size, given, expected):
    way = load(root, line, memory=Little(size), **given).way
    if isinstance(expected, str):
        assert (way.device, way.reason) == (None, expected)
    else:
        assert (way.device, way.done, way.size) == (torch.device("cpu"), *expected)


def test_roles_share_one_memory_and_what_must_fit_says_so(root):
    memory = Little(BYTES + 5)
    assert load(root, PHOTOS, memory=memory).way.device is not None
    assert load(root, PHOTOS, memory=memory).way.device is None
    with pytest.raises(RunError) as error:
        load(root, PHOTOS, path="resident", memory=memory)
    assert error.value.problem.code == "E0841"
    assert "3.3 KiB" in error.value.problem.message


def test_free_memory_is_what_the_machine_has():
    pages = Path("/proc/meminfo").read_text()
    assert 0 < free(torch.device("cpu")) < int(pages.split()[1]) * 1024


def test_a_run_opens_its_roles_and_says_which_way_they_come(root):
    text = f"""
data {{
  train = {PHOTOS} -> ToTensor
  val   = {PHOTOS} -> ToTensor
  test  = {PHOTOS} -> ToTensor
  batch = 4
}}
{MODEL}
train {{ steps = 6, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }}
"""
    program = checked(text).program
    assert program is not None
    loaders = open_roles(program, root=root, device=torch.device("cpu"))
    line = say(loaders, program.experiment.data)
    assert line.startswith("train, val resident on cpu, 26 KiB · test made batch by batch: each sample is read")
    once = checked(text.replace("steps = 6", "steps = 3")).program
    assert "resident" not in say(open_roles(once, root=root, device=torch.device("cpu")), once.experiment.data)
    ways = {"train": Way(reason="it is so"), "val": Way(torch.device("cpu"), 1, 3 << 30)}
    assert described(ways, 2) == "train by 2 workers: it is so · val resident on cpu, 3.0 GiB"
