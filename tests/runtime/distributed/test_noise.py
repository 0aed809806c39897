"""Random numbers of a network: a slice of a batch gets the noise that it gets in the whole."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from expc.compiler.lower import lower
from expc.compiler.ops.table import operators
from expc.compiler.session import check_file, check_text
from expc.runtime.distributed.noise import WholeDraws, not_repeatable
from expc.runtime.recompute import recompute
from expc.runtime.task import Task

ROOT = Path(__file__).parents[3]
TOTAL = 7
SLICES = (0, 1, 5, 6, 7)
SIZES = {"N": TOTAL, "M": TOTAL, "H": 6, "W": 6, "D": 6, "L": 5, "T": 3, "S": 4}
LISTED = {"rrelu", "RReLU", "poisson", "binomial", "DropBlock2d", "DropBlock3d"}


class Drawing(TorchDispatchMode):
    """Whether something draws."""

    seen = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen = self.seen or torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


def network(text):
    checked = check_text(text)
    assert not checked.has_errors, checked.problems
    return lower(checked.program.model, seed=0).double().train()


def inputs_of(model):
    """Numbers between 0 and 1 for each input of a network."""
    generator = torch.Generator().manual_seed(2)
    for value in model.plan.container.inputs:
        shape = [int(SIZES.get(str(size), 0) or str(size)) for size in value.type.dims]
        if value.type.dtype.startswith("i"):
            yield torch.randint(0, 5, shape, generator=generator)
        else:
            yield torch.rand(shape, generator=generator, dtype=torch.float64) * 0.8 + 0.1


def flat(result):
    if isinstance(result, torch.Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values if value is not None for tensor in flat(value)]


def results(model, inputs, whole, start, stop, total, rows):
    """What the rows make, what comes back to them, and where the generator stands then."""
    torch.manual_seed(5)
    cut = [(x[rows].clone() * 1).requires_grad_(x.is_floating_point()) for x in inputs]
    with whole.drawing(start, stop, total):
        outputs = flat(model(*(x * 1 for x in cut)))
        scalar = sum((output * output.detach().sin()).sum() for output in outputs if output.requires_grad)
        if isinstance(scalar, torch.Tensor):
            scalar.backward()
    return outputs, [x.grad for x in cut], torch.get_rng_state()


def axis_of(found, expected, count):
    axes = [at for at, pair in enumerate(zip(found.shape, expected.shape, strict=True)) if pair[0] != pair[1]]
    assert len(axes) <= 1, (found.shape, expected.shape)
    return axes[0] if axes else None


def same(found, expected, start, stop, outer, atol):
    count = stop - start
    axis = axis_of(found, expected, count)
    if axis is not None:
        split = expected.unflatten(axis, (outer, TOTAL, -1)).narrow(axis + 1, start, count)
        expected = split.flatten(axis, axis + 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def check(text, slices=SLICES, *, outer=1, atol=0, prepare=lambda model: None):
    model = network(text)
    assert not_repeatable(model) == ()
    prepare(model)
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float64)
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs_of(model)]
    whole = WholeDraws(model)
    outputs, grads, state = results(model, inputs, whole, 0, TOTAL, TOTAL, slice(None))
    for start, stop in pairwise(slices):
        found, back, after = results(model, inputs, whole, start, stop, TOTAL, slice(start, stop))
        for one, all_of_it in zip(found, outputs, strict=True):
            same(one, all_of_it, start, stop, outer, atol)
        for one, all_of_it in zip(back, grads, strict=True):
            if all_of_it is not None:
                same(one, all_of_it, start, stop, 1, atol)
        assert torch.equal(after, state)
    _, _, after = results(model, inputs, whole, 0, 0, TOTAL, slice(0, 1))
    assert torch.equal(after, state)
    assert "walk" not in vars(model)
    return outputs


RANDOM = sorted(name for name, operator in operators().items() if operator.random)
EXAMPLES = {
    # Examples whose sizes are fixed, or which draw only if asked to.
    "rand": "rand(N, 8)",
    "randn": "randn(N, 8)",
    "randint": "randint(10, [N, 8])",
    "normal": "normal(0.0, 1.0, [N, 8])",
    "RNN": "x -> transpose(0, 1) -> RNN(6, num_layers=3, dropout=0.4)",
    "LSTM": "LSTM(6, num_layers=3, dropout=0.4, batch_first=true)",
    "GRU": "GRU(6, num_layers=3, dropout=0.4, batch_first=true, bidirectional=true)",
    "TransformerEncoderLayer": "x -> transpose(0, 1) -> TransformerEncoderLayer(2, dim_feedforward=8, norm_first=true)",
    "Transformer": "(x, y) -> Transformer(2, num_encoder_layers=1, num_decoder_layers=1, batch_first=true)",
    "MultiheadAttention": "MultiheadAttention(2, dropout=0.3, batch_first=true)",
    "scaled_dot_product_attention": "scaled_dot_product_attention(q, k, v, is_causal=true, dropout_p=0.3)",
    "StochasticDepth": 'x -> StochasticDepth(0.4, "row")',
}


def example(name):
    operator = operators()[name]
    inputs = ", ".join(f"{key}: {kind}" for key, kind in operator.example_inputs.items())
    return f"model Net({inputs}) {{\n  {EXAMPLES.get(name, operator.example)}\n}}"


def draws(name):
    """Whether the example of an operator draws."""
    model = network(example(name))
    inputs = list(inputs_of(model))
    with Drawing() as drawing:
        model(*inputs)
    return drawing.seen


def test_the_table_says_what_draws():
    # Of the numbers here nothing is a length.
    others = [name for name in operators() if name not in (*RANDOM, "ctc_loss") and operators()[name].kind != "loss"]
    assert len(others) > 400
    assert [name for name in others if draws(name)] == []


@pytest.mark.parametrize("name", RANDOM)
def test_every_operator_that_draws_is_repeatable_or_listed(name):
    text = example(name)
    if name in LISTED:
        assert len(not_repeatable(network(text))) == 1
        return
    assert draws(name)
    # What multiplies matrices rounds otherwise where there are fewer rows.
    check(text, atol=1e-12 if operators()[name].weights else 0)


OWN = """
import torch

class Noise(torch.nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return x + self.p * torch.rand_like(x) if self.p else x
"""
EXTERN = 'extern layer Noise(p: float): f32[N, *D] -> f32[N, *D] = "own:Noise"\n'
PART = """block Part(x: f32[N, L, C]) {
  h = x -> Linear(4) -> Dropout(0.4)
  return h * rand_like(h)
}
"""
NETWORKS = {
    "samples in the second dimension": """model Net(x: f32[N, T, 4]) {
  h = x -> transpose(0, 1) -> dropout(0.4)
  h + randn_like(h)
}""",
    "samples in the second dimension of memory": """model Net(x: f32[N, T, 4]) {
  h = x -> transpose(0, 1) -> contiguous
  return (rand_like(h), randn_like(h -> transpose(0, 1)), normal(h, 1.0))
}""",
    "several rows of each sample": """model Net(x: f32[N, T, 4]) {
  flatten(0, 1) -> { Linear(4) -> Dropout(0.4) }
  flow + rand_like(flow)
  unflatten(0, [N, T])
}""",
    "rows by einops": """model Net(x: f32[N, T, 4]) {
  rearrange("n t c -> (n t) c") -> dropout(0.4) -> Linear(4)
}""",
    "a repeated batch": "model Net(x: f32[N, 4]) { repeat_interleave(3, dim=0) -> Dropout(0.4) }",
    "noise of a fixed size": "model Net(x: f32[N, 4]) { x + randn([4]) -> Dropout(0.4) }",
    "inputs with several names": """model Net(x: f32[N, 4], y: f32[M, 4]) {
  return (x -> Dropout(0.4), y -> dropout(0.4), randn([M, 3]))
}""",
    "what is the same along a dimension": """model Net(x: f32[N, T, 4]) {
  h = x[:, :1] -> expand(-1, T, -1)
  same = zeros([1, 4]) -> expand(N, 4)
  return (h * rand_like(h) + x, randn_like(same))
}""",
    "a layer that changes its input": "model Net(x: f32[N, 4]) { Linear(4) -> Dropout(0.4, inplace=true) }",
    "the same layers on other sizes": PART
    + """model Net(x: f32[N, T, 4], y: f32[N, S, 4]) {
  a = x -> net: Part
  b = y -> net
  return (a, b, x -> net)
}""",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_are_followed_wherever_they_lie(name):
    check(NETWORKS[name], atol=1e-12 if "Linear" in NETWORKS[name] else 0)


def test_weights_in_half_precision_are_those_with_numbers():
    """Autocast keeps what it has cast, also in layers that draw, at which one looks without numbers first."""
    attention = "y, _ = MultiheadAttention(2, dropout=0.3, batch_first=true)"
    with torch.autocast("cpu", torch.bfloat16):
        check(
            f"model Net(x: f32[N, T, 4]) {{ {attention}\n  y -> Linear(4) }}", atol=0.02, prepare=torch.nn.Module.float
        )


def test_batches_one_after_the_other_are_told_apart():
    """The rows of a sample are far from each other then."""
    joined = "model Net(x: f32[N, 4]) { cat([x, x, x]) -> Linear(3) -> Dropout(0.4) }"
    check(joined, outer=3, atol=1e-12)
    check("model Net(x: f32[N, T, 4]) { cat([x, x]) -> flatten(0, 1) -> dropout(0.4) }", outer=2)


LISTS = {
    "x[randperm(N)]": "randperm(N)",
    'rearrange("n t c -> (t n) c") -> dropout(0.4)': "dropout(0.4)",
    "x + randn([2 * N, 3, 4])[:N]": "randn([2 * N, 3, 4])",
    "poisson(x)": "poisson(x)",
    "x - 0.5 -> RReLU": "RReLU",
    "Noise(1.0)": "Noise(1.0)",
}


@pytest.mark.parametrize("body", LISTS)
def test_what_cannot_be_repeated_is_named_and_draws_apart(body, tmp_path):
    """And what follows draws as if nothing were the matter."""
    (tmp_path / "own.py").write_text(OWN)
    text = f"{EXTERN}model Net(x: f32[N, 3, 4]) {{\n  {body}\n}}"
    (tmp_path / "net.exp").write_text(text)
    checked = check_file(str(tmp_path / "net.exp"))
    assert not checked.has_errors, checked.problems
    model = lower(checked.program.model, seed=0).train()
    assert not_repeatable(model) == (f"`{LISTS[body]}` in line 3",)
    whole, x = WholeDraws(model), torch.rand(1, 3, 4).expand(TOTAL, 3, 4)

    def drawn(start, stop):
        torch.manual_seed(5)
        with whole.drawing(start, stop, TOTAL):
            return torch.stack([model(x[start:stop]), model(x[start:stop])]), torch.get_rng_state()

    (first, state), (second, after) = drawn(0, 3), drawn(3, 6)
    assert torch.equal(after, state)
    assert not torch.equal(state, torch.random.manual_seed(5).get_state())
    if "randperm" not in body:
        assert not torch.equal(first, second)
        assert not torch.equal(*first)


def test_python_code_that_draws_nothing_moves_no_generator(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "net.exp").write_text(EXTERN + "model Net(x: f32[N, 4]) { Noise(0.0) -> Dropout(0.4) }")
    model = lower(check_file(str(tmp_path / "net.exp")).program.model, seed=0).train()
    whole, x = WholeDraws(model), torch.rand(TOTAL, 4)
    torch.manual_seed(5)
    expected = model(x)
    for start, stop in pairwise(SLICES):
        torch.manual_seed(5)
        with whole.drawing(start, stop, TOTAL):
            assert torch.equal(model(x[start:stop]), expected[start:stop])


LOSS = """
data {{ train = Tensors("given") -> as (x: f32[3], y: f32[4]), batch = 7 }}
model Net(x: f32[N, 3]) {{ Linear(4) -> Dropout(0.4) }}
train {{ epochs = 1, optimizer = SGD(lr=0.1), loss = {} }}
"""


@pytest.mark.parametrize("loss", ["sum(dropout(output - y, 0.4) ** 2)", "sum(abs(output + randn([N, 4]) - y))"])
def test_losses_that_draw_and_batches_in_parts(loss):
    """A sum over samples is the sum of the losses of slices, also where one process takes the batch in parts."""
    checked = check_text(LOSS.format(loss))
    assert not checked.has_errors, checked.problems
    task = Task(checked.program, torch.device("cpu"), 0)
    task.train()
    batch = {"x": torch.rand(TOTAL, 3), "y": torch.rand(TOTAL, 4)}
    whole = WholeDraws(task.model, task.loss_modules)

    def total(parts):
        torch.manual_seed(5)
        losses = []
        for part, start, stop in parts:
            mine = {name: value[part][start:stop] for name, value in batch.items()}
            with whole.drawing(start, stop, len(range(TOTAL)[part])):
                losses.append(task.losses(task.named(mine), stop - start)["loss"])
        return torch.stack(losses), torch.get_rng_state()

    first, second = slice(0, 4), slice(4, 7)
    expected, state = total([(first, 0, 4), (second, 0, 3)])
    slices = [total([(first, *a), (second, *b)]) for a, b in (((0, 1), (0, 1)), ((1, 3), (1, 2)), ((3, 4), (2, 3)))]
    torch.testing.assert_close(sum(found for found, _ in slices), expected, rtol=1e-5, atol=0)
    assert all(torch.equal(after, state) for _, after in slices)


EXAMPLES_OF_MODELS = {
    "vae.exp": [("z    = 20", "z = 4"), ("400", "16")],
    "gpt.exp": [("context = 256", "context = 8"), ("width   = 384", "width = 12"), ("depth   = 6", "depth = 2")],
}


@pytest.mark.parametrize("how", ["plain", "recompute", "bf16"])
@pytest.mark.parametrize("name", EXAMPLES_OF_MODELS)
def test_whole_models(name, how):
    text = (ROOT / "examples" / name).read_text()
    for old, new in EXAMPLES_OF_MODELS[name]:
        assert old in text
        text = text.replace(old, new)
    parts = ["h.0", "h.1.attn"] if name == "gpt.exp" else ["dec"]
    if how == "recompute":
        check(text, atol=1e-12, prepare=lambda model: recompute(model, parts))
    elif how == "bf16":
        with torch.autocast("cpu", torch.bfloat16):
            check(text, atol=0.05, prepare=torch.nn.Module.float)
    else:
        check(text, atol=1e-12)
