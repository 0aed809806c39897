"""Metrics where the training data is mixed: on the data that is not."""

import json

import torch
from by_hand import NET, program, trained

from expc.runtime.prepare import prepare

DATA = """
data {
  fit, val = FakeData(size=44, image_size=[1, 4, 4], num_classes=4) -> ToTensor -> split(0.75)
  train = fit -> MixUp(alpha=0.4)
  batch = 11
}
"""


def test_metrics_are_computed_on_what_is_not_mixed(tmp_path):
    checked = program(
        """
        epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
        metrics { right = (output, label) -> Accuracy, share = mean((argmax(output, 1) == label) -> f32) }
        """,
        NET,
        DATA,
    )
    weights, directory = trained(checked, tmp_path / "run")
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert all("right" not in row and "share" not in row for row in rows if row["phase"] == "train")
    (measured,) = (row for row in rows if row["phase"] == "val")
    prepared = prepare(checked, "cpu")
    model = prepared.task.model.eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        (batch,) = prepared.loaders["val"].epoch(0)
        right = (model(batch["image"]).argmax(1) == batch["label"]).float().mean().item()
    assert measured["right"] == measured["share"] == right
