"""torchvision's data sets from small files in their formats: what is read is what the checker says of a sample."""

import bz2
import json
import pickle
import struct
from dataclasses import replace
from hashlib import md5
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from data_plans import use
from PIL import Image

from expc.compiler.dimensions import as_symbol
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.types import NO_CLASS, TORCH_NAMES
from expc.runtime.data import vision
from expc.runtime.data.datasets import column, open_dataset
from expc.runtime.errors import RunError

RNG = np.random.default_rng(0)


def photo(path, height=30, width=20, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


def idx(path, values, magic):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes())


def checksum(path):
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def emnist(root, _):
    idx(root / "EMNIST/raw/emnist-letters-train-images-idx3-ubyte", RNG.integers(0, 256, (5, 28, 28), np.uint8), 0x803)
    idx(root / "EMNIST/raw/emnist-letters-train-labels-idx1-ubyte", np.array([1, 26, 3, 4, 5], np.uint8), 0x801)


def kmnist(root, _):
    for part in ("train", "t10k"):
        idx(root / f"KMNIST/raw/{part}-images-idx3-ubyte", RNG.integers(0, 256, (5, 28, 28), np.uint8), 0x803)
        idx(root / f"KMNIST/raw/{part}-labels-idx1-ubyte", np.array([0, 9, 3, 4, 5], np.uint8), 0x801)


def qmnist(root, _):
    labels = RNG.integers(0, 10, (4, 8)).astype(">i4")
    idx(root / "QMNIST/raw/qmnist-test-images-idx3-ubyte", RNG.integers(0, 256, (4, 28, 28), np.uint8), 0x803)
    idx(root / "QMNIST/raw/qmnist-test-labels-idx2-int", labels, 0xC02)


def usps(root, _):
    lines = [
        " ".join([str(1 + i), *(f"{j + 1}:{value:.3f}" for j, value in enumerate(RNG.uniform(-1, 1, 256)))])
        for i in range(5)
    ]
    (root / "usps.t.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))


def semeion(root, patch):
    rows = [
        " ".join(f"{v}.0" for v in RNG.integers(0, 2, 256)) + " " + "0 " * i + "1 " + "0 " * (9 - i) for i in (0, 7)
    ]
    (root / "semeion.data").write_text("\n".join(rows))
    reader = import_torchvision().datasets.SEMEION
    patch.setattr(reader, "md5_checksum", checksum(root / "semeion.data"))


def stl10(root, patch):
    folder = root / "stl10_binary"
    folder.mkdir()
    (folder / "test_X.bin").write_bytes(RNG.integers(0, 256, 3 * 3 * 96 * 96, np.uint8).tobytes())
    (folder / "test_y.bin").write_bytes(bytes([1, 10, 5]))
    reader = import_torchvision().datasets.STL10
    patch.setattr(reader, "train_list", [])
    sums = [
        [n, md5((folder / n).read_bytes(), usedforsecurity=False).hexdigest()] for n in ("test_X.bin", "test_y.bin")
    ]
    patch.setattr(reader, "test_list", sums)


def fer2013(root, patch):
    (root / "fer2013").mkdir()
    rows = [f"{label},{' '.join(map(str, RNG.integers(0, 256, 2304)))},Training" for label in (0, 6)]
    path = root / "fer2013/fer2013.csv"
    path.write_text("emotion,pixels,Usage\n" + "\n".join(rows))
    reader = import_torchvision().datasets.FER2013
    patch.setattr(reader, "_RESOURCES", {**reader._RESOURCES, "fer": (path.name, checksum(path))})


def eurosat(root, _):
    for i in range(10):
        photo(root / f"eurosat/2750/kind{i}/{i}.png", 64, 64)


def dtd(root, _):
    names = [f"kind{i}/kind{i}_0.jpg" for i in range(47)]
    for name in names:
        photo(root / "dtd/dtd/images" / name)
    (root / "dtd/dtd/labels").mkdir(parents=True)
    (root / "dtd/dtd/labels/train1.txt").write_text("\n".join(names))


def food101(root, _):
    kinds = [f"dish{i:03}" for i in range(101)]
    (root / "food-101/meta").mkdir(parents=True)
    (root / "food-101/meta/test.json").write_text(json.dumps({kind: [f"{kind}/1"] for kind in kinds}))
    for kind in kinds:
        photo(root / f"food-101/images/{kind}/1.jpg", 8, 9)


def country211(root, _):
    for i in range(211):
        photo(root / f"country211/valid/{i:03}/1.png", 6, 5, mode="L")


def rendered_sst2(root, _):
    for kind in ("negative", "positive"):
        photo(root / f"rendered-sst2/valid/{kind}/1.png", 448, 448)


def gtsrb(root, _):
    photo(root / "gtsrb/GTSRB/Training/00000/a.ppm")
    photo(root / "gtsrb/GTSRB/Training/00042/b.ppm")
    for i in range(1, 42):
        photo(root / f"gtsrb/GTSRB/Training/{i:05}/c.ppm", 4, 4)


def imagenette(root, _):
    reader = import_torchvision().datasets.Imagenette
    for name in reader._WNID_TO_CLASS:
        photo(root / f"imagenette2-160/val/{name}/1.JPEG")


def sun397(root, _):
    folder = root / "SUN397"
    names = [f"/{chr(97 + i % 26)}/place{i}" for i in range(397)]
    folder.mkdir()
    (folder / "ClassName.txt").write_text("\n".join(names))
    for name in names[:3]:
        photo(folder / name[1:] / "sun_1.jpg")


def aircraft(root, _):
    folder = root / "fgvc-aircraft-2013b/data"
    photo(folder / "images/17.jpg")
    (folder / "families.txt").write_text("\n".join(f"Family {i}" for i in range(70)))
    (folder / "images_family_trainval.txt").write_text("17 Family 3")


def pets(root, _):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations/trimaps").mkdir(parents=True)
    lines = []
    for i in range(37):
        photo(folder / f"images/Breed_{i}_1.jpg", 9, 7)
        Image.fromarray(RNG.integers(1, 4, (9, 7), dtype=np.uint8)).save(
            folder / f"annotations/trimaps/Breed_{i}_1.png"
        )
        lines.append(f"Breed_{i}_1 {i + 1} {1 + i % 2} 1")
    (folder / "annotations/trainval.txt").write_text("\n".join(lines))


def voc(root, _):
    folder = root / "VOCdevkit/VOC2012"
    photo(folder / "JPEGImages/a.jpg", 10, 12)
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/train.txt").write_text("a")
    (folder / "SegmentationClass").mkdir()
    mask = RNG.integers(0, 21, (10, 12), dtype=np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(folder / "SegmentationClass/a.png")


def fashion(root, _):
    for part in ("train", "t10k"):
        idx(root / f"FashionMNIST/raw/{part}-images-idx3-ubyte", RNG.integers(0, 256, (5, 28, 28), np.uint8), 0x803)
        idx(root / f"FashionMNIST/raw/{part}-labels-idx1-ubyte", np.array([0, 9, 3, 4, 5], np.uint8), 0x801)


def cifar100(root, patch):
    reader = import_torchvision().datasets.CIFAR100
    (root / reader.base_folder).mkdir()

    def write(name, content):
        path = root / reader.base_folder / name
        path.write_bytes(pickle.dumps(content))
        return [name, checksum(path)]

    pixels = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
    patch.setattr(reader, "train_list", [write("train", {"data": pixels, "fine_labels": [0, 99, 3, 4]})])
    name, md5 = write("meta", {"fine_label_names": [str(i) for i in range(100)]})
    patch.setattr(reader, "test_list", [])
    patch.setattr(reader, "meta", {"filename": name, "key": "fine_label_names", "md5": md5})


def believing(patch, module):
    """Let torchvision take files of any content for those that were published, if they are there."""
    import_torchvision()
    patch.setattr(
        import_module(f"torchvision.datasets.{module}"), "check_integrity", lambda path, md5=None: Path(path).is_file()
    )


def omniglot(root, patch):
    believing(patch, "omniglot")
    folder = root / "omniglot-py"
    for alphabet, character in (("Greek", "character01"), ("Greek", "character02"), ("Latin", "character01")):
        photo(folder / "images_background" / alphabet / character / "0001_01.png", 105, 105, mode="L")
    (folder / "images_background.zip").write_bytes(b"")


def caltech256(root, _):
    for i, name in enumerate(("ak47", "bear", "cactus"), 1):
        photo(root / f"caltech256/256_ObjectCategories/{i:03}.{name}/{i:03}_0001.jpg", mode="L" if i == 2 else "RGB")


def clevr(root, _):
    folder = root / "clevr/CLEVR_v1.0"
    for i in range(3):
        photo(folder / f"images/train/CLEVR_train_{i}.png", 320, 480)
    scenes = [{"image_filename": f"CLEVR_train_{i}.png", "objects": [{}] * (3 + i)} for i in range(3)]
    (folder / "scenes").mkdir()
    (folder / "scenes/CLEVR_train_scenes.json").write_text(json.dumps({"scenes": scenes}))


def imagenet(root, _):
    names = [f"n{i:08}" for i in range(1000)]
    photo(root / "one.png", 3, 2)
    for name in names:
        (root / "val" / name).mkdir(parents=True)
        (root / "val" / name / "a.JPEG").hardlink_to(root / "one.png")
    torch.save(({name: (name,) for name in names}, []), root / "meta.bin")


def inaturalist(root, _):
    for i, kingdom in enumerate(("Animalia", "Plantae", "Animalia")):
        photo(root / f"2021_valid/{i:05}_{kingdom}_b_c_d_e_f_g{i}/a.jpg")


def lfw_people(root, patch):
    believing(patch, "lfw")
    for name, count in (("Ann_Lee", 2), ("Bo_Day", 1)):
        for i in range(count):
            photo(root / f"lfw-py/lfw_funneled/{name}/{name}_{i + 1:04}.jpg", 250, 250)
    (root / "lfw-py/lfw-names.txt").write_text("Ann_Lee\t2\nBo_Day\t1\n")
    (root / "lfw-py/peopleDevTrain.txt").write_text("2\nAnn_Lee\t2\nBo_Day\t1\n")
    (root / "lfw-py/lfw-funneled.tgz").write_bytes(b"")


def lfw_pairs(root, patch):
    lfw_people(root, patch)
    (root / "lfw-py/pairsDevTrain.txt").write_text("1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo_Day\t1\n")


def places(root, patch):
    believing(patch, "places365")
    (root / "categories_places365.txt").write_text("\n".join(f"/a/place{i} {i}" for i in range(365)))
    (root / "places365_val.txt").write_text("a.jpg 3\nb.jpg 364")
    for name in "ab":
        photo(root / f"val_256/{name}.jpg", 256, 256)


def celeba(root, patch):
    believing(patch, "celeba")
    folder = root / "celeba"
    for i in range(2):
        photo(folder / f"img_align_celeba/{i}.jpg", 218, 178)
    tables = {
        "list_eval_partition.txt": ("", ["0"]),
        "identity_CelebA.txt": ("", ["10177"]),
        "list_bbox_celeba.txt": ("2\nx y w h\n", ["1"] * 4),
        "list_landmarks_align_celeba.txt": ("2\n" + "p " * 9 + "p\n", ["7"] * 10),
        "list_attr_celeba.txt": ("2\n" + "q " * 39 + "q\n", ["1", "-1"] * 20),
    }
    for name, (head, row) in tables.items():
        (folder / name).write_text(head + "".join(f"{i}.jpg {' '.join(row)}\n" for i in range(2)))
    (folder / "img_align_celeba.zip").write_bytes(b"")


def cityscapes(root, _):
    photo(root / "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png", 1024, 2048)
    (root / "gtFine/train/ulm").mkdir(parents=True)
    mask = np.zeros((1024, 2048), np.uint8)
    mask[0, :34] = range(34)
    Image.fromarray(mask).save(root / "gtFine/train/ulm/ulm_1_gtFine_labelIds.png")


def svhn(root, patch):
    scipy = pytest.importorskip("scipy.io")
    believing(patch, "svhn")
    images, labels = RNG.integers(0, 256, (32, 32, 3, 4), np.uint8), np.array([[1], [10], [3], [9]])
    scipy.savemat(root / "train_32x32.mat", {"X": images, "y": labels})


def flowers(root, patch):
    scipy = pytest.importorskip("scipy.io")
    believing(patch, "flowers102")
    for i in (1, 2):
        photo(root / f"flowers-102/jpg/image_{i:05}.jpg")
    scipy.savemat(root / "flowers-102/imagelabels.mat", {"labels": np.array([[102, 1]])})
    ids = {"trnid": np.array([[1, 2]]), "valid": np.array([[1, 2]]), "tstid": np.array([[1, 2]])}
    scipy.savemat(root / "flowers-102/setid.mat", ids)


def pcam(root, _):
    h5py = pytest.importorskip("h5py")
    (root / "pcam").mkdir()
    with h5py.File(root / "pcam/camelyonpatch_level_2_split_valid_x.h5", "w") as file:
        file["x"] = RNG.integers(0, 256, (2, 96, 96, 3), np.uint8)
    with h5py.File(root / "pcam/camelyonpatch_level_2_split_valid_y.h5", "w") as file:
        file["y"] = np.array([0, 1], np.uint8).reshape(2, 1, 1, 1)


SETS = {
    "FashionMNIST": (fashion, {"train": False}),
    "CIFAR100": (cifar100, {}),
    "Omniglot": (omniglot, {}),
    "Caltech256": (caltech256, {}),
    "CLEVRClassification": (clevr, {}),
    "ImageNet": (imagenet, {"split": "val"}),
    "INaturalist": (inaturalist, {"version": "2021_valid", "target_type": "kingdom", "classes": 2}),
    "LFWPeople": (lfw_people, {"split": "train"}),
    "LFWPairs": (lfw_pairs, {"split": "train"}),
    "Places365": (places, {"split": "val", "small": True}),
    "CelebA": (celeba, {"target_type": "identity"}),
    "Cityscapes": (cityscapes, {"target_type": "semantic"}),
    "SVHN": (svhn, {}),
    "Flowers102": (flowers, {}),
    "PCAM": (pcam, {"split": "val"}),
    "EMNIST": (emnist, {"split": "letters"}),
    "KMNIST": (kmnist, {}),
    "QMNIST": (qmnist, {"train": False}),
    "USPS": (usps, {"train": False}),
    "SEMEION": (semeion, {"download": False}),
    "STL10": (stl10, {"split": "test"}),
    "FER2013": (fer2013, {}),
    "EuroSAT": (eurosat, {}),
    "DTD": (dtd, {}),
    "Food101": (food101, {"split": "test"}),
    "Country211": (country211, {"split": "valid"}),
    "RenderedSST2": (rendered_sst2, {"split": "val"}),
    "GTSRB": (gtsrb, {}),
    "Imagenette": (imagenette, {"split": "val", "size": "160px"}),
    "SUN397": (sun397, {}),
    "FGVCAircraft": (aircraft, {"annotation_level": "family"}),
    "OxfordIIITPet": (pets, {"target_types": ["category", "binary-category", "segmentation"]}),
    "VOCSegmentation": (voc, {}),
}


def opened(name, root, patch):
    """The set of a few files, which are fewer than were published."""
    write, settings = SETS[name]
    write(root, patch)
    given = use(name, root=".", **settings)
    few = replace(given.declaration, length=lambda _: None)
    return few, open_dataset(replace(given, declaration=few), root), given


def pixels(image):
    """An image as `[C, H, W]`, a mask as `[H, W]`."""
    found = np.array(image)
    return found.transpose(2, 0, 1) if found.ndim == 3 else found


@pytest.mark.parametrize("name", SETS)
def test_samples_are_what_was_declared_and_what_torchvision_gives(tmp_path, monkeypatch, name):
    declaration, samples, given = opened(name, tmp_path, monkeypatch)
    reader = getattr(import_torchvision().datasets, name)
    settings = {k: v for k, v in given.settings.items() if k not in ("root", "classes")}
    theirs = reader(str(tmp_path), **settings)
    assert len(samples) == len(theirs) > 0
    rows = np.array([0, len(theirs) - 1])
    found = samples.fetch(rows)
    fields = declaration.sample(given.settings)
    assert list(found) == [field.name for field in fields]
    for place, row in enumerate(rows):
        image, *others = vision._flat(theirs[row])
        numbers = [pixels(other) if isinstance(other, Image.Image) else np.int64(other) for other in others]
        for field in fields:
            value = found[field.name][place]
            assert str(value.dtype)[6:] == TORCH_NAMES[field.type.dtype]
            assert len(value.shape) == field.type.rank
            for said, actual in zip(field.type.dims, value.shape, strict=True):
                assert as_symbol(said) is not None or said == actual
        expected = np.atleast_3d(np.array(image.convert("RGB") if len(found["image"][place]) == 3 else image))
        assert np.array_equal(found["image"][place].numpy(), expected.transpose(2, 0, 1))
        for field, expected in zip(fields[1:], numbers, strict=True):
            value = found[field.name][place].numpy()
            first = 1 if (name, field.name) == ("OxfordIIITPet", "mask") else 0
            none = 255 if name == "VOCSegmentation" else 256
            whole = expected.astype(np.int64)
            assert np.array_equal(value, np.where(whole == none, NO_CLASS, whole - first))


@pytest.mark.parametrize(
    "name", ["CIFAR100", "GTSRB", "EuroSAT", "DTD", "Food101", "SUN397", "LFWPairs", "CelebA", "Country211"]
)
def test_labels_for_a_sampler_are_those_of_the_samples(tmp_path, monkeypatch, name):
    _, samples, _ = opened(name, tmp_path, monkeypatch)
    every = np.arange(len(samples))
    read = samples.fetch(every)["label"]
    expected = read if isinstance(read, torch.Tensor) else torch.stack(read)
    assert torch.equal(column(samples, "label", every[::-1].copy()), expected.flip(0))
    if name in ("GTSRB", "EuroSAT", "DTD", "Food101", "Country211"):
        # Torchvision lists them, so that no image is decoded.
        monkeypatch.setattr(vision, "PROBED", 1)
        sample = type(samples)._sample
        monkeypatch.setattr(type(samples), "_sample", lambda self, i: sample(self, i) if i == 0 else 1 / 0)
        assert torch.equal(column(samples, "label", every), expected)


def test_what_has_no_class_in_a_mask_is_left_out_by_losses(tmp_path, monkeypatch):
    _, samples, _ = opened("VOCSegmentation", tmp_path, monkeypatch)
    mask = samples.fetch(np.array([0]))["mask"][0]
    assert mask[0, 0] == torch.nn.CrossEntropyLoss().ignore_index
    assert sorted({*mask.flatten().tolist()})[1] >= 0


def refused(code, given, root):
    with pytest.raises(RunError) as error:
        open_dataset(given, root).fetch(np.array([0]))
    assert error.value.problem.code == code, error.value.problem.message
    return error.value.problem


@pytest.mark.parametrize("name", [name for name in SETS if name != "KMNIST"])
def test_data_that_is_not_there_says_so(tmp_path, name):
    if name in vision.NEEDS:
        pytest.importorskip(vision.NEEDS[name])
    problem = refused("E0801", use(name, root="data", **SETS[name][1]), tmp_path)
    assert str(tmp_path / "data") in problem.message
    assert any("EXPC_DATA" in note for note in problem.notes)


def test_a_set_that_is_not_whole_is_refused(tmp_path, monkeypatch):
    eurosat(tmp_path, monkeypatch)
    assert "27000 samples" in refused("E0803", use("EuroSAT", root="."), tmp_path).message
    (tmp_path / "eurosat/2750/kind3/3.png").unlink()
    (tmp_path / "eurosat/2750/kind3").rmdir()
    few = use("EuroSAT", root=".")
    few = replace(few, declaration=replace(few.declaration, length=lambda _: None))
    assert "9" in refused("E0803", few, tmp_path).message
    photo(tmp_path / "eurosat/2750/kind0/0.png", 63, 64)
    photo(tmp_path / "eurosat/2750/kind3/3.png", 64, 64)
    assert "[3, 63, 64] at sample 0" in refused("E0803", few, tmp_path).message
    (tmp_path / "eurosat/2750/kind0/0.png").write_bytes(b"\x89PNG")
    assert "sample 0" in refused("E0802", few, tmp_path).message


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "find_spec", lambda _: None)
    assert "pip install scipy" in refused("E0817", use("SVHN", root="."), tmp_path).message


def test_what_is_fetched_is_moved_whole_and_nothing_is_touched(tmp_path, monkeypatch):
    reader = import_torchvision().datasets.EuroSAT
    monkeypatch.setattr(reader, "download", lambda self: eurosat(Path(self.root), None))
    (tmp_path / "notes.txt").write_text("mine")
    given = use("EuroSAT", root=".", download=True)
    few = replace(given, declaration=replace(given.declaration, length=lambda _: None))
    assert len(open_dataset(few, tmp_path)) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eurosat", "notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
