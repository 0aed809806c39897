"""Every example runs: a few steps on little data, after which its loss is lower and its run directory whole."""

import importlib.util
import json
import math
import shutil
import struct
from pathlib import Path

import pytest
import torch
from data_plans import write_cifar
from PIL import Image
from safetensors.torch import load_file, save_file
from test_vision import pets
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div

import expc
from expc.compiler.lower.torchvision import import_torchvision
from expc.runtime.prepare import prepare

EXAMPLES = Path(__file__).parents[2] / "examples"
NETWORKS = {"resnet18", "unet"}
"""Examples of a network alone: others use it."""

FEW = {"train.epochs": None, "train.steps": 8, "train.schedule": None, "log.every": "1 steps"}
SETTINGS = {
    "autoencoder": {"data.batch": 16},
    "cifar10": {"data.batch": 4, "train.steps": 4, "train.optimizer": "SGD(lr=0.01)"},
    "contrastive": {"data.batch": 16},
    "dcgan": {"data.batch": 16},
    "diffusion": {"data.batch": 16},
    "distillation": {"data.batch": 16},
    "forecast": {"data.batch": 32, "train.optimizer": "Adam(lr=1e-2)"},
    "gpt": {"data.batch": 8, "context": 32, "width": 32, "heads": 2, "depth": 2},
    "houses": {"data.batch": 64},
    "imbalanced": {"data.batch": 32},
    "linear_probe": {"data.batch": 10},
    "mixed_precision": {"data.batch": 16, "train.accumulate": 2, "train.steps": 3},
    "mnist": {"data.batch": 64},
    "segmentation": {"data.batch": 4},
    "sentences": {"data.batch": 64, "train.optimizer": "AdamW(lr=1e-2)"},
    "transfer": {
        "data.batch": 4,
        "data.workers": 0,
        "data.val": "FakeData(size=8, image_size=[3, 32, 32], num_classes=37) -> ToTensor",
        "train.steps": 4,
    },
    "two_heads": {"data.batch": 32, "train.optimizer": "AdamW(lr=5e-4)"},
    "vae": {"data.batch": 16},
}
STARTS = {"distillation": "mnist", "linear_probe": "contrastive", "transfer": "resnet18"}
"""Whose weights an example starts from."""
TAUGHT = {"distillation": "student.", "linear_probe": "head.", "transfer": "fc."}
"""What learns there; the rest is frozen."""


def script(name):
    found = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_data():
    return script("make_data")


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory, make_data):
    """A little of what the examples read, where `EXPC_DATA` says."""
    root = tmp_path_factory.mktemp("root")
    make_data.main(root / "data")
    shutil.copy(EXAMPLES / "tinyshakespeare.txt", root)
    raw = root / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in {"train": 400, "t10k": 20}.items():
        images, labels = make_data.digits(part)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images[:count].tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels[:count].tobytes())
    pets(root / "data", None)
    listed = root / "data" / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    breeds = listed.read_text().splitlines()
    listed.write_text("\n".join(breeds[i % len(breeds)] for i in range(3680)))
    with pytest.MonkeyPatch.context() as patch:
        write_cifar(root / "data", import_torchvision().datasets.CIFAR10, patch)
        patch.setenv("EXPC_DATA", str(root))
        yield root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The files of weights that some examples start from."""
    folder = tmp_path_factory.mktemp("weights")
    found = {name: folder / f"{name}.safetensors" for name in STARTS}
    for name, file in found.items():
        save_file(expc.load(EXAMPLES / f"{STARTS[name]}.exp").build(seed=1).state_dict(), file)
    return found


@pytest.fixture
def load(weights):
    """An example with little to do."""

    def loaded(name):
        start = {"weights": f'"{weights[name]}"'} if name in weights else {}
        few = FEW | SETTINGS[name] | start
        return expc.load(EXAMPLES / f"{name}.exp", set={key: "none" if v is None else v for key, v in few.items()})

    return loaded


def losses(directory):
    """The loss of each step."""
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if (row["phase"], row["over"]) == ("train", "steps")]


def test_every_example_that_trains_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.exp")} == SETTINGS.keys() | NETWORKS


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in TAUGHT])
def test_an_example_learns(load, name, tmp_path):
    result = load(name).run(out=tmp_path / "run", device="cpu")
    assert result.status == "finished"
    assert all(math.isfinite(value) for value in result.metrics.values())
    found = losses(result.directory)
    assert len(found) == result.steps
    if name not in ("dcgan", "mixed_precision"):  # what one player wins, the other loses; a head that is 0 begins well
        assert sum(found[-2:]) / 2 < found[0]
    assert {path.name for path in result.directory.iterdir()} >= {"run.json", "resolved.yaml", "final.safetensors"}
    assert f"{name}.exp" in {path.name for path in (result.directory / "sources").rglob("*.exp")}


@pytest.mark.parametrize("name", TAUGHT)
def test_what_is_frozen_stays_as_it_was_loaded_and_the_rest_learns(load, weights, name, tmp_path):
    experiment = load(name)
    result = experiment.run(out=tmp_path / "run", device="cpu")
    found = losses(result.directory)
    if name != "transfer":  # photographs of noise, each of another breed
        assert sum(found[-2:]) / 2 < found[0]
    before, after = experiment.build().state_dict(), load_file(result.directory / "final.safetensors")
    assert {key for key in after if not torch.equal(before[key], after[key])} == {
        key for key in after if key.startswith(TAUGHT[name])
    }
    file = load_file(weights[name])
    for key, value in after.items():
        if not key.startswith(TAUGHT[name]):
            assert torch.equal(value, file[key.removeprefix("teacher.")])


def first_batch(experiment, frozen=()):
    """The task of a run, what it gives for the first batch in training, and that batch."""
    prepared = prepare(experiment.program, "cpu")
    batch = next(prepared.loaders["train"].epoch(0))
    prepared.task.freeze(frozen)
    prepared.task.train()
    return prepared.task, prepared.task.named(batch), batch


def test_the_contrastive_loss_tells_a_view_from_all_but_its_twin(load):
    task, named, batch = first_batch(load("contrastive"))
    assert not torch.equal(batch["a"], batch["b"])
    views = torch.cat([named["p"], named["q"]])
    count = len(views) // 2
    terms = []
    for i, view in enumerate(views):
        scores = torch.exp(cosine_similarity(view, views, dim=1) / 0.2)
        terms.append(-torch.log(scores[(i + count) % (2 * count)] / (scores.sum() - scores[i])))
    torch.testing.assert_close(task.losses(named, count)["loss"], torch.stack(terms).mean())


def test_a_student_is_told_what_its_teacher_thinks(load, weights):
    teacher = expc.load(EXAMPLES / "mnist.exp").build()
    teacher.load_state_dict(load_file(weights["distillation"]))
    task, named, batch = first_batch(load("distillation"), [f"teacher.{key}" for key in teacher.state_dict()])
    thinks = (teacher.eval()(batch["image"]) / 4).softmax(1)
    soft = 16 * kl_div((named["scores"] / 4).log_softmax(1), thinks, reduction="batchmean")
    expected = {"hard": 0.1 * cross_entropy(named["scores"], batch["label"]), "soft": soft}
    found = task.losses(named, len(batch["label"]))
    torch.testing.assert_close({name: found[name] for name in expected}, expected)


def test_noise_is_added_as_the_schedule_says(load):
    model = load("diffusion").build(seed=0)
    image = torch.rand(6, 1, 28, 28) * 2 - 1
    torch.manual_seed(0)
    found = model(image)
    torch.manual_seed(0)
    time, noise = torch.randint(0, 100, (6,)), torch.randn_like(image)
    kept = torch.stack([torch.prod(1 - torch.linspace(1e-3, 0.2, 100)[: t + 1]) for t in time]).view(-1, 1, 1, 1)
    assert torch.equal(found["noise"], noise)
    torch.testing.assert_close(found["guess"], model.net(kept.sqrt() * image + (1 - kept).sqrt() * noise, time))


def test_masks_move_with_their_images(load):
    _, _, batch = first_batch(load("segmentation"))
    assert batch["image"].shape[-2:] == batch["mask"].shape[-2:] == (48, 48)
    for image, mask in zip(batch["image"], batch["mask"], strict=True):
        assert image[0][mask > 0].mean() > 2 * image[0][mask == 0].mean()


def test_the_data_is_the_same_each_time(make_data, root, tmp_path):
    for make, name in ((make_data.houses, "houses.csv"), (make_data.rare, "rare.npz")):
        make(tmp_path)
        assert (tmp_path / name).read_bytes() == (root / "data" / name).read_bytes()


@pytest.mark.parametrize("name", ["dcgan", "diffusion", "vae"])
def test_what_was_learnt_is_drawn(load, name, tmp_path):
    result = load(name).run(out=tmp_path / "run", device="cpu")
    script("draw").main(result.directory, tmp_path / "digits.png")
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size == (224, 224)
        assert len(picture.getcolors()) > 50
