"""Programs beside modules written by hand: arithmetic, indexing, functions, tuples, and sizes used as numbers."""

import pytest
import torch
from programs import codes, is_torchs, model_of
from torch import nn
from torch.nn import functional as F  # noqa: N812

from expc.compiler.lower import lower

G = torch.Generator().manual_seed(0)
X = torch.randn(3, 4, generator=G)
Y = torch.randn(3, 4, generator=G)
IMAGE = torch.randn(2, 3, 6, 8, generator=G)
TOKENS = torch.randn(2, 5, 8, generator=G)
I = torch.tensor([[2, 0], [1, 2]])  # noqa: E741


class Plain(nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


EXPRESSIONS = {
    "x + y * 2 - 1 / (y * y + 1)": lambda x, y: x + y * 2 - 1 / (y * y + 1),
    "-x ** 2": lambda x, y: -(x**2),
    "2 ** x": lambda x, y: 2**x,
    "x // 0.5 % 3": lambda x, y: x // 0.5 % 3,
    "x - -y": lambda x, y: x - -y,
    "(x > y) + (x <= 0)": lambda x, y: (x > y) + (x <= 0),
    "3 > x": lambda x, y: x < 3,
    "x == x": lambda x, y: x == x,  # noqa: PLR0124
    "x != 1": lambda x, y: x != 1,
    "x @ transpose(y, 0, 1)": lambda x, y: x @ y.T,
    "x @ (y -> t)": lambda x, y: x @ y.T,
    "1 + exp(x) - max(x, 1)[0][:, none]": lambda x, y: 1 + x.exp() - x.max(1)[0][:, None],
    "abs(x) + sqrt(abs(y)) -> sum(1)": lambda x, y: (x.abs() + y.abs().sqrt()).sum(1),
    "x -> max(1)": lambda x, y: tuple(x.max(1)),
    "x -> sum": lambda x, y: x.sum(),
    "x -> round -> abs": lambda x, y: x.round().abs(),
    "x -> f64": lambda x, y: x.double(),
    "(x > 0 -> i64) + (x -> bool)": lambda x, y: (x > 0).long() + x.bool(),
    "x -> as f32[B, K] -> reshape([B * K])": lambda x, y: x.reshape(-1),
    "flow + (relu) -> (relu -> tanh)": lambda x, y: (x + x.relu()).relu().tanh(),
    "x -> (relu if 2 > 1 else tanh)": lambda x, y: x.relu(),
    "x -> flow * y + flow": lambda x, y: x * y + x,
    "x -> add(y)": lambda x, y: x + y,
    "add(y)": lambda x, y: x + y,
    "add(x, y) -> mul(2)": lambda x, y: (x + y) * 2,
    "sub(other=y)": lambda x, y: x - y,
    "y -> sub(input=x, other=flow)": lambda x, y: x - y,
    "where(x > 0, x, 0.0)": lambda x, y: torch.where(x > 0, x, 0.0),
    "x > 0 -> where(x, y)": lambda x, y: torch.where(x > 0, x, y),
    "cat([x, relu, x + y], dim=1)": lambda x, y: torch.cat([x, x.relu(), x + y], 1),
    "y -> stack([flow, x])": lambda x, y: torch.stack([y, x]),
    "(x, y) -> mul": lambda x, y: x * y,
    "(x, y) -> cat(flow, dim=1)": lambda x, y: torch.cat([x, y], 1),
    "(relu, tanh, y)": lambda x, y: (x.relu(), x.tanh(), y),
    'einsum("i k, j k -> i j", x, y)': lambda x, y: torch.einsum("ik,jk->ij", x, y),
    'x -> rearrange("n (two c) -> two c n", two=2)': lambda x, y: x.reshape(3, 2, 2).permute(1, 2, 0),
    "clamp(min=0.0)": lambda x, y: x.clamp(min=0.0),
    "clamp(0.0, 1.0)": lambda x, y: x.clamp(0.0, 1.0),
    "softmax(-1) -> topk(2)": lambda x, y: tuple(x.softmax(-1).topk(2)),
    "cross_entropy(y -> softmax(1))": lambda x, y: F.cross_entropy(x, y.softmax(1)),
    "tensor([[1, 2], [3, 4]]) -> f32": lambda x, y: torch.tensor([[1, 2], [3, 4]]).float(),
    "x * [1.0, 2.0][1] + pi": lambda x, y: x * 2.0 + torch.pi,
    "zeros_like(x) + ones(4)": lambda x, y: torch.zeros(3, 4) + 1,
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_torchs(expression: str) -> None:
    text = f"model M(x: f32[N, 4], y: f32[N, 4]) {{ {expression} }}"
    is_torchs(text, Plain(EXPRESSIONS[expression]), X, Y)


INDICES = {
    "x[0]": lambda x, i: x[0],
    "x[-1, 1:]": lambda x, i: x[-1, 1:],
    "x[:, ::2, none, 1:-1]": lambda x, i: x[:, ::2, None, 1:-1],
    "x[..., 0]": lambda x, i: x[..., 0],
    "x[:, -2:, ..., :3]": lambda x, i: x[:, -2:, ..., :3],
    "x[none, 0, ..., none]": lambda x, i: x[None, 0, ..., None],
    "x[:, i]": lambda x, i: x[:, i],
    "x[:, i, i]": lambda x, i: x[:, i, i],
    "x[:, i, :, i[0]]": lambda x, i: x[:, i, :, i[0]],
    "x[:, :, 0, i]": lambda x, i: x[:, :, 0, i],
    "x[0, :, i]": lambda x, i: x[0, :, i],
    "x[:, :, H - 1, W // 2]": lambda x, i: x[:, :, 5, 4],
    "x[:, :, :H // 2]": lambda x, i: x[:, :, :3],
    "x[:, :, 1:H, :W - 1]": lambda x, i: x[:, :, 1:6, :7],
    "x[:, argmax(i, 1)]": lambda x, i: x[:, i.argmax(1)],
    "x -> flow[:, 0] -> flow[0]": lambda x, i: x[:, 0][0],
    "(x -> relu)[:, 1]": lambda x, i: x.relu()[:, 1],
}


@pytest.mark.parametrize("expression", INDICES)
def test_an_index_is_torchs(expression: str) -> None:
    text = f"model M(x: f32[N, 3, H, W], i: class(3)[2, 2]) {{ {expression} }}"
    is_torchs(text, Plain(INDICES[expression]), IMAGE, I)


SIZES = {
    "reshape([N, -1])": lambda x: x.reshape(2, -1),
    "reshape(N * T, D // 2, -1)": lambda x: x.reshape(10, 4, -1),
    "view(-1, D)": lambda x: x.view(-1, 8),
    "x * N / T": lambda x: x * 2 / 5,
    "x / D ** 0.5": lambda x: x / 8**0.5,
    "arange(T)": lambda x: torch.arange(5),
    "arange(T - 1, -1, -1) + ones(N, 1)": lambda x: torch.arange(4, -1, -1) + torch.ones(2, 1),
    "x + arange(T)[:, none]": lambda x: x + torch.arange(5)[:, None],
    "ones(T, T, dtype=bool) -> tril": lambda x: torch.ones(5, 5, dtype=torch.bool).tril(),
    "x -> { flow[:, :T // 2] + zeros(N, T // 2, D) }": lambda x: x[:, :2] + torch.zeros(2, 2, 8),
    "x -> { { full([N, max(T - 3, 1)], 0.5) } }": lambda x: torch.full((2, 2), 0.5),
    "expand(N, T, D)": lambda x: x,
    "flatten(0, 1) -> as f32[P, C] -> reshape([P * C])": lambda x: x.reshape(-1),
    "x -> as f32[B, S, C] -> unflatten(1, [1, S])": lambda x: x[:, None],
    "x -> chunk(2, dim=-1) -> cat(flow, dim=1)": lambda x: torch.cat(x.chunk(2, dim=-1), 1),
    "a, b = x -> chunk(2, dim=-1); a * b": lambda x: x[..., :4] * x[..., 4:],
    "values, _ = x -> max(1); values": lambda x: x.max(1)[0],
    "a, (b, c) = (x, (x + 1, x + 2)); a * b - c": lambda x: x * (x + 1) - (x + 2),
    "q, k, v = x -> unsqueeze(0) -> expand(3, N, T, D) -> unbind(0); q * k + v": lambda x: x * x + x,
    "x -> mean(1) -> { a = flow; b = a -> relu; (a, b) } -> mul": lambda x: x.mean(1) * x.mean(1).relu(),
    "repeat 2 as i { x + i } ; flow + T": lambda x: x + 1 + 5,
    "half = D / 2; x[..., half:] - x[..., :half]": lambda x: x[..., 4:] - x[..., :4],
}


@pytest.mark.parametrize("body", SIZES)
def test_sizes_are_numbers(body: str) -> None:
    text = f"model M(x: f32[N, T, 8]) {{ x -> Wrapped }}\nblock Wrapped(x: f32[N, T, D]) {{ {body} }}"
    is_torchs(text, nn.Sequential(Plain(SIZES[body])), TOKENS)


class Applied(nn.Module):
    """One module called `m` and how it is used."""

    def __init__(self, run, m: nn.Module) -> None:
        super().__init__()
        self.m, self.run = m, run

    def forward(self, *inputs):
        return self.run(self.m, *inputs)


PAD = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
STATE = torch.randn(1, 2, 6, generator=G)


@pytest.mark.parametrize(
    ("body", "module", "run"),
    [
        (
            "out, (h, c) = x -> m: LSTM(6, batch_first=true); (out, h, c)",
            nn.LSTM(8, 6, batch_first=True),
            lambda m, x, pad, s: (m(x)[0], *m(x)[1]),
        ),
        (
            "(x, (s, s)) -> m: LSTM(6, batch_first=true) -> { out, _ = flow; out }",
            nn.LSTM(8, 6, batch_first=True),
            lambda m, x, pad, s: m(x, (s, s))[0],
        ),
        (
            "_, h = x -> m: GRU(6, batch_first=true, hx=s); h[-1]",
            nn.GRU(8, 6, batch_first=True),
            lambda m, x, pad, s: m(x, s)[1][-1],
        ),
        (
            "y, none_ = x -> m: MultiheadAttention(2, batch_first=true, key_padding_mask=pad, need_weights=false); y",
            nn.MultiheadAttention(8, 2, batch_first=True),
            lambda m, x, pad, s: m(x, x, x, key_padding_mask=pad, need_weights=False)[0],
        ),
        (
            "m: MultiheadAttention(4, batch_first=true, dropout=0.5)",
            nn.MultiheadAttention(8, 4, batch_first=True, dropout=0.5),
            lambda m, x, pad, s: m(x, x, x),
        ),
        (
            "(x, s -> transpose(0, 1)) -> m: MultiheadAttention(2, batch_first=true)",
            nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=6),
            lambda m, x, pad, s: m(x, s.transpose(0, 1), s.transpose(0, 1)),
        ),
        (
            "m: MultiheadAttention(2, batch_first=true, need_weights=false) -> { y, _ = flow; y + s[0, 0, 0] }",
            nn.MultiheadAttention(8, 2, batch_first=True),
            lambda m, x, pad, s: m(x, x, x, need_weights=False)[0] + s[0, 0, 0],
        ),
        (
            "m: TransformerEncoderLayer(2, dim_feedforward=16, batch_first=true, src_key_padding_mask=pad)",
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            lambda m, x, pad, s: m(x, src_key_padding_mask=pad),
        ),
    ],
)
def test_modules_with_several_tensors(body: str, module: nn.Module, run) -> None:
    text = f"model M(x: f32[N, T, 8], pad: bool[N, T], s: f32[1, N, 6]) {{ {body.replace('none_', '_')} }}"
    is_torchs(text, Applied(run, module), TOKENS, PAD, STATE)


def test_a_network_runs_at_every_size_that_it_was_checked_for() -> None:
    text = """
    model M(x: f32[N, 3, H, W]) where H % 2 == 0 {
      half = x[:, :, :H / 2] + x[:, :, H / 2:]
      half -> Conv2d(4, 3, stride=2, padding=1) -> flatten(2) -> transpose(1, 2)
      flow + arange((H // 2 + 1) // 2 * ((W + 1) // 2))[:, none]
    }
    """
    module = lower(model_of(text), seed=0)
    for h, w in ((2, 1), (4, 7), (6, 6), (10, 3)):
        x = torch.randn(2, 3, h, w)
        y = module._modules["0"](x[:, :, : h // 2] + x[:, :, h // 2 :]).flatten(2).transpose(1, 2)
        assert torch.equal(module(x), y + torch.arange(y.shape[1])[:, None])


def test_what_depends_on_two_sizes_must_be_stated() -> None:
    text = "model M(x: f32[N, T], y: f32[N, S]){where} {{ x[:, S - 1] + y[:, 0] }}"
    assert codes(text.format(where="")) == [("E0308", "M")]
    for where in ("T >= S", "S <= T", "T > S", "T == S + 2", "T - 1 >= S"):
        assert codes(text.format(where=f" where {where}")) == []
    for where in ("T >= S - 1", "S >= T", "T >= 5"):
        assert [code for code, _ in codes(text.format(where=f" where {where}"))] == ["E0308"]


@pytest.mark.parametrize("body", ["x[:, :, 4]", "x[..., 4:9]", "InstanceNorm2d", "Conv2d(3, 5) -> MaxPool2d(2)"])
def test_mere_lower_bounds_need_not_be_written(body: str) -> None:
    assert codes(f"model M(x: f32[N, 3, H, W]) {{ {body} }}") == []
