"""`recompute`: activations that are forgotten and computed anew, by modules and by segments."""

from itertools import accumulate

import pytest
import torch
from by_hand import program
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential, set_checkpoint_early_stop

from expc.compiler.errors.python import ExecutionError
from expc.compiler.plans.segments import _starts
from expc.runtime.task import Task

TRAIN = "epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)\n"
NET = """
model Net(image: f32[N, 1, 4, 4]) {
  Flatten -> Linear(64, bias=false) -> BatchNorm1d -> ReLU -> Dropout(0.3)
  a = flow
  h: repeat 6 { flow + (Linear(64, bias=false) -> BatchNorm1d -> GELU -> Dropout(0.2)) }
  flow + a -> head: Linear(4)
}
"""
IMAGES = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def network(how, model=NET):
    module = Task(program(TRAIN + how, model), torch.device("cpu"), 0).model
    return module.train()


def step(module, run=None, images=IMAGES):
    """What a step leaves: the gradients and buffers, where the generator stands, and the bytes that were kept."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = (run or module)(images)
    output.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    return {**gradients, **dict(module.named_buffers()), "random": torch.rand(3)}, sum(kept.values())


@pytest.mark.parametrize("how", [2, 3, 4, 7, 12, '["h"]', '["h.3", "h.4", ReLU]', "[BatchNorm1d]"])
def test_gradients_and_statistics_are_the_same_to_the_bit(how):
    expected, all_of_it = step(network(""))
    found, kept = step(network(f"recompute = {how}"))
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    # A single layer keeps what the one before has kept already: there is nothing to save.
    assert kept < all_of_it or "[" in str(how)


def test_more_segments_keep_less():
    kept = [step(network(f"recompute = {number}" if number else ""))[1] for number in (0, 2, 3, 6)]
    assert kept == sorted(kept, reverse=True)
    assert kept[3] < 0.6 * kept[0]


def test_the_layers_are_cut_and_not_the_lines_around_them():
    for number in (2, 24):
        segments = program(f"{TRAIN}recompute = {number}", NET).train.segments
        assert segments.path == "h"
        assert len(segments.starts) == number


@pytest.mark.parametrize("number", [2, 3, 4, 6])
def test_segments_are_those_of_torch(number):
    """A plain sequence: what is computed twice, and what is kept, as by `checkpoint_sequential`."""
    plain = "model Net(image: f32[N, 1, 4, 4]) { Flatten; h: repeat 6 { Linear(64) -> ReLU }; head: Linear(4) }\n"
    ours, reference = network(f"recompute = {number}", plain), network("", plain)
    layers = nn.Sequential(*reference.h.children())

    def torchs(images):
        with set_checkpoint_early_stop(False):
            return reference.head(checkpoint_sequential(layers, number, images.flatten(1), use_reentrant=False))

    calls = {ours.h: [], layers: []}
    for module, called in calls.items():
        for name, layer in module.named_children():
            layer.register_forward_hook(lambda *_, name=name, called=called: called.append(name))
    found, expected = step(ours), step(reference, torchs)
    assert found[1] == expected[1]
    assert all(torch.equal(found[0][name], expected[0][name]) for name in expected[0])
    assert sorted(calls[ours.h]) == sorted(calls[layers])


def test_evaluation_and_inference_compute_once():
    module = network("recompute = 4")
    calls = []
    module.h.get_submodule("1").register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        module(IMAGES)
    module.eval()(IMAGES).sum().backward()
    assert len(calls) == 2


@pytest.mark.parametrize("how", [20, "[SiLU]"])
def test_what_changes_its_input_in_place_is_refused(how):
    module = network(f"recompute = {how}", NET.replace("GELU", "SiLU(inplace=true)"))
    with pytest.raises(ExecutionError, match="write `inplace=false` there") as raised:
        step(module)
    assert raised.value.problem.span.line >= 6


def test_a_step_that_fails_inside_a_segment_names_its_line():
    module = network("recompute = 4")
    with pytest.raises(ExecutionError) as raised:
        module(torch.rand(3, 1, 5, 5))
    assert raised.value.problem.span.text == "Linear(64, bias=false)"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.data())
def test_segments_are_about_equal_and_none_is_empty(weights, data):
    number = data.draw(st.integers(1, len(weights)))
    starts = _starts(weights, number)
    assert len(starts) == number
    assert list(starts) == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] < len(weights)
    before = [0, *accumulate(weights)]
    share = sum(weights) / number
    sizes = [before[end] - before[start] for start, end in zip(starts, (*starts[1:], len(weights)), strict=True)]
    assert max(sizes) <= share + max(weights) or number > len(weights) / 2
