"""What is drawn for people: confusion matrices, and samples of the validation data with what they were taken for."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_runs import SPAN
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.program import MetricPlan
from expc.compiler.session import check_text
from expc.runtime.gallery import Gallery
from expc.runtime.pictures import DEEP, PALE, RED, WHITE, of_matrix
from expc.runtime.run import run


def cells(picture, classes):
    """The colour near the corner of each cell of a matrix, found by the white lines between them."""
    pale_or_deeper = (picture != WHITE).any(-1)
    rows = np.flatnonzero(pale_or_deeper[:, -12])
    columns = np.flatnonzero(pale_or_deeper[-12])
    starts = [[line[0], *line[1:][np.diff(line) > 1]] for line in (rows, columns)]
    ys, xs = (line[-classes:] for line in starts)
    return np.array([[picture[y + 2, x + 2] for x in xs] for y in ys])


def test_a_matrix_is_as_dark_as_the_share_of_its_row():
    matrix = torch.tensor([[30, 0, 0], [5, 5, 0], [0, 1, 1]])
    found = cells(of_matrix(matrix), 3)
    shares = (matrix / matrix.sum(1, keepdim=True)).numpy()[..., None] ** 0.6
    expected = np.array(PALE) * (1 - shares) + np.array(DEEP) * shares
    assert np.abs(found - expected).max() <= 1
    by_shares = cells(of_matrix(matrix / matrix.sum(1, keepdim=True)), 3)
    assert (by_shares == found).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (150, 150), (1500, 1500), (7, 2, 2)])
def test_matrices_of_every_size_are_drawn_within_a_screen(shape):
    picture = of_matrix(torch.eye(shape[-1]).expand(shape) * 12345)
    assert picture.dtype == np.uint8
    assert max(picture.shape[:2]) < 1100
    assert (picture != WHITE).any()


def kept(gallery, *batches):
    gallery.begin("val")
    for batch in batches:
        gallery.take(batch, len(batch["label"]))
    return dict(gallery.pictures())


METRICS = (MetricPlan("m", "classification.MulticlassAccuracy", {}, "output", "label", True, SPAN),)


def test_images_of_several_batches_with_a_red_line_below_what_was_wrong():
    images = torch.rand(6, 1, 8, 8)
    label, output = torch.arange(6), torch.eye(6)
    output[4] = output[5]
    batches = [{"image": images[i : i + 4], "label": label[i : i + 4], "output": output[i : i + 4]} for i in (0, 4)]
    pictures = kept(Gallery(5, None, METRICS), *batches)
    assert list(pictures) == ["image"]
    picture = pictures["image"]
    assert picture.shape[1] == 5 * 128 + 6 * 4  # five of six, each sixteen times as large
    small = picture[4:132:16, 4:132:16, 0]
    assert np.array_equal(small, (images[0, 0] * 255).round().byte().numpy())
    red = [(picture[:, 4 + i * 132 : 132 + i * 132] == RED).all(-1).any() for i in range(5)]
    assert red == [False, False, False, False, True]
    assert dict(Gallery(0).pictures()) == {}
    said = []
    assert kept(Gallery(2, None, METRICS, said.append), {"x": torch.rand(2, 8), "label": label[:2]}) == {}
    assert [text.partition(":")[0] for text in said] == ["`images` draws nothing"]


def test_masks_and_scores_of_masks_have_the_same_colours():
    mask = torch.randint(0, 3, (2, 8, 8))
    mask[0, 0, 0] = -100
    scores = torch.nn.functional.one_hot(mask.clamp(min=0), 3).movedim(-1, 1).float()
    image, plan = torch.rand(2, 3, 8, 8), SimpleNamespace(stages=(), fields=[SimpleNamespace(name="image")])
    pictures = kept(Gallery(2, plan), {"image": image, "mask": mask, "output": scores, "label": torch.zeros(2)})
    assert list(pictures) == ["image", "mask", "output"]
    pixels = (image[0, :, 0, 0] * 255).round().byte().numpy()
    assert np.array_equal(pictures["image"][4, 4], pixels)
    same = (pictures["mask"] == pictures["output"]).all(-1)
    assert not same[4:20, 4:20].any()  # no class is grey, and the first class is black
    same[4:20, 4:20] = True
    assert same.all()


EXPERIMENT = """
data {
  train, val = FakeData(40, image_size=[3, 16, 16], num_classes=4) -> split(0.5) -> ToTensor
    -> Normalize([0.5, 0.4, 0.3], [0.1, 0.2, 0.3])
  batch = 8
}
model Net(x: f32[N, 3, 16, 16]) -> f32[N, 4] { Flatten -> Linear(4) }
train { epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.0), metrics = [Accuracy] }
log { images = 3, graph = false }
"""


def test_a_run_draws_validation_images_as_they_were_before_they_were_normalised(tmp_path):
    import_torchvision()
    from torchvision.datasets import FakeData
    from torchvision.transforms.functional import pil_to_tensor

    checked = check_text(EXPERIMENT, "net.exp")
    assert checked.program is not None
    directory = run(checked.program, out=tmp_path / "run", progress=False, device="cpu").directory
    events = EventAccumulator(str(directory / "tensorboard"), size_guidance={"images": 0}).Reload()
    drawn = events.Images("val/image")
    assert [event.step for event in drawn] == [3, 6]
    picture = np.asarray(Image.open(io.BytesIO(drawn[0].encoded_image_string)))
    tile = picture[4 : 4 + 128 : 8, 4 : 4 + 128 : 8]
    raw = [pil_to_tensor(image).permute(1, 2, 0).numpy() for image, _ in FakeData(40, (3, 16, 16), 4)]
    assert min(np.abs(tile.astype(int) - each).max() for each in raw) <= 1
