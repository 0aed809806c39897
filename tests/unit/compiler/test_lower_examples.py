"""The examples, lowered, against the networks that they say they are."""

from pathlib import Path

import pytest
import torch

from expc import load
from expc.compiler import graph
from expc.compiler.lower.torchvision import import_torchvision

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.exp")))
def test_names_and_shapes_of_parameters_are_those_of_the_graph(name: str):
    experiment = load(EXAMPLES / f"{name}.exp")
    model = experiment.program.model
    with torch.device("meta"):
        state = experiment.build(device="meta").state_dict()
    assert [(key, tuple(tensor.shape)) for key, tensor in state.items()] == [
        (weight.key, weight.dims) for weight in graph.weights(model.body)
    ]


def test_resnet18_is_torchvisions():
    theirs = import_torchvision().models.resnet18()
    ours = load(EXAMPLES / "resnet18.exp").build()
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    out, expected = ours(x), theirs(x)
    assert torch.equal(out, expected)
    expected.sum().backward()
    out.sum().backward()
    gradients = dict(theirs.named_parameters())
    assert all(torch.equal(tensor.grad, gradients[key].grad) for key, tensor in ours.named_parameters())
    statistics = dict(theirs.named_buffers())
    assert all(torch.equal(tensor, statistics[key]) for key, tensor in ours.named_buffers())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert ours(torch.randn(1, 3, 97, 45)).shape == (1, 1000)
