"""Small data sets in files, and plans of a role as the checker makes them."""

import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from expc.compiler.library.datasets import datasets, split_fractions
from expc.compiler.library.transforms import transforms
from expc.compiler.program import DataPlan, SplitUse, Step, Use
from expc.diagnostics import Source, Span
from expc.runtime.distributed.world import World

SPAN = Span(Source("net.exp", "train = ..."), 0, 5)


def use(name, **settings):
    """A data set or a transform with complete settings."""
    declaration = datasets().get(name) or transforms()[name]
    return Use(declaration, {p.name: settings.get(p.name, p.default) for p in declaration.settings}, SPAN)


def split(*written, index=0, shuffle=True):
    return SplitUse(split_fractions(written), index, shuffle, SPAN)


def plan(dataset, *stages, role="train"):
    """A role whose transforms act on the first field."""
    fields = dataset.declaration.sample(dataset.settings)
    first = (fields[0].name,)
    steps = tuple(Step(stage, first, first, (False,)) if isinstance(stage, Use) else stage for stage in stages)
    return DataPlan(role, dataset, steps, fields, None, SPAN)


def write_digits(root: Path, count=20, part="train", name="MNIST"):
    """Random images and labels in MNIST's format."""
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    folder = root / name / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIII", 0x803, count, 28, 28)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())
    return images, labels


def write_photos(root: Path, counts=(3, 4)):
    """Folders of classes `a`, `b`, ... with images of differing sizes."""
    rng = np.random.default_rng(0)
    for name, count in zip("abcdef", counts, strict=False):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (*rng.integers(20, 40, 2), 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


def write_cifar(root: Path, reader, patch, count=4):
    """Files in CIFAR's format, and torchvision told to expect their checksums."""
    from hashlib import md5

    rng = np.random.default_rng(0)
    folder = root / reader.base_folder
    folder.mkdir(parents=True)

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, md5(data, usedforsecurity=False).hexdigest()]

    def batch():
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [int(label) for label in rng.integers(0, 10, count)]}

    patch.setattr(reader, "train_list", [write(f"data_batch_{i}", batch()) for i in (1, 2)])
    patch.setattr(reader, "test_list", [write("test_batch", batch())])
    meta = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    patch.setattr(reader, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})


def one_of(rank, size):
    """The world of one of several processes, as far as data goes."""
    world = World()
    world.rank, world.size = rank, size
    return world
