"""The examples, lowered, against the networks that they say they are."""

from pathlib import Path

import pytest
import torch
from torch import nn

from expc import load
from expc.compiler import graph
from expc.runtime.torchvision_compat import import_torchvision

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


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (part.reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(n, t, c))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp.c_proj(nn.functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, vocab: int, context: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


def test_gpt_is_gpt_2():
    settings = {"width": 24, "heads": 3, "depth": 2, "context": 16, "p": 0.0}
    ours = load(EXAMPLES / "gpt.exp", set=settings).build(seed=0)
    theirs = GPT(65, 16, 24, 3, 2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert ours.lm_head.weight is ours.wte.weight
    tokens = torch.randint(0, 65, (2, 11))
    assert torch.equal(ours(tokens), theirs(tokens))
    torch.testing.assert_close(ours.wte.weight.std().item(), 0.02, rtol=0.1, atol=0)
    torch.testing.assert_close(ours.get_submodule("h.1").mlp.c_proj.weight.std().item(), 0.01, rtol=0.1, atol=0)
    assert torch.equal(ours.get_submodule("h.0").ln_1.weight, torch.ones(24))
    torch._dynamo.reset()
    compiled = torch.compile(ours, backend="eager", fullgraph=True, dynamic=True)
    assert torch.equal(compiled(tokens), theirs(tokens))
    assert torch.equal(compiled(tokens[:1, :6]), theirs(tokens[:1, :6]))
