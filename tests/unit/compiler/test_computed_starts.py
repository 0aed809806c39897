"""`buffer` and `param` that start as an expression, against a module of torch written by hand."""

import copy
import pickle
from math import log
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import expc
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container
from expc.compiler.lower import lower

ATTEND = """
let Waves = { cat([sin(flow), cos(flow)], dim=-1) }

block Attend(x: f32[N, T, C], heads: int) -> f32[N, T, C] {
  buffer hidden: bool[T, T] = triu(ones(T, T), diagonal=1) -> bool
  buffer rate: f32[C // 2]  = exp(arange(C // 2) * (-log(10_000) / (C // 2)))
  buffer place: f32[T, C]   = arange(T)[:, none] * rate -> Waves
  buffer order: i64[T]      = arange(T - 1, -1, -1)
  param scale: f32[heads]   = linspace(0.5, 1, heads)
  q, k, v = x + place[order] -> Linear(3 * C) -> rearrange("n t (a h d) -> a n h t d", a=3, h=heads) -> unbind
  weights = (q @ transpose(k, -1, -2)) * scale[:, none, none] -> masked_fill(hidden, -1e9) -> softmax(-1)
  weights @ v -> rearrange("n h t d -> n t (h d)")
}

model Net(x: f32[N, 6, 8]) -> f32[N, 6, 8] {
  repeat 2 { Attend(2) }
}
"""


class Attend(nn.Module):
    def __init__(self, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = nn.Parameter(torch.linspace(0.5, 1, heads))
        rate = torch.exp(torch.arange(width // 2) * (-log(10_000) / (width // 2)))
        angles = torch.arange(length)[:, None] * rate
        self.register_buffer("hidden", torch.ones(length, length).triu(1).bool())
        self.register_buffer("rate", rate)
        self.register_buffer("place", torch.cat([angles.sin(), angles.cos()], dim=-1))
        self.register_buffer("order", torch.arange(length).flip(0))
        self.add_module("0", nn.Linear(width, 3 * width))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        mixed = self.get_submodule("0")(x + self.place[self.order])
        q, k, v = mixed.view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) * self.scale[:, None, None]
        weights = scores.masked_fill(self.hidden, -1e9).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(n, t, c)


def built(body: str, **how: object) -> nn.Module:
    text = f"model Net(x: f32[N, 4]) -> f32[N, 4] {{\n{body}\n}}"
    return expc.load(text=text).build(**how)


def equal(left: nn.Module, right: nn.Module) -> bool:
    a, b = left.state_dict(), right.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


def test_a_block_with_computed_buffers_is_the_module_written_by_hand() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(Attend(6, 8, 2), Attend(6, 8, 2))
    ours = expc.load(text=ATTEND).build(seed=0)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_buffers()] == [name for name, _ in theirs.named_buffers()]
    for (key, tensor), other in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert tensor.dtype == other.dtype, key
        torch.testing.assert_close(tensor, other, rtol=0, atol=1e-7)
    assert torch.equal(ours.state_dict()["1.scale"], torch.tensor([0.5, 1.0]))
    x = torch.randn(3, 6, 8)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
    for module in (ours, theirs):
        module(x).square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    assert equal(copied, ours)
    assert not {t.data_ptr() for t in copied.buffers()} & {t.data_ptr() for t in ours.buffers()}
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), theirs(x))


def test_on_the_meta_device_nothing_is_computed() -> None:
    experiment = expc.load(text=ATTEND)
    empty, full = experiment.build(device="meta"), experiment.build(seed=0)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in full.state_dict().items()}
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in empty.state_dict().items()} == shapes
    empty.to_empty(device="cpu").load_state_dict(full.state_dict())
    x = torch.randn(2, 6, 8)
    assert torch.equal(empty(x), full(x))


def test_random_numbers_follow_the_seed_and_initialisers_keep_theirs() -> None:
    body = (
        "buffer a: f32[4] = randn(4) * 2\nparam b: f32[4] = uniform\nbuffer c: f32[4] = normal(std=0.5)\n x + a + b + c"
    )
    before = torch.get_rng_state()
    first, again, other = (built(body, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)
    torch.manual_seed(1)
    b, a = nn.init.uniform_(torch.empty(4)), torch.randn(4) * 2
    c = nn.init.normal_(torch.empty(4), std=0.5)
    assert all(torch.equal(first[key], value) for key, value in {"a": a, "b": b, "c": c}.items())


def test_buffers_made_from_buffers_share_nothing_and_every_form_is_a_start(tmp_path: Path) -> None:
    body = """
      buffer base: f32[4]     = linspace(0, 3, 4)
      buffer same: f32[4]     = base
      buffer wide: f32[2, 4]  = base -> unsqueeze(0) -> expand(2, -1)
      buffer kept: f32[4]     = cumprod(1 - linspace(0.1, 0.4, 4), dim=0)
      buffer half: f16[4]     = (base + 1) / 2 -> f16
      buffer part: i64[2]     = arange(10)[2:8:3]
      buffer some: f32[4]     = ones(4) -> Dropout(0.5) -> Softmax(0)
      buffer type: f32[4]     = ones if 2 < 1 else (base -> { y = flow * 2; y + flow })
      x + same * base + wide[0] + kept + half + type + some + part[0]
    """
    module = built(body)
    state = module.state_dict()
    base = torch.arange(4.0)
    expected = {
        "base": base,
        "same": base,
        "wide": base.expand(2, 4),
        "kept": (1 - torch.linspace(0.1, 0.4, 4)).cumprod(0),
        "half": ((base + 1) / 2).half(),
        "part": torch.tensor([2, 5]),
        "some": torch.full((4,), 0.25),
        "type": base * 3,
    }
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert state[key].dtype == value.dtype, key
        assert torch.equal(state[key], value), key
    with torch.no_grad():
        module.base.zero_()
        module.wide[0].zero_()
    assert torch.equal(module.same, base)
    assert torch.equal(module.wide[1], base)
    save_file({"base": torch.full((4,), 7.0)}, tmp_path / "base.safetensors")
    (tmp_path / "net.exp").write_text(
        "model Net(x: f32[N, 4]) { buffer base: f32[4] = arange(4) * 1.0\n"
        'buffer next: f32[4] = base + 1\ninit "base" = load("base.safetensors")\nx + base + next }'
    )
    loaded = expc.load(tmp_path / "net.exp").build().state_dict()
    assert torch.equal(loaded["base"], torch.full((4,), 7.0))
    assert torch.equal(loaded["next"], base + 1)


def test_what_torch_refuses_when_it_is_computed_names_its_line() -> None:
    text = "model Net(x: f32[N, 4]) {\n  buffer at: i64[2] = arange(4)\n  x + at[0]\n}"
    model = expc.load(text=text.replace("arange(4)", "arange(4)[tensor([0, 4]) * 2]")).program.model
    with pytest.raises(ExecutionError) as refused:
        lower(model)
    problem = refused.value.problem
    assert problem.span.source.position(problem.span.start)[0] == 2
    assert "out of" in str(problem.message)


def test_a_label_used_again_keeps_one_buffer_and_no_start_is_a_module() -> None:
    text = """
    model Net(x: f32[N, 4]) -> f32[N, 4] {
      shift: { buffer by: f32[4] = arange(4) -> f32; flow + by }
      shift
    }
    """
    module = expc.load(text=text).build()
    assert list(module.state_dict()) == ["shift.by"]
    assert [name for name, _ in module.named_modules()] == ["", "shift"]
    assert torch.equal(module(torch.zeros(1, 4)), torch.tensor([[0.0, 2.0, 4.0, 6.0]]))
    body = expc.load(text=text).program.model.body
    assert isinstance(body.children["shift"].buffers["by"].start, Container)
