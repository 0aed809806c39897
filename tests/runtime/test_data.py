"""Opening data sets: the same samples as torchvision's, and a coded error for whatever is wrong."""

import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from data_plans import plan, split, use, write_cifar, write_digits, write_photos

from expc.compiler.library.datasets import datasets
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.session import check_text
from expc.compiler.types import TORCH_NAMES
from expc.runtime.data.datasets import data_root, open_dataset
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.errors import RunError

DIGITS = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def torchvision():
    return import_torchvision()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def refused(code, dataset, root):
    """The problem that opening `dataset` raises; never anything but a coded one."""
    with pytest.raises(RunError) as error:
        open_dataset(dataset, root)
    assert error.value.problem.code == code
    assert error.value.problem.span.text == "train"
    return error.value.problem


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(opened, reader):
    """Whether every sample equals torchvision's, as the image that it gives and the label."""
    found = opened.fetch(np.arange(len(opened)))
    assert len(opened) == len(reader)
    for i, (image, label) in enumerate(reader):
        pixels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)
        assert torch.equal(found["image"][i], pixels)
        assert found["label"][i] == label


def test_digits_are_torchvisions(tmp_path, torchvision):
    for part in ("train", "t10k"):
        write_digits(tmp_path, 12, part)
    for train in (True, False):
        opened = open_dataset(use("MNIST", root=str(tmp_path), train=train), tmp_path)
        same(opened, torchvision.datasets.MNIST(tmp_path, train=train))


def test_fake_data_is_torchvisions_and_leaves_torchs_generator_alone(tmp_path, torchvision):
    settings = {"size": 5, "image_size": [3, 8, 9], "num_classes": 4, "random_offset": 3}
    before = torch.get_rng_state()
    opened = open_dataset(use("FakeData", **settings), tmp_path)
    same(opened, torchvision.datasets.FakeData(**settings))
    assert torch.equal(before, torch.get_rng_state())


def test_a_folder_of_images_is_torchvisions(tmp_path, torchvision):
    write_photos(tmp_path / "photos")
    opened = open_dataset(use("ImageFolder", root="photos", classes=2), tmp_path)
    same(opened, torchvision.datasets.ImageFolder(str(tmp_path / "photos")))


def test_cifar_is_torchvisions(tmp_path, torchvision, monkeypatch):
    reader = torchvision.datasets.CIFAR10
    write_cifar(tmp_path, reader, monkeypatch)
    same(open_dataset(use("CIFAR10", root=str(tmp_path)), tmp_path), reader(tmp_path))
    (tmp_path / reader.base_folder / "data_batch_1").write_bytes(b"half")
    refused("E0802", use("CIFAR10", root=str(tmp_path)), tmp_path)


def test_windows_of_a_text(tmp_path):
    text = "to be, or nöt\r\nto be"
    (tmp_path / "a.txt").write_bytes(text.encode())
    characters = sorted(set(text))
    side_by_side = open_dataset(use("Text", path="a.txt", vocab=len(characters), window=4), tmp_path)
    assert len(side_by_side) == (len(text) - 1) // 4
    read = side_by_side.fetch(np.arange(len(side_by_side)))["tokens"].flatten()
    assert "".join(characters[i] for i in read) == text[: len(side_by_side) * 4]
    opened = open_dataset(use("Text", path="a.txt", vocab=len(characters), window=4, stride=1), tmp_path)
    assert len(opened) == len(text) - 4
    found = opened.fetch(np.array([0, 3, len(opened) - 1]))
    for row, start in enumerate((0, 3, len(opened) - 1)):
        assert "".join(characters[i] for i in found["tokens"][row]) == text[start : start + 4]
        assert "".join(characters[i] for i in found["target"][row]) == text[start + 1 : start + 5]
    read = open_dataset(use("Text", path="a.txt", tokens="byte", window=4, stride=3), tmp_path).fetch(np.array([3]))
    assert bytes(read["tokens"][0].tolist()) == text.encode()[9:13]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("MNIST", {"root": "."}),
        ("FakeData", {"size": 6, "image_size": [3, 5, 6]}),
        ("Text", {"path": "a.txt", "vocab": 3, "window": 2}),
    ],
)
def test_samples_have_the_types_that_were_declared(tmp_path, name, settings):
    write_digits(tmp_path)
    (tmp_path / "a.txt").write_text("abcabcab")
    dataset = use(name, **settings)
    found = open_dataset(dataset, tmp_path).fetch(np.arange(3))
    for field in datasets()[name].sample(dataset.settings):
        assert found[field.name].shape == (3, *field.type.dims)
        assert str(found[field.name].dtype) == f"torch.{TORCH_NAMES[field.type.dtype]}"


# ------------------------------------------------------------------------------------------------ what can be wrong


def test_data_that_is_not_there_says_where_it_was_sought(tmp_path):
    problem = refused("E0801", use("MNIST", root="data"), tmp_path)
    assert str(tmp_path / "data" / "MNIST" / "raw") in problem.message
    assert any("EXPC_DATA" in note for note in problem.notes)
    assert any("download=true" in note for note in problem.notes)
    refused("E0801", use("CIFAR10", root="data"), tmp_path)
    refused("E0801", use("ImageFolder", root="data", classes=2), tmp_path)
    refused("E0801", use("Text", path="data", vocab=2, window=2), tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no folder of a class at" in refused("E0801", use("ImageFolder", root="empty", classes=2), tmp_path).message
    (tmp_path / "empty" / "dog").mkdir()
    assert "no images of dog at" in refused("E0801", use("ImageFolder", root="empty", classes=1), tmp_path).message


def test_a_download_without_network_says_so_and_leaves_nothing(tmp_path, no_network):
    (tmp_path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    for name in ("MNIST", "CIFAR10"):
        problem = refused("E0801", use(name, root="data", download=True), tmp_path)
        assert any("Network is unreachable" in note for note in problem.notes)
    assert files(tmp_path) == before
    (tmp_path / "file").write_text("")
    refused("E0804", use("MNIST", root="file", download=True), tmp_path)


def test_a_download_never_touches_what_is_there(tmp_path, no_network, torchvision, monkeypatch):
    write_digits(tmp_path, 7)
    before = files(tmp_path)
    assert len(open_dataset(use("MNIST", root=".", download=True), tmp_path)) == 7
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    problem = refused("E0801", use("MNIST", root=".", download=True), tmp_path)
    assert "train-labels-idx1-ubyte" in problem.message
    assert files(tmp_path).items() <= before.items()

    def download(self):  # as if the network gave both parts
        write_digits(Path(self.root), 30, "train")
        write_digits(Path(self.root), 10, "t10k")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    before = files(tmp_path)
    assert len(open_dataset(use("MNIST", root=".", train=False, download=True), tmp_path)) == 10
    after = files(tmp_path)
    assert {path.name for path in after.keys() - before.keys()} == {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}
    assert before.items() <= after.items()
    assert not list(tmp_path.glob(".download-*"))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:100], lambda _: b"", lambda _: b"<html>", lambda data: data + b"x"]
)
def test_damaged_digits(tmp_path, damage):
    write_digits(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    before = files(tmp_path)
    assert str(path) in refused("E0802", use("MNIST", root=".", download=True), tmp_path).message
    assert files(tmp_path) == before


def test_data_that_is_not_what_was_declared(tmp_path):
    write_photos(tmp_path / "photos", (1, 1, 1))
    assert "3 folders: a, b, c" in refused("E0803", use("ImageFolder", root="photos", classes=2), tmp_path).message
    (tmp_path / "a.txt").write_text("abcab")
    assert "3 different characters" in refused("E0803", use("Text", path="a.txt", vocab=4, window=2), tmp_path).message
    refused("E0806", use("Text", path="a.txt", vocab=3, window=5), tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused("E0802", use("Text", path="a.txt", vocab=2, window=1), tmp_path).message
    (tmp_path / "a.txt").write_bytes(b"")
    refused("E0803", use("Text", path="a.txt", vocab=2, window=1), tmp_path)
    write_digits(tmp_path, 4)
    labels = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x0b")
    refused("E0803", use("MNIST", root="."), tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<html>not found</html>", "it is no image"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "Truncated"),
        (None, "No such file"),
    ],
)
def test_what_is_no_image_is_found_when_the_folder_is_opened(tmp_path, content, reason):
    write_photos(tmp_path / "photos", (2, 2))
    path = tmp_path / "photos" / "b" / "1.png"
    path.unlink()
    if content is None:
        path.symlink_to(tmp_path / "nowhere.png")
    else:
        path.write_bytes(content)
    problem = refused("E0802", use("ImageFolder", root="photos", classes=2), tmp_path)
    assert str(path) in problem.message
    assert reason in problem.message


def test_a_disk_that_fails_is_not_the_end_of_a_file(tmp_path):
    broken = "/proc/self/mem"  # whoever reads its beginning meets an error of the disk
    if not Path(broken).exists():
        pytest.skip("there is no file that always fails")
    assert "Input/output error" in refused("E0802", use("Text", path=broken, tokens="byte", window=1), tmp_path).message


@pytest.mark.parametrize(
    "line",
    [
        'Text("q/a.txt", tokens="byte", window=1)',
        'MNIST("q")',
        'CIFAR10("q")',
        'ImageFolder("q", classes=2) -> Resize([8, 8])',
    ],
)
def test_a_folder_that_may_not_be_read_says_so(tmp_path, monkeypatch, line):
    """As the tests may run as somebody who may read everything, the system is replaced where it answers."""

    def forbidden(path, *_, **__):
        if "q" in Path(path).parts:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.stat
    monkeypatch.setattr(os, "stat", forbidden)
    plan = check_text(f"data {{ train = {line} }}\n", str(tmp_path / "net.exp")).program.data["train"]
    with pytest.raises(RunError) as error:
        open_pipeline(plan, tmp_path, 0)
    assert error.value.problem.code == "E0802"
    assert "Permission denied" in error.value.problem.message


def test_torchvisions_advice_about_its_own_arguments_is_left_out(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    message = refused("E0802", use("CIFAR10", root="."), tmp_path).message
    assert "download=True" not in message
    assert "files are missing" in message
    refused("E0801", use("Caltech256", root="."), tmp_path)
    assert not (tmp_path / "caltech256").exists()


def test_relative_paths_start_where_expc_data_says(tmp_path, monkeypatch):
    monkeypatch.delenv("EXPC_DATA", raising=False)
    assert data_root(tmp_path) == tmp_path
    monkeypatch.setenv("EXPC_DATA", "/elsewhere")
    assert data_root(tmp_path) == Path("/elsewhere")


# ------------------------------------------------------------------------------------------------ splits


def parts(length, *written, seed=0, shuffle=True):
    fake = use("FakeData", size=length)
    return [
        open_pipeline(plan(fake, split(*written, index=index, shuffle=shuffle)), Path(), seed)[1]
        for index in range(len(written) + 1)
    ]


def test_parts_of_a_split_share_nothing_and_leave_nothing():
    first, second, third = parts(1003, 0.8, 0.1)
    assert [len(first), len(second), len(third)] == [802, 101, 100]
    assert sorted(np.concatenate([first, second, third])) == list(range(1003))
    assert not np.array_equal(first, np.arange(802))
    assert np.array_equal(first, parts(1003, 0.8, 0.1)[0])
    assert not np.array_equal(first, parts(1003, 0.8, 0.1, seed=1)[0])
    assert np.array_equal(parts(1003, 0.8, 0.1, shuffle=False)[1], np.arange(802, 903))


def test_a_split_of_a_split_is_part_of_it_and_no_part_is_empty():
    fake = use("FakeData", size=1000)
    half = open_pipeline(plan(fake, split(0.5)), Path(), 0)[1]
    quarter = open_pipeline(plan(fake, split(0.5), split(0.5)), Path(), 0)[1]
    assert len(quarter) == 250
    assert set(quarter) < set(half)
    with pytest.raises(RunError) as error:
        open_pipeline(plan(use("FakeData", size=3), split(0.9, index=1)), Path(), 0)
    assert error.value.problem.code == "E0806"


# ------------------------------------------------------------------------------------------------ torchvision


def run(program):
    return subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)


def test_torchvision_can_be_imported_whatever_its_build():
    program = (
        "from expc.compiler.lower.torchvision import import_torchvision;"
        "import torch; vision = import_torchvision(); assert import_torchvision() is vision;"
        "from torchvision.transforms.v2 import functional as F;"
        "assert F.resize(torch.zeros(3, 8, 8), [4, 4]).shape == (3, 4, 4);"
        "vision.models.resnet18()"
    )
    result = run(program)
    assert result.returncode == 0, result.stderr
    if run("import torchvision").returncode:
        without = "import expc.compiler.lower.torchvision as c; c._operators_load = lambda: True;"
        assert "torchvision::nms" in run(without + "c.import_torchvision()").stderr


@pytest.mark.skipif(not DIGITS.exists(), reason="the digits of the examples are not there")
def test_the_digits_of_the_examples_load_without_network(no_network):
    import_module("torchvision.datasets")
    for train, count in ((True, 8000), (False, 2000)):
        assert len(open_dataset(use("MNIST", root=str(DIGITS), train=train, download=True), DIGITS)) == count
