"""The optimizers that do not go with `fsdp` are those that torch refuses for weights in parts, and no others.

What looks on while they move such weights sees whole ones.
"""

import pytest
import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from expc.compiler.library.optimizers import FUSED_TOO, FUSED_WHOLE, MATRICES, WHOLE, optimizers
from expc.runtime.distributed.parts import local
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.fused import chosen
from expc.runtime.histograms import Histograms


def ways():
    for name in sorted(optimizers().keys() - {"SparseAdam"}):  # sparse gradients are refused before
        yield name, {}, name in WHOLE
        if name in FUSED_TOO:
            yield name, {"fused": True}, name in FUSED_WHOLE


@pytest.fixture(scope="module")
def mesh():
    """Two devices, of which this process is the first: the other one exists in thought only."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


@pytest.mark.parametrize(("name", "settings", "refused"), list(ways()))
@pytest.mark.filterwarnings("ignore")
def test_torch_moves_weights_in_parts(mesh, name, settings, refused):
    model = fully_shard(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3)), mesh=mesh)  # of 5 rows no half
    moved = [parameter for parameter in model.parameters() if name not in MATRICES or parameter.ndim == 2]
    optimizer = getattr(torch.optim, name)(moved, **settings)

    def loss():
        optimizer.zero_grad()
        value = model(torch.ones(2, 3)).square().sum()
        value.backward()
        return value

    def step():
        for _ in range(2):
            optimizer.step(loss) if name == "LBFGS" else (loss(), optimizer.step())

    assert chosen(type(optimizer), {}, moved, model).get("fused") is (name in FUSED_TOO - FUSED_WHOLE or None)
    if refused:
        with pytest.raises((RuntimeError, NotImplementedError)):
            step()
    else:
        step()


class Shapes(dict):
    """Events that are kept as the shape of each tensor."""

    def histogram(self, tag, values, step):
        self[tag, step] = tuple(values.shape)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("events", [Shapes(), None])
def test_histograms_are_those_of_whole_weights(mesh, events):
    """The processes that write none put them together too: torch would wait for them."""
    model = fully_shard(nn.Sequential(nn.Linear(3, 5)), mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    histograms = Histograms(events, model, [optimizer], 1, in_parts=True)
    histograms.expect(1)
    model(torch.ones(2, 3)).sum().backward()
    with CommDebugMode() as counted:
        optimizer.step()
    assert counted.get_total_counts() == 4
    if events is not None:
        weights = {("weights/0.weight", 1): (5, 3), ("weights/0.bias", 1): (5,)}
        assert events == weights | {("gradients/0.weight", 1): (5, 3), ("gradients/0.bias", 1): (5,)}


@pytest.mark.filterwarnings("ignore")
def test_numbers_of_gradients_are_limited_be_they_in_parts_or_not(mesh):
    model = fully_shard(nn.Sequential(nn.Linear(3, 5)), mesh=mesh)
    alone = nn.Linear(2, 2)
    (model(torch.ones(2, 3)).sum() + 9 * alone(torch.ones(2, 2)).sum()).backward()
    parameters = [*model.parameters(), *alone.parameters()]
    assert all(local(parameter.grad).abs().max() > 0.5 for parameter in parameters)
    Strategy().clip_value(parameters, 0.5)
    assert all(local(parameter.grad).abs().max() == 0.5 for parameter in parameters)
