"""fsdp: a network in parts is the network: how it starts, what it learns, and what is saved of it."""

import errno
import time
from contextlib import nullcontext
from pathlib import Path
from traceback import format_exc
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import safetensors.torch
import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from expc.compiler.lower import lower, lower_in_parts
from expc.compiler.plans.units import units
from expc.compiler.session import check_text
from expc.runtime.checkpoint import saving
from expc.runtime.checkpoint.forms import filled, whole
from expc.runtime.checkpoint.loading import load
from expc.runtime.checkpoint.manifest import SHARDS
from expc.runtime.checkpoint.optimizers import optimizer_state, restore_optimizers
from expc.runtime.checkpoint.packing import State
from expc.runtime.checkpoint.saving import folder_of, snapshot, steps_in, write
from expc.runtime.checkpoint.shards import Together
from expc.runtime.distributed.parts import gathered, is_split, local
from expc.runtime.distributed.sharding import Sharded, merged, resharded, shard
from expc.runtime.errors import RunError
from expc.runtime.precision import Precision

GPT = """
block Attention(x: f32[N, T, C]) {
  q, k, v = c_attn: Linear(3 * C) -> rearrange("n t (three h d) -> three n h t d", three=3, h=2) -> unbind(0)
  scaled_dot_product_attention(q, k, v, is_causal=true) -> rearrange("n h t d -> n t (h d)") -> c_proj: Linear(C)
}
block Layer(x: f32[N, T, C]) {
  flow + (ln_1: LayerNorm -> attn: Attention)
  flow + (ln_2: LayerNorm -> Linear(3 * C) -> act: Swish(learnable=true) -> Linear(C))
}
model GPT(tokens: i64[N, T]) -> f32[N, T, 5] where T <= 6 {
  param scale: f32[] = 0.5
  param half: f32[6] = normal(std=0.1)
  buffer noise: f32[6] = randn(6)
  positions = arange(T)
  (tokens -> wte: Embedding(5, 6)) * scale + (positions -> wpe: Embedding(6, 6)) + half + noise
  h: repeat 2 { Layer }
  ln_f: LayerNorm
  lm_head: Linear(5, bias=false, weight=wte.weight)

  init "*.weight" = normal(std=0.5)
  init "h.?.ln_1.weight" = uniform(a=0.5, b=1.5)
}
"""
IN_PLACE = """
block Step(x: f32[N, T, C]) { Linear(C) -> reshape([N, T, C]) }
model Net(tokens: i64[N, T]) -> f32[N, T, 5] {
  wte: Embedding(5, 6) -> (a: Step) -> ReLU(inplace=true) -> (b: Step) -> ReLU(inplace=true) -> Linear(5)
}
"""
RECURRENT = """
model Net(x: f32[N, 3, T]) -> f32[N, T, 4] {
  norm: BatchNorm1d -> transpose(1, 2)
  y, _ = rnn: LSTM(3, bidirectional=true, batch_first=true)
  y -> Linear(4)
}
"""
PATIENCE = 120
"""Seconds that some processes may take: they take 10 where nothing else runs."""


def model_of(text):
    result = check_text(text)
    assert result.program is not None, result.problems
    return result.program.model


def a_process(rank, size, store, numbers, jobs, arguments):
    """Does each job among the first so many processes, for several numbers of them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, size), rank=rank, world_size=size)
    try:
        for number in numbers:
            group = dist.new_group(list(range(number)))
            if rank < number:
                mesh = DeviceMesh.from_group(group, "cpu")
                for job in jobs:
                    job(mesh, *arguments)
            dist.barrier()
    except Exception:
        # Others fail soon, since this one is gone: what is told is not always the cause.
        Path(f"{store}.{rank}.{time.monotonic()}").write_text(format_exc(), "utf-8")
        raise
    finally:
        dist.destroy_process_group()


def among_processes(tmp_path, *jobs, numbers=(1, 2, 4), arguments=()):
    # What imports torch once for all of them.
    multiprocessing.get_context("forkserver").set_forkserver_preload([shard.__module__])
    context = multiprocessing.start_processes(
        a_process,
        (4, str(tmp_path / "store"), numbers, jobs, arguments),
        nprocs=4,
        join=False,
        start_method="forkserver",
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if context.join(timeout=1):
                return
        pytest.fail("a process hangs")
    except multiprocessing.ProcessRaisedException:
        told = sorted(tmp_path.glob("store.*"), key=lambda path: float(path.name.split(".", 2)[2]))
        pytest.fail(told[0].read_text("utf-8"))
    finally:
        for process in context.processes:
            process.kill()


def starts_alike(mesh, weights):
    """Every number is that of the network that is not in parts; who is to hold a part holds no more."""
    stored = RECURRENT.replace("-> Linear(4)", f'-> Linear(4)\n  init "rnn.*" = load("{weights}")')
    for text in (GPT, RECURRENT, stored):
        model = model_of(text)
        whole = lower(model, seed=3)
        parts = shard(model, units(model), mesh, seed=3)
        assert list(parts.state_dict()) == list(whole.state_dict())
        for key, tensor in parts.state_dict().items():
            assert torch.equal(gathered(tensor), whole.state_dict()[key]), key
        numbers = sum(local(each).numel() for each in parts.parameters() if is_split(each))
        assert numbers <= sum(
            -(-len(each) // mesh.size()) * each[0].numel() for each in whole.parameters() if each.dim()
        )
        together = merged(parts)
        assert together.keys() == (whole.state_dict().keys() if mesh.get_local_rank() == 0 else set())
        for key, tensor in together.items():
            assert torch.equal(tensor, whole.state_dict()[key])
        inputs = torch.tensor([[1, 2, 3]]) if text is GPT else torch.ones(2, 3, 3)
        if text is stored:
            loaded = safetensors.torch.load_file(weights)["rnn.weight_hh_l0"]
            assert torch.equal(gathered(parts.rnn.weight_hh_l0), loaded)
        with torch.no_grad():
            assert torch.equal(parts.eval()(inputs), whole.eval()(inputs))
        resharded(parts)
        # torch would mistake a method for a parameter of the same name.
        expected = ["scale", "half", *(f"h.{at}.act.beta" for at in range(2))] if text is GPT else []
        assert [name for name, each in parts.named_parameters() if not is_split(each)] == expected


def learns_alike(mesh, _):
    """Three steps in two passes each, clipped, on other rows in each process: the same losses and weights."""
    for text in (GPT, IN_PLACE):
        learn_alike(model_of(text), mesh)


def learn_alike(model, mesh):
    whole, parts = lower(model, seed=3).double(), shard(model, units(model), mesh, seed=3).double()
    strategy = Sharded(SimpleNamespace(model=parts), mesh, Together(mesh.get_group()))
    rank, size = mesh.get_local_rank(), mesh.size()
    split = [name for name, module in parts.named_modules() if isinstance(module, FSDPModule)]
    assert split == ["", *units(model)]
    assert len(split) == 3
    learners = [AdamW(each.parameters(), lr=0.01, eps=1e-4, weight_decay=0.1, fused=True) for each in (whole, parts)]
    strategy.moved_by(learners[1:])
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        tokens = torch.randint(5, (6, 7), generator=generator)

        def loss(network, rows, tokens=tokens):
            logits = network(tokens[rows, :-1]).flatten(0, 1)
            return cross_entropy(logits, tokens[rows, 1:].flatten(), reduction="sum") / 36

        expected = loss(whole, slice(None))
        expected.backward()
        found = torch.zeros((), dtype=torch.float64)
        for number, half in enumerate((range(3), range(3, 6))):
            rows = list(half)[-(-3 * rank // size) : -(-3 * (rank + 1) // size)]
            with strategy.passing(None, last=number == 1):
                share = loss(parts, rows or [0]) * (1 if rows else 0)
                (share * size).backward()
            found += share.detach()
        dist.all_reduce(found, group=mesh.get_group())
        assert abs(float(found - expected.detach())) < 1e-12
        before = clip_grad_norm_(whole.parameters(), 0.02)
        assert before > 0.04
        strategy.clip_norm(list(parts.parameters()), 0.02)
        for learner in learners:
            learner.step()
            learner.zero_grad()
        for key, tensor in parts.state_dict().items():
            torch.testing.assert_close(gathered(tensor), whole.state_dict()[key], rtol=0, atol=1e-12)


def computes_in_bf16(mesh, _):
    """Matrices are gathered in bf16, vectors are f32; gradients are those of one process, but for rounding."""
    model = model_of(GPT)
    networks = lower(model, seed=3), shard(model, units(model), mesh, precision="bf16", seed=3)
    strategy = Sharded(SimpleNamespace(model=networks[1]), mesh, Together(mesh.get_group()))
    block = networks[1].get_submodule("h.0")
    used = []
    block.attn.c_attn.register_forward_hook(lambda layer, _, output: used.append((layer.weight.dtype, output.dtype)))
    block.ln_1.register_forward_hook(lambda layer, _, output: used.append((layer.weight.dtype, output.dtype)))
    tokens, losses = torch.randint(5, (4, 7), generator=torch.Generator().manual_seed(0)), []
    for network, passing in zip(networks, (nullcontext(), strategy.passing(None, last=True)), strict=True):
        with passing:
            with Precision("bf16", torch.device("cpu")).autocast():
                losses.append(cross_entropy(network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()))
            losses[-1].backward()
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0)
    assert losses[1].dtype == torch.float32
    assert used == [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)]
    for expected, found in zip(*(network.parameters() for network in networks), strict=True):
        assert is_split(found) == (found.dim() > 1)
        assert found.dtype == found.grad.dtype == torch.float32
        far = (gathered(found.grad) - expected.grad).norm()
        assert far < 0.05 * expected.grad.norm() + 0.002


def test_what_is_built_in_parts_is_never_whole():
    """Parameters without memory, tied ones too, and of each what was asked for."""
    model = model_of(GPT)
    sizes = []

    def last_rows(parameter):
        sizes.append(parameter.numel())
        return parameter[-2:].clone() if parameter.dim() else parameter.clone()

    network, parts = lower_in_parts(model, last_rows, seed=3)
    whole = lower(model, seed=3)
    assert network.lm_head.weight is network.wte.weight
    assert max(sizes) == whole.get_submodule("h.0").attn.c_attn.weight.numel()
    for parameter, expected in zip(network.parameters(), whole.parameters(), strict=True):
        assert parameter.untyped_storage().nbytes() == parameter.element_size()
        assert parameter.shape == expected.shape
        assert torch.equal(parts[parameter], expected[-2:] if expected.dim() else expected)
    assert torch.equal(network.noise, whole.noise)


def test_a_network_in_parts_is_the_network(tmp_path):
    path = tmp_path / "weights.safetensors"
    weights = lower(model_of(RECURRENT), seed=7).state_dict()
    safetensors.torch.save_file(weights, path)
    among_processes(tmp_path, starts_alike, learns_alike, computes_in_bf16, arguments=(path,))


def learnt(network):
    """A network after two steps that are the same in any number of processes, and what moved it."""
    optimizer = AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(2):
        for parameter in network.parameters():
            parameter.grad = parameter.detach() + 1
        optimizer.step()
    return network, optimizer


def state_of(network, optimizer):
    tensors = {}
    plain = {"optimizers": optimizer_state([optimizer], network, tensors)}
    return State({"model": network.state_dict(), "optimizer": tensors}, plain)


def restored(network, saved):
    optimizer = AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    network.load_state_dict(filled(saved, "model", network.state_dict()))
    assert restore_optimizers([optimizer], network, saved, torch.device("cpu"), "", settings=True) == []
    return network, optimizer


def same(found, expected):
    networks, optimizers = zip(found, expected, strict=True)
    for key, tensor in networks[1].state_dict().items():
        assert torch.equal(gathered(networks[0].state_dict()[key]), tensor), key
    states = [
        {key: each.state[parameter] for key, parameter in network.named_parameters()}
        for network, each in (found, expected)
    ]
    for key, state in states[1].items():
        assert state.keys() == states[0][key].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for name, tensor in state.items():
            assert torch.equal(gathered(states[0][key][name]), tensor), (key, name)
            assert is_split(states[0][key][name]) == (
                is_split(dict(found[0].named_parameters())[key]) and name != "step"
            )
    assert optimizers[0].param_groups[0]["lr"] == 0.01


def saves_and_loads(mesh, folder):
    """What so many processes save, these and others load, and one process as well; and the other way round."""
    model = model_of(GPT)
    fresh = lambda: shard(model, units(model), mesh, seed=4)  # noqa: E731
    expected = learnt(lower(model, seed=3))
    step = mesh.size()
    together = Together(mesh.get_group())
    parts = learnt(shard(model, units(model), mesh, seed=3))
    same(parts, expected)
    if not (folder / folder_of(step)).exists():
        dist.barrier(mesh.get_group())
        taken = snapshot(step, state_of(*parts), 0, {"step": step}, together)
        write(folder, taken, 9, together=together)
    dist.barrier(mesh.get_group())
    for written in steps_in(folder):
        saved = load(folder / folder_of(written)).state
        assert not any(tensor.is_meta for tensor in saved.tensors["model"].values()) or saved.parts is not None
        same(restored(fresh(), saved), expected)
        if mesh.get_local_rank() == 0:
            same(restored(lower(model, seed=5), saved), expected)
            assert all(torch.equal(whole(saved, "model")[key], each) for key, each in expected[0].state_dict().items())
    same(restored(fresh(), state_of(*expected)), expected)


def fails_together(mesh, folder):
    """Where one process cannot write its part, or the first cannot begin, all are told, and nothing is left."""
    model = model_of(RECURRENT)
    together, step = Together(mesh.get_group()), 10 + mesh.size()
    taken = snapshot(step, State({"model": shard(model, (), mesh).state_dict()}, {}), 0, {"step": step}, together)
    full = OSError(errno.ENOSPC, "no space left")
    last = mesh.get_local_rank() == mesh.size() - 1
    unwritable = patch.object(HuggingFaceStorageWriter, "write_data", side_effect=full) if last else nullcontext()
    with unwritable, pytest.raises(RunError) as raised:
        write(folder, taken, 9, together=together)
    assert raised.value.problem.code == "E0805"
    no_room = patch.object(saving, "refuse_little_space", side_effect=full) if together.is_first else nullcontext()
    with no_room, pytest.raises(RunError) as raised:
        write(folder, taken, 9, together=together)
    assert raised.value.problem.code == ("E0805" if together.is_first else "E0804")
    dist.barrier(mesh.get_group())
    assert [path.name for path in folder.iterdir() if "step-00001" in path.name] == []


def test_a_checkpoint_in_parts_is_one_for_any_number_of_processes(tmp_path):
    folder = tmp_path / "checkpoints"
    among_processes(tmp_path, saves_and_loads, fails_together, numbers=(4, 1, 2, 4), arguments=(folder,))
    assert (folder / "latest").read_text() == "step-000002\n"
    names = {path.name for path in (folder / folder_of(4) / SHARDS).iterdir()}
    assert names == {f"shard-{at:05d}-model-00001-of-00001.safetensors" for at in range(1, 5)}
