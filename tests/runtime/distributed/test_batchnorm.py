"""Batch norm over processes: that of one process with the whole batch."""

from contextlib import nullcontext
from copy import deepcopy
from multiprocessing import set_forkserver_preload
from warnings import simplefilter

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.nn.functional import batch_norm

from expc.compiler.lower import lower
from expc.compiler.lower.block import Block
from expc.compiler.session import check_text
from expc.runtime.distributed.batchnorm import counting, synchronise
from expc.runtime.distributed.noise import WholeDraws
from expc.runtime.recompute import recompute

SIZES = {
    # Of each rank; 0 keeps company with one sample that does not count.
    "even": (3, 3, 3, 3),
    "uneven": (5, 1, 2, 3),
    "one without": (4, 1, 1, 0),
    "two": (5, 2),
    "one of two": (3, 0),
}
SETTINGS = ({}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"momentum": 0.3, "eps": 1e-2})
LAYERS = {nn.BatchNorm1d: (), nn.BatchNorm2d: (4, 3), nn.BatchNorm3d: (2, 3, 2)}
STEPS = 2
NET = """
model Net(x: f32[N, 2, 4, 4]) {
  body: { Conv2d(3, 3) -> norm: BatchNorm2d -> ReLU -> Dropout(0.3) } -> Flatten -> BatchNorm1d -> Linear(2)
}
"""


def networks():
    """Each layer with each of its settings, and a network of the language."""
    for layer, rest in LAYERS.items():
        for settings in SETTINGS if layer is nn.BatchNorm2d else SETTINGS[:1]:
            torch.manual_seed(1)
            module = layer(3, **settings)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
            yield module, (3, *rest)
    yield lower(check_text(NET).program.model, seed=0), (2, 4, 4)
    forgetful = lower(check_text(NET).program.model, seed=0)
    recompute(forgetful, ["body", "body.norm"])
    yield forgetful, (2, 4, 4)


def steps(module, shape, rows, samples, *, phantom=False):
    """What some steps on `rows` of batches of `samples` leave: outputs and gradients of each, and the buffers."""
    module = module.double().train()
    # A network draws too, and what it looks at beforehand must not wait for other processes.
    whole_draws = WholeDraws(module) if isinstance(module, Block) else None
    place = (rows.start or 0, samples if rows.stop is None else rows.stop, samples)
    for step in range(STEPS):
        torch.manual_seed(step)
        generator = torch.Generator().manual_seed(step)
        whole = torch.randn(samples, *shape, generator=generator, dtype=torch.float64) * 3 + 100
        x = (whole[:1] if phantom else whole[rows]).clone().requires_grad_()
        with counting(module, not phantom), whole_draws.drawing(*place) if whole_draws else nullcontext():
            output = module(x)
            wanted = torch.randn(samples, *output.shape[1:], generator=generator, dtype=torch.float64)
            # A loss that is no constant of the normalised values.
            loss = output.sum() * 0 if phantom else (output * wanted[rows]).sum() + output.pow(3).sum()
            loss.backward()
        yield {} if phantom else {"output": output.detach(), "input": x.grad}
        if phantom:
            assert torch.equal(x.grad, torch.zeros_like(x))
    yield {name: parameter.grad for name, parameter in module.named_parameters()}
    yield dict(module.named_buffers())


def rank(number, store):
    torch.set_num_threads(1)
    simplefilter("error")
    dist.init_process_group("gloo", store=dist.FileStore(store, 4), rank=number, world_size=4)
    try:
        groups = {len(ranks): dist.new_group(ranks) for ranks in ([0, 1], [0, 1, 2, 3])}
        for sizes in SIZES.values():
            if number < len(sizes):
                for module, shape in networks():
                    compare(module, shape, sizes, number, groups[len(sizes)])
    finally:
        dist.destroy_process_group()


def compare(module, shape, sizes, number, group):
    start = sum(sizes[:number])
    rows = slice(start, start + sizes[number])
    expected = list(steps(deepcopy(module), shape, slice(None), sum(sizes)))
    keys, before = list(module.state_dict()), list(module.modules())
    assert synchronise(module, group) == sum(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in before)
    assert (list(module.state_dict()), list(module.modules())) == (keys, before)
    copied = deepcopy(module)
    *found, gradients, buffers = steps(copied, shape, rows, sum(sizes), phantom=not sizes[number])
    for step, whole in zip(found, expected, strict=False):
        for name, tensor in step.items():
            close(tensor, whole[name][rows])
    for name, gradient in gradients.items():
        dist.all_reduce(gradient, group=group)
        close(gradient, expected[-2][name])
    assert buffers.keys() == expected[-1].keys()
    for name, tensor in buffers.items():
        close(tensor, expected[-1][name])
    if getattr(module.double(), "running_mean", None) is not None:
        x = torch.randn(2, *shape, dtype=torch.float64)
        plain = batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps)
        assert torch.equal(module.double().eval()(x), plain)


def close(found, expected):
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-12)


def test_processes_normalise_as_one_does(tmp_path):
    """Outputs, gradients of inputs, summed gradients of parameters, and running statistics."""
    # Imports are what takes time: one process has them, and the others are copies of it.
    set_forkserver_preload(["torch", "expc.runtime.task", "expc.runtime.distributed.noise"])
    given = (str(tmp_path / "store"),)
    context = multiprocessing.start_processes(rank, given, nprocs=4, join=False, start_method="forkserver")
    try:
        for _ in range(4):
            if context.join(timeout=60):
                return
        pytest.fail("a process hangs")
    finally:
        for process in context.processes:
            process.kill()
