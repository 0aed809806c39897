"""Lowering against modules of torch written by hand, which hold the same weights."""

import copy
import gc
import pickle
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from expc.compiler.dimensions import Symbol, maximum, symbol
from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import (
    Apply,
    Cast,
    Container,
    Declared,
    InitRule,
    Invoke,
    Leaf,
    Model,
    Read,
    Record,
    SliceOf,
    Subscript,
    Value,
    weights,
)
from expc.compiler.lower import lower, lower_container
from expc.compiler.lower.record import CannotRecord, Recorded, record
from expc.compiler.lower.values import Slot
from expc.compiler.ops.table import operators
from expc.compiler.types import TensorType
from expc.diagnostics import Source, Span
from expc.spec.values import Dtype, Given, Recipe

TEXT = "model Net(x: f32[N, 8]) {\n  first: Linear(4)\n}\n"
SOURCE = Source("net.exp", TEXT)
HERE = Span(SOURCE, 28, 44)
F32 = TensorType("f32", ())


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def value(name: str | None = None, rank: int = 0) -> Value:
    return Value(TensorType("f32", (1,) * rank), HERE, name)


@dataclass
class Body:
    """Makes a container step by step, as the checker does."""

    inputs: list[Any]
    title: str = "Net"
    sizes: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    params: dict[str, Declared] = field(default_factory=dict)
    buffers: dict[str, Declared] = field(default_factory=dict)
    inits: tuple[InitRule, ...] = ()
    steps: list[Any] = field(default_factory=list)
    children: dict[str, Any] = field(default_factory=dict)

    def layer(self, label: str, name: str, *tensors: Any, result: Any = None, tied: Any = None, **settings: Any) -> Any:
        operator = operators()[name]
        if label not in self.children:
            weights = {}
            if name == "Linear":
                weights = {"weight": (settings["out_features"], settings["in_features"])}
                weights |= {"bias": weights["weight"][:1]} if settings.get("bias", True) else {}
            elif name == "Embedding":
                weights = {"weight": (settings["num_embeddings"], settings["embedding_dim"])}
            settings = {param.name: param.default for param in operator.settings} | settings
            self.children[label] = Leaf(operator, settings, weights, {}, HERE, tied or {})
        arguments = {param.name: tensor for param, tensor in zip(operator.arguments, tensors, strict=False)}
        return self._add(Apply, operator, label, arguments, result=result)

    def call(self, name: str, result: Any = None, **arguments: Any) -> Any:
        return self._add(Apply, operators()[name], None, arguments, result=result)

    def invoke(self, label: str, child: Container, *arguments: Any, result: Any = None) -> Any:
        self.children[label] = child
        return self._add(Invoke, label, arguments, result=result)

    def read(self, *path: str) -> Any:
        return self._add(Read, path)

    def index(self, tensor: Value, *items: Any) -> Any:
        return self._add(Subscript, tensor, items)

    def cast(self, tensor: Value, dtype: str) -> Any:
        return self._add(Cast, tensor, dtype)

    def _add(self, step: Any, *facts: Any, result: Any = None) -> Any:
        result = value() if result is None else result
        self.steps.append(step(*facts, result, HERE))
        return result

    def end(self, result: Any) -> Container:
        names = tuple(getattr(given, "name", None) or f"x{number}" for number, given in enumerate(self.inputs))
        return Container(
            self.title,
            tuple(self.inputs),
            names,
            self.sizes,
            tuple(self.steps),
            result,
            self.children,
            self.params,
            self.buffers,
            self.inits,
            HERE,
        )


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, Mapping):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))


# ------------------------------------------------------------------------------------------- a network with a residual


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.add_module("2", nn.Conv2d(4, 4, 3, padding=(1, 1)))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = self.get_submodule("2")(x) + x
        x = F.dropout(x, 0.5, self.training).mean((2, 3))
        return self.fc(x)


def residual() -> Container:
    x = value("x")
    body = Body([x])
    conv = body.layer("conv", "Conv2d", x, in_channels=3, out_channels=4, kernel_size=3, padding=1, bias=False)
    skip = body.call("relu", input=body.layer("norm", "BatchNorm2d", conv, num_features=4))
    two = body.layer("2", "Conv2d", skip, in_channels=4, out_channels=4, kernel_size=3, padding=(1, 1))
    body.layer("2", "Conv2d", skip, result=None)  # used again, and its result is not
    both = body.call("add", input=two, other=skip)
    pooled = body.call("mean", input=body.call("dropout", input=both, p=0.5), dim=(2, 3))
    return body.end(body.layer("fc", "Linear", pooled, in_features=4, out_features=5))


def test_outputs_gradients_and_statistics_are_those_of_a_module_written_by_hand():
    torch.manual_seed(0)
    theirs = ByHand()
    ours = lower_container(residual())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 8, 8)
    for module in (ours, theirs):
        torch.manual_seed(1)
        module(x).sum().backward()
    torch.manual_seed(2)
    ours_out = ours(x)
    torch.manual_seed(2)
    assert same(ours_out, theirs(x))
    assert all(same(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert same(ours.state_dict(), theirs.state_dict())
    assert same(ours.eval()(x), theirs.eval()(x))
    assert not same(ours.train()(x), ours.eval()(x))


def test_copies_compiles_and_exports():
    module = lower_container(residual(), seed=3).eval()
    x = torch.randn(2, 3, 8, 8)
    twin = copy.deepcopy(module)
    assert same(twin(x), module(x))
    assert twin.conv.weight is not module.conv.weight
    assert same(pickle.loads(pickle.dumps(module))(x), module(x))

    for training in (True, False):
        module.train(training)
        twin = copy.deepcopy(module)
        torch._dynamo.reset()
        compiled = torch.compile(twin, backend="eager", fullgraph=True)
        torch.manual_seed(4)
        out = compiled(x)
        torch.manual_seed(4)
        assert same(out, module(x))
    assert torch._dynamo.explain(copy.deepcopy(module))(x).graph_break_count == 0

    batch = torch.export.Dim("batch")
    exported = torch.export.export(module, (x,), dynamic_shapes={"inputs": ({0: batch},)})
    assert same(exported.module()(x[:1].repeat(5, 1, 1, 1)), module(x[:1].repeat(5, 1, 1, 1)))
    with warnings.catch_warnings():  # what TensorBoard draws a graph from is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        assert same(torch.jit.trace(module, (x,))(x), module(x))


# ------------------------------------------------------------------------------------- sizes, tuples, records, steps


def positions() -> Container:
    """Learnt positions for as many tokens as there are: the child needs T, which none of its tensors shows."""
    steps = Body([Symbol("T")], "Positions", sizes={"T": (0, None)})
    number = symbol("T")
    steps.call("arange", start=number)
    table = steps.layer("wpe", "Embedding", steps.steps[-1].result, num_embeddings=16, embedding_dim=4)
    child = steps.end(table)

    tokens = value("tokens")
    body = Body([tokens], sizes={"T": (0, 1), "N": (0, 0)})
    words = body.layer("wte", "Embedding", tokens, num_embeddings=7, embedding_dim=4)
    both = body.call("add", input=words, other=body.invoke("positions", child, number))
    mask = body.call("ones", size=(number, number), dtype=Dtype("bool"))
    folded = body.call("reshape", input=both, shape=(symbol("N") * 2, maximum(number // 2, 1), -1))
    last = body.index(both, SliceOf(None, None, None), number - 1, None, SliceOf(0, 2, None))
    logits = body.layer(
        "head", "Linear", both, in_features=4, out_features=7, bias=False, tied={"weight": ("wte", "weight")}
    )
    return body.end((logits, None, (mask, body.cast(folded, "f64"), last)))


def test_sizes_are_read_where_they_are_needed():
    module = lower_container(positions())
    tokens = torch.randint(0, 7, (2, 6))
    logits, nothing, (mask, folded, last) = module(tokens)
    both = module.wte(tokens) + module.positions.wpe(torch.arange(6))
    assert same(logits, both @ module.wte.weight.T)
    assert nothing is None
    assert same(mask, torch.ones(6, 6, dtype=torch.bool))
    assert same(folded, both.reshape(4, 3, -1).double())
    assert same(last, both[:, 5, None, 0:2])
    nowhere = lower_container(positions(), device="meta")(tokens.to("meta"))
    assert nowhere[0].is_meta
    assert nowhere[2][0].is_meta
    torch._dynamo.reset()
    compiled = torch.compile(lower_container(positions(), seed=0), backend="eager", fullgraph=True, dynamic=True)
    for length in (4, 10):
        tokens = torch.randint(0, 7, (3, length))
        assert same(compiled(tokens)[0], lower_container(positions(), seed=0)(tokens)[0])
    shapes = {"inputs": ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)}
    exported = torch.export.export(module, (torch.randint(0, 7, (2, 6)),), dynamic_shapes=shapes).module()
    assert same(exported(tokens)[2][1], module(tokens)[2][1])


def test_a_tied_parameter_is_one_parameter_in_the_order_of_the_text():
    module = lower_container(positions())
    assert module.head.weight is module.wte.weight
    assert list(module.state_dict()) == [weight.key for weight in weights(positions())]
    assert sum(1 for _ in module.parameters()) == 2


def test_several_results_are_taken_apart_and_given_by_name():
    x, start = value("x"), value("start")
    out, hidden, cell = value("out"), value("h"), value("c")
    body = Body([x, start])
    body.layer(
        "rnn", "LSTM", x, (start, start), result=(out, (hidden, cell)), input_size=3, hidden_size=4, batch_first=True
    )
    inner = Body([x], "Pair")
    left, right = inner.call("chunk", input=x, chunks=2, result=(value(), value()))
    pair = body.invoke("pair", inner.end((right, left)), out, result=(value(), value()))
    container = body.end(Record({"out": out, "cell": cell, "swapped": body.call("cat", tensors=pair, dim=0)}))
    module = lower_container(container)
    rnn = nn.LSTM(3, 4, batch_first=True)
    rnn.load_state_dict(module.rnn.state_dict())
    x, start = torch.randn(2, 5, 3), torch.randn(1, 2, 4)
    out, (_, cell) = rnn(x, (start, start))
    expected = {"out": out, "cell": cell, "swapped": out.flip(0)}
    assert same(module(x, start), expected)
    assert same(module(x, start=start), expected)
    with pytest.raises(TypeError, match=r"Net takes 2 inputs.*missing: start"):
        module(x)
    with pytest.raises(TypeError, match="`begin` is not one"):
        module(x, begin=start)


def test_what_exists_in_training_only_is_not_computed_in_evaluation():
    x = value("x")
    inner = Body([x], "Inner")
    main = inner.layer("main", "Linear", x, in_features=2, out_features=2)
    aux = inner.layer("aux", "Linear", main, in_features=2, out_features=1)
    child = inner.end(Record({"main": main, "aux": aux}, frozenset({"aux"})))
    body = Body([x])
    main, aux = value(), value()
    body.invoke("inner", child, x, result=Record({"main": main, "aux": aux}))
    scaled = body.call("mul", input=aux, other=2)
    module = lower_container(body.end(Record({"main": main, "aux": scaled}, frozenset({"aux"}))))
    x = torch.randn(3, 2)
    main = module.inner.main(x)
    assert same(module(x), {"main": main, "aux": module.inner.aux(main) * 2})
    module.inner.aux.register_forward_hook(lambda *_: pytest.fail("runs in evaluation"))
    assert same(module.eval()(x), {"main": main})


def test_self_attention_and_functions_that_follow_the_mode():
    x = value("x")
    body = Body([x])
    mixed, scores = value(), value()
    body.layer(
        "attn", "MultiheadAttention", x, result=(mixed, scores), embed_dim=4, num_heads=2, batch_first=True, dropout=0.5
    )
    attended = body.call("scaled_dot_product_attention", query=mixed, key=mixed, value=mixed, dropout_p=0.5)
    module = lower_container(body.end((attended, scores))).eval()
    x = torch.randn(2, 3, 4)
    mixed, scores = module.attn(x, x, x)
    assert same(module(x), (F.scaled_dot_product_attention(mixed, mixed, mixed), scores))
    module.attn.eval()
    module.training = True
    assert not same(module(x)[0], module(x)[0])


def test_no_tensor_outlives_its_last_use():
    alive: list[weakref.ref[torch.Tensor]] = []

    def count(_module, _inputs, output):
        gc.collect()
        counts.append(sum(ref() is not None for ref in alive))
        alive.append(weakref.ref(output))

    counts: list[int] = []
    x = value("x")
    body = Body([x])
    first = skip = body.layer("first", "Linear", x, in_features=2, out_features=2)
    for number in range(4):
        first = body.layer(f"h{number}", "Linear", first, in_features=2, out_features=2)
    both = body.call("add", input=first, other=skip)
    body.layer("end", "Linear", both, in_features=2, out_features=2)
    after = body.layer("after", "Linear", body.steps[-1].result, in_features=2, out_features=2)
    module = lower_container(body.end(after))
    for child in module.children():
        child.register_forward_hook(count)
    with torch.no_grad():
        module(torch.ones(1, 2))
    # While h1 runs: first, and h0, its input. After the sum only what arrives.
    assert counts == [0, 1, 2, 2, 2, 0, 1]


# --------------------------------------------------------------------------------------------------- how things start


def recipe(name: str, *positional: Any, **named: Any) -> Recipe:
    return Recipe(
        name, tuple(Given(key, item, HERE) for key, item in [*((None, p) for p in positional), *named.items()])
    )


def ruled(inner: tuple[InitRule, ...], outer: tuple[InitRule, ...]) -> Container:
    x = value("x")
    child = Body([x], "Unit", inits=inner, params={"scale": Declared(TensorType("f32", (2,)), 3.0, HERE)})
    hidden = child.layer("fc", "Linear", x, in_features=2, out_features=2)
    unit = child.end(child.call("mul", input=hidden, other=child.read("scale")))
    body = Body([x], inits=outer)
    out = body.invoke("a", unit, x)
    return body.end(body.layer("fc", "Linear", out, in_features=2, out_features=2))


def test_the_last_rule_that_matches_counts_and_outer_ones_come_last():
    def rule(selector: str, initialiser: Recipe) -> InitRule:
        return InitRule(selector, "*" in selector or "?" in selector, initialiser, HERE)

    inner = (rule("*", recipe("constant", 1.0)), rule("fc.weight", recipe("zeros")), rule("*.bias", recipe("zeros")))
    outer = (
        rule("Linear.bias", recipe("constant", val=5.0)),
        rule("*", recipe("constant", 4.0)),
        rule("Unit.scale", recipe("normal", std=0.0, mean=7.0)),
        rule("a.*.weight", recipe("ones")),
    )
    starts = lambda module: {key: tensor.mean().item() for key, tensor in module.state_dict().items()}  # noqa: E731
    default = {"a.scale": 3.0}
    assert starts(lower_container(ruled((), ()))).items() >= default.items()
    assert starts(lower_container(ruled(inner, ()))).items() >= {"a.scale": 1, "a.fc.bias": 0}.items()
    found = starts(lower_container(ruled(inner, outer)))
    assert found == {"a.scale": 7, "a.fc.weight": 1, "a.fc.bias": 4, "fc.weight": 4, "fc.bias": 4}
    found = starts(lower_container(ruled(inner, outer), inits=[rule("Unit", recipe("zeros"))]))
    assert found == {"a.scale": 0, "a.fc.weight": 0, "a.fc.bias": 0, "fc.weight": 4, "fc.bias": 4}
    with pytest.raises(ExecutionError, match=r"net.exp:2:3.*Fan in and fan out"):
        lower_container(ruled((), (rule("fc.b*", recipe("xavier_uniform")),)))


def test_a_seed_fixes_the_parameters_and_leaves_the_generator_alone():
    model = Model("Net", residual(), {})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = lower(model, seed=1), lower(model, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first.state_dict(), second.state_dict())
    assert not same(first.conv.weight, lower(model, seed=2).conv.weight)
    torch.manual_seed(1)
    assert same(first.conv.weight, nn.Conv2d(3, 4, 3, bias=False).weight)
    assert lower(model, device="meta").conv.weight.is_meta


def test_declared_parameters_and_buffers_come_first_and_are_read():
    x = value("x")
    body = Body([x])
    body.params = {"half": Declared(TensorType("f32", (2, 2)), (recipe("ones"), (2, -1.5)), HERE)}
    body.buffers = {"ticks": Declared(TensorType("i64", (3,)), [1, 2, 3], HERE)}
    hidden = body.layer("type", "Linear", x, in_features=2, out_features=2)
    module = lower_container(body.end((body.call("matmul", input=hidden, other=body.read("half")), body.read("ticks"))))
    assert list(module.state_dict()) == ["half", "ticks", "type.weight", "type.bias"]
    half = torch.tensor([[1.0, 1.0], [2.0, -1.5]])
    x = torch.randn(1, 2)
    assert same(module(x), (module._modules["type"](x) @ half, torch.tensor([1, 2, 3])))


# ----------------------------------------------------------------------------------------------------------- failures


def test_a_step_that_fails_names_its_line_its_module_and_what_arrived():
    inner, outer = value("x"), value("x")
    child = Body([inner], "Unit")
    unit = child.end(child.layer("wte", "Embedding", inner, num_embeddings=3, embedding_dim=2))
    body = Body([outer])
    module = lower_container(body.end(body.invoke("layer1", unit, outer)))
    with pytest.raises(ExecutionError) as caught:
        module(torch.tensor([[0, 9]]))
    text = str(caught.value)
    assert text.startswith("net.exp:2:3: `first: Linear(4)` failed: index out of range in self (in layer1.wte)")
    assert "`input` arrived as i64[1, 2] from 0 to 9, checked as f32[]" in text
    assert isinstance(caught.value.__cause__, IndexError)
    assert caught.value.problem.code == "E0701"
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    with pytest.raises(ExecutionError, match="`input` arrived as f32"):
        torch.export.export(module, (torch.ones(1, 2),), strict=False)


def test_a_module_that_torch_refuses_names_its_line():
    x = value("x")
    body = Body([x])
    body.layer("conv", "Conv2d", x, in_channels=3, out_channels=4, kernel_size=3, groups=2)
    with pytest.raises(ExecutionError, match=r"net.exp:2:3: .*in_channels must be divisible by groups \(in conv\)"):
        lower_container(body.end(x))


# ---------------------------------------------------------------------------------------------- functions, recorded


def test_functions_of_several_calls_are_recorded_and_give_the_same():
    left, right = value("x", rank=3), value("y", rank=3)
    body = Body([left, right])
    heads = body.call("rearrange", input=left, pattern="n t (three h d) -> three n h t d", axes={"three": 3, "h": 2})
    results = (
        heads,
        body.call("einsum", equation="b i d, b j d -> b i j", operands=(left, right)),
        body.call("sub", input=2, other=left),
        body.call("lt", input=left, other=right),
        body.call("scaled_dot_product_attention", query=left, key=right, value=right, is_causal=True),
        body.call("mean", input=left, dim=(0, 1), keepdim=True),
    )
    module = lower_container(body.end(results))
    a, b = torch.randn(2, 4, 12), torch.randn(2, 4, 12)
    expected = (
        a.reshape(2, 4, 3, 2, 2).permute(2, 0, 3, 1, 4),
        torch.einsum("bid,bjd->bij", a, b),
        2 - a,
        a < b,
        F.scaled_dot_product_attention(a, b, b, is_causal=True),
        a.mean((0, 1), keepdim=True),
    )
    assert same(module(a, b), expected)
    torch._dynamo.reset()
    assert same(torch.compile(module, backend="eager", fullgraph=True)(a, b), expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda torch, values: values["x"] if values["x"].sum() > 0 else -values["x"],
        lambda torch, values: values["x"] * len(values["x"]),
        lambda torch, values: values["x"] if isinstance(values["x"], torch.Tensor) else None,
        lambda torch, values: (noise := torch.rand_like(values["x"])) - noise,
    ],
    ids=["asks", "measures", "tells apart", "uses twice"],
)
def test_what_cannot_be_recorded_is_not(build):
    with pytest.raises(CannotRecord):
        record(build, {"x": Recorded(Slot(0), 2)})
