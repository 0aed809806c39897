"""Results that exist in training only: what may be made from them, and what runs in evaluation."""

import pytest
import torch
from programs import checked, codes, model_of
from torch import nn
from torch.nn import functional as F  # noqa: N812

from expc.compiler.lower import lower, lower_container
from expc.runtime.run import run

BODY = """
block Body(x: f32[N, C]) -> (main: f32[N, C], aux: f32[N, 2] in training) {
  main = trunk: Linear(C) -> relu
  aux = main -> side: Linear(2)
}
"""
MODEL = """
model Net(x: f32[N, 4]) -> (scores: f32[N, 3], extra: f32[N, 5] in training) {
  main, aux = body: Body
  _ = aux -> unused: Linear(1)
  extra = aux -> { Linear(5) -> Tanh }
  scores = main -> fc: Linear(3)
}
"""
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.trunk, self.body.side = nn.Linear(4, 4), nn.Linear(4, 2)
        self.unused = nn.Linear(2, 1)
        self.add_module("2", nn.Sequential(nn.Linear(2, 5), nn.Tanh()))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        main = F.relu(self.body.trunk(x))
        scores = self.fc(main)
        if not self.training:
            return {"scores": scores}
        return {"scores": scores, "extra": self.get_submodule("2")(self.body.side(main))}


def test_what_exists_in_training_only_is_what_torch_gives_and_runs_in_training_only():
    ours, theirs = lower(model_of(BODY + MODEL)), Net()
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    for training in (True, False):
        found, expected = ours.train(training)(X), theirs.train(training)(X)
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    for name in ("body.side", "unused", "2"):
        ours.get_submodule(name).register_forward_hook(lambda *_: pytest.fail("runs in evaluation"))
    ours(X)


def test_a_tensor_with_two_names_exists_as_long_as_one_of_them():
    text = """
    block Twice(x: f32[N, C]) -> (main: f32[N, C], same: f32[N, C] in training) { main = fc: Linear(C); same = main }
    model Net(x: f32[N, 4]) -> f32[N, 4] {
      main, same = Twice
      main + same
    }
    """
    module = lower(model_of(text)).eval()
    assert torch.equal(module(X), 2 * module.get_submodule("0").fc(X))


@pytest.mark.parametrize(
    ("model", "guilty"),
    [
        ("-> f32[N, 6] { main, aux = Body; cat([main, aux], dim=1) }", "cat([main, aux], dim=1)"),
        ("-> (a: f32[N, 4], b: f32[N, 2]) { a, b = Body }", "b: f32[N, 2]"),
        ("-> (a: f32[N, 4], b: f32[N, 3]) { a, aux = Body; b = aux -> Linear(3) }", "b: f32[N, 3]"),
        ("{ main, aux = { Body }; main * sum(aux) }", "Body"),
    ],
    ids=["a result", "undeclared", "made from it", "an inline body"],
)
def test_what_evaluation_needs_is_not_made_from_it(model: str, guilty: str):
    found = codes(BODY + f"model Net(x: f32[N, 4]) {model}")
    assert [(code, guilty in text) for code, text in found] == [("E0312", True)]


def test_evaluation_must_have_a_result():
    assert codes("model Net(x: f32[N, 4]) -> (a: f32[N, 2] in training) { a = Linear(2) }") == [
        ("E0235", "(a: f32[N, 2] in training)")
    ]


EXPERIMENT = """
data { train = FakeData(size=8, image_size=[1, 2, 2], num_classes=3) -> ToTensor, val = train, batch = 4 }
model Net(x: f32[N, 1, 2, 2]) -> (scores: f32[N, 3], aux: f32[N, 3] in training) {
  hidden = Flatten -> Linear(4) -> ReLU
  aux = hidden -> Linear(3)
  scores = hidden -> Linear(3)
}
"""
TABLE = """{
  main = cross_entropy(scores, label)
  aux  = 0.3 * cross_entropy(aux, label)
}"""


def experiment(loss: str) -> str:
    return f"{EXPERIMENT}train {{ epochs = 1, optimizer = SGD(lr=0.1), loss {loss} }}"


def test_a_term_that_needs_it_counts_in_training_only():
    train = checked(experiment(TABLE)).train
    assert train is not None
    loss = lower_container(train.loss.body)
    scores, label = torch.randn(2, 3), torch.tensor([0, 2])
    main = F.cross_entropy(scores, label)
    given = dict.fromkeys(train.loss.body.input_names) | {"scores": scores, "label": label}
    assert loss.train()(**given | {"aux": scores + 1})["aux"] == 0.3 * F.cross_entropy(scores + 1, label)
    assert loss.eval()(**given) == {"main": main}


@pytest.mark.parametrize("loss", ["= cross_entropy(scores, label) + sum(aux)", "{ main = cross_entropy(aux, label) }"])
def test_a_loss_must_be_there_in_evaluation(loss: str):
    (found,) = codes(experiment(loss))
    assert found[0] == "E0312"


def test_a_run_measures_in_validation_what_there_is(tmp_path):
    measured = run(checked(experiment(TABLE)), out=tmp_path / "run", device="cpu", progress=False).metrics
    names = {name for name in measured if name.startswith(("train.", "val."))}
    assert names == {"train.loss", "train.main", "train.aux", "val.loss", "val.main"}
    assert measured["val.loss"] == measured["val.main"]


def test_what_validation_does_not_measure_cannot_be_watched():
    assert codes(experiment(TABLE) + "\ncheckpoint { best = min(val.main) }") == []
    (found,) = codes(experiment(TABLE) + "\ncheckpoint { best = min(val.aux) }")
    assert found[1] == "val.aux"
