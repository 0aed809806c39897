"""The optimizers that do not go with `fsdp` are those that torch refuses for weights in parts, and no others."""

import pytest
import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from expc.compiler.library.optimizers import FUSED_TOO, FUSED_WHOLE, MATRICES, WHOLE, optimizers
from expc.runtime.fused import chosen


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
