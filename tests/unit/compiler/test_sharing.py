"""A block that is used again for tensors of other sizes: the same modules, each size by its own types."""

import io

import pytest
import torch

import expc

torch.set_num_threads(1)


NET = """
block Rows(x: f32[N, C, H, W], width: int) {
  param scale: f32[width] = ones
  Conv2d(width, 3, padding=1)
  inner: { reshape(N, width, H * W) -> Conv1d(width, 1) -> reshape(N, width, H, W) }
  flow * reshape(scale, [1, width, 1, 1]) + H
}

model Net(a: f32[N, 3, 6, 6], b: f32[N, 3, 4, S], c: f32[N, 3, 6, 6])
    -> (p: f32[N, 5, 6, 6], q: f32[N, 5, 4, S], r: f32[N, 5, 6, 6]) {
  p = a -> rows: Rows(5)
  q = b -> rows
  r = c -> rows
}
"""


def test_the_same_weights_run_at_each_size() -> None:
    net = expc.load(text=NET).build(seed=0)
    state = net.state_dict()
    shapes = {
        "rows.scale": (5,),
        "rows.0.weight": (5, 3, 3, 3),
        "rows.0.bias": (5,),
        "rows.inner.0.weight": (5, 5, 1),
        "rows.inner.0.bias": (5,),
    }
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes

    def rows(x: torch.Tensor) -> torch.Tensor:
        h = torch.nn.functional.conv2d(x, state["rows.0.weight"], state["rows.0.bias"], padding=1)
        h = torch.nn.functional.conv2d(h, state["rows.inner.0.weight"][..., None], state["rows.inner.0.bias"])
        scaled: torch.Tensor = h * state["rows.scale"].reshape(1, 5, 1, 1) + x.shape[2]
        return scaled

    inputs = torch.rand(2, 3, 6, 6), torch.rand(2, 3, 4, 7), torch.rand(2, 3, 6, 6)
    expected = [rows(x) for x in inputs]
    for module in (net, torch.compile(net, backend="eager", fullgraph=True), _saved(net)):
        found = module(*inputs)
        for name, value in zip("pqr", expected, strict=True):
            torch.testing.assert_close(found[name], value)
    sum(value.sum() for value in net(*inputs).values()).backward()
    assert all(p.grad is not None for p in net.parameters())


def _saved(net: torch.nn.Module) -> torch.nn.Module:
    stream = io.BytesIO()
    torch.save(net, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    assert isinstance(loaded, torch.nn.Module)
    return loaded


def test_a_shared_block_counts_its_weights_once_and_its_work_each_time() -> None:
    table = expc.load(text=NET).summary(N=1, S=4)
    rows = 3 * 5 * 9 + 5 + 5 * 5 + 5 + 5
    assert f"{rows:,} parameters" in table
    assert f"{(2 * 36 + 16) * (135 + 25):,} multiply-accumulates" in table


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{ Conv2d(5, 1) }", "its `0.weight` is f32[5, 3, 1, 1], and would be f32[5, 4, 1, 1]"),
        ("Pool", "its module `0` has kernel_size=6, and would have kernel_size=4 here"),
        ("Other", "it would need `1.weight`"),
    ],
)
def test_what_cannot_be_shared_is_refused(block: str, told: str) -> None:
    text = f"""
block Pool(x: f32[N, C, H, W]) -> f32[N, C] {{ AvgPool2d(H) -> flatten(1) }}
block Other(x: f32[N, C, H, W]) {{ ReLU; if H == 4 {{ Linear(4, bias=false) }} }}
model Net(a: f32[N, 3, 6, 6], b: f32[N, 4, 4, 4]) {{ one: {block}; _ = b -> one; return a }}
"""
    (problem,) = [problem for problem in expc.check(text=text) if problem.code == "E0311"]
    assert told in problem.message
    assert "is made here" in problem.labels[0].text


MODELS = """
model Encoder(x: f32[N, 8], width: int, bias: bool = true) -> f32[N, width] { Linear(width, bias=bias) -> Tanh }
model Small = Encoder(4)
model Plain = Small(bias=false)
"""


def test_a_model_is_a_block_and_a_recipe_of_a_model_is_a_model() -> None:
    plain = expc.load(text=MODELS).build()
    assert list(plain.state_dict()) == ["0.weight"]
    net = "model Net(x: f32[N, 8]) -> f32[N, 2] { Small; tail: Encoder(6) -> Linear(2) }"
    text = MODELS.replace("model Plain = Small(bias=false)", net).replace("x: f32[N, 8], width", "x: f32[N, C], width")
    keys = list(expc.load(text=text).build().state_dict())
    assert keys == ["0.0.weight", "0.0.bias", "tail.0.weight", "tail.0.bias", "2.weight", "2.bias"]
