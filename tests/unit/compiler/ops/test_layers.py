"""The layers' rules against torch itself: verdicts, shapes, dtypes, parameters, costs, names and defaults."""

import inspect
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from layer_cases import CASES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from expc.compiler.dimensions import substitute, symbol
from expc.compiler.errors.shapes import DtypeMismatch, RankMismatch, SettingRefused
from expc.compiler.graph import ordered
from expc.compiler.lower import layers as lower_layers
from expc.compiler.lower.values import home, made
from expc.compiler.ops.declare import REQUIRED, Call, Fault, Operator, Requirement
from expc.compiler.ops.inner import Inner
from expc.compiler.ops.table import operators
from expc.compiler.types import TORCH_NAMES, TensorType
from expc.diagnostics import Source, Span

torch.set_num_threads(1)

LAYERS = {name: operator for name, operator in operators().items() if operator.kind == "layer"}
ROUNDS = 150

INFERRED = {
    "in_channels": 1,
    "num_features": 1,
    "num_channels": 1,
    "in_features": -1,
    "in1_features": -1,
    "in2_features": -1,
    "normalized_shape": -1,
    "embed_dim": -1,
    "input_size": -1,
    "d_model": -1,
    "input_channels": 1,
}
"""Which dimension an inferred setting is, said once more and independently."""

RANK_NOT_CHECKED = ("Dropout", "Zero", "Constant", "AdaptiveAvg", "FrozenBatchNorm")
"""torch takes other ranks here too, and means another thing by them."""

NEVER_REFUSED = ("Identity", "Sigmoid", "Tanh")


class Unmet(Exception):
    """A requirement does not hold."""


def holds(requirement: Requirement) -> bool:
    kind, a, b, _ = requirement
    assert isinstance(a, int)
    assert isinstance(b, int)
    return {"equal": a == b, "at least": a >= b, "at most": a <= b, "divisible": b != 0 and a % b == 0}[kind]


def require(requirement: Requirement) -> None:
    if not holds(requirement):
        raise Unmet(requirement)


def call_of(operator: Operator, settings: dict[str, Any], arguments: dict[str, Any], require: Any = require) -> Call:
    values = {param.name: param.default for param in (*operator.settings, *operator.arguments)}
    return Call(operator, values | settings | arguments, require)


def real(value: Any, device: str) -> Any:
    if isinstance(value, tuple):
        return tuple(real(part, device) for part in value)
    if isinstance(value, TensorType):
        # Ones, zeros for indices and masks: inside every vocabulary.
        fill = torch.ones if value.dtype.startswith(("f", "b")) and value.dtype != "bool" else torch.zeros
        return fill(value.dims, dtype=getattr(torch, TORCH_NAMES[value.dtype]), device=device)
    return value


def forward_arguments(operator: Operator, values: dict[str, Any]) -> list[Any]:
    arguments = [values[param.name] for param in operator.arguments]
    if operator.name == "MultiheadAttention":
        arguments[1] = arguments[1] or arguments[0]
        arguments[2] = arguments[2] or arguments[1]
    return arguments


def completed(operator: Operator, values: dict[str, Any]) -> dict[str, Any]:
    """The values with the inferred settings that a refusing rule left open."""
    values = dict(values)
    first = [values[param.name] for param in operator.arguments]
    for param in operator.settings:
        if param.inferred and values[param.name] is REQUIRED:
            source = first[1] if param.name == "in2_features" else first[0]
            axis = INFERRED[param.name]
            values[param.name] = source.dims[axis] if -source.rank <= axis < source.rank else 1
        elif param.name in ("kdim", "vdim") and values[param.name] is None:
            key = values["key"] or values["query"]
            source = key if param.name == "kdim" else values["value"] or key
            values[param.name] = source.dims[-1]
        elif isinstance(values[param.name], Inner):
            values[param.name] = completed_inner(values[param.name], first[0])
    if values.get("d_model", 0) is None:
        values["d_model"] = first[0].dims[-1]
    return values


def completed_inner(value: Inner, source: TensorType) -> Inner:
    """As `completed`, of a layer that is given as a setting."""
    open_ = [param.name for param in value.operator.settings if param.inferred and value.values[param.name] is REQUIRED]
    settings = {
        name: completed_inner(part, source) if isinstance(part, Inner) else part for name, part in value.settings
    }
    return Inner(value.name, (*settings.items(), *((name, source.dims[INFERRED[name]]) for name in open_)))


def in_torch(operator: Operator, values: dict[str, Any], device: str = "cpu") -> tuple[nn.Module | None, Any]:
    """torch's module and its result; or none and the error."""
    values = completed(operator, values)
    with warnings.catch_warnings(), torch.device(device), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            module = made(operator, {param.name: values[param.name] for param in operator.settings})
            result = module(*(real(value, device) for value in forward_arguments(operator, values)))
        except Exception as error:  # noqa: BLE001 - whatever torch raises is its verdict
            if "not implemented for 'Half'" in str(error) or "not implemented for 'BFloat16'" in str(error):
                # A gap of the CPU's, not a rule of torch's; but "meta" alone would let too much pass.
                module, result = in_torch(operator, {key: in_f32(value) for key, value in values.items()})
                return (module, result) if module is None else in_torch(operator, values, "meta")
            return None, error
    return module, result


def in_f32(value: Any) -> Any:
    return TensorType("f32", value.dims) if isinstance(value, TensorType) else value


def types(value: Any) -> Any:
    """Shapes and dtypes, of torch's tensors as of ours."""
    if isinstance(value, tuple | list):
        return tuple(map(types, value))
    if isinstance(value, TensorType):
        return (TORCH_NAMES[value.dtype], value.dims)
    return None if value is None else (str(value.dtype).removeprefix("torch."), tuple(value.shape))


def verdict(operator: Operator, call: Call) -> tuple[Any, Exception | None]:
    """The rule's result, or why it refuses."""
    try:
        return operator.shape(call), None
    except (Fault, Unmet) as refusal:
        return None, refusal


def is_stricter_on_purpose(operator: Operator, call: Call, refusal: Exception) -> bool:
    """The language refuses what torch takes: unbatched input, other dtypes than the weights', an unsaid dimension, and
    results with nothing in them."""
    if not isinstance(refusal, Fault):
        kind, _, bound, what = refusal.args[0]
        # torch does not look at a mask that the hint makes superfluous.
        hinted = any(value is True for name, value in call.values.items() if name.endswith("is_causal"))
        return (kind, bound) == ("at least", 1) or (hinted and "mask" in what)
    if refusal.problem is RankMismatch:
        return operator.name.startswith(RANK_NOT_CHECKED) or any(takes_larger(operator, call, by) for by in (1, 2))
    if refusal.problem is DtypeMismatch:
        return operator.weights is not None or operator.buffers is not None
    return refusal.problem is SettingRefused and call.values.get("dim", 0) is None


def takes_larger(operator: Operator, call: Call, dimensions: int) -> bool:
    """Whether the rule would take tensors of more dimensions: those that came are unbatched."""
    values = {
        key: TensorType(value.dtype, (2,) * dimensions + value.dims) if isinstance(value, TensorType) else value
        for key, value in call.values.items()
    }
    _, refusal = verdict(operator, Call(operator, values, lambda _: None))
    return not isinstance(refusal, Fault) or refusal.problem is not RankMismatch


@pytest.mark.parametrize("name", LAYERS)
def test_rule_agrees_with_torch(name: str) -> None:
    operator, rng, refused = LAYERS[name], Random(name), 0
    for _ in range(ROUNDS):
        settings, arguments = CASES[name](rng)
        call = call_of(operator, settings, arguments)
        where = f"{name} {settings} {arguments}"
        assert all(param.kind.accepts(settings[param.name]) for param in operator.settings if param.name in settings), (
            where
        )
        result, refusal = verdict(operator, call)
        module, expected = in_torch(operator, call.values)
        if refusal is not None:
            refused += 1
            assert module is None or is_stricter_on_purpose(operator, call, refusal), f"{where}: only expc: {refusal!r}"
            assert isinstance(refusal, Unmet) or message(refusal)
        else:
            assert module is not None, f"{where}: only torch: {expected}"
            assert types(result) == types(expected), where
            check_parameters(operator, call, module)
            check_symbolic(operator, settings, arguments, call, result)
    assert refused < ROUNDS
    assert refused or name in NEVER_REFUSED


def message(fault: Fault) -> str:
    return fault.problem(span=Span(Source("test.exp", ""), 0, 0), **fault.facts).message


def check_parameters(operator: Operator, call: Call, module: nn.Module) -> None:
    """Names, shapes and order of parameters and buffers are those of torch's module."""
    weights = {} if operator.weights is None else operator.weights(call)
    buffers = {} if operator.buffers is None else operator.buffers(call)
    assert list(weights.items()) == [(key, tuple(p.shape)) for key, p in module.named_parameters()], call.values
    assert list(buffers.items()) == [(key, tuple(b.shape)) for key, b in module.named_buffers()], call.values
    assert list(module.state_dict()) == [*ordered(weights, buffers)], call.values


def check_symbolic(
    operator: Operator, settings: dict[str, Any], arguments: dict[str, Any], known: Call, result: Any
) -> None:
    """With unknown sizes the rule gives the same, once they are known, and asks for nothing that does not hold."""
    numbers = {f"S{size}": size for size in range(2, 200)}
    asked: list[Requirement] = []
    unknown = {
        key: with_dims(value, lambda size: symbol(f"S{size}") if size > 1 else size) for key, value in arguments.items()
    }
    call = call_of(operator, settings, unknown, asked.append)
    symbolic, refusal = verdict(operator, call)
    if isinstance(refusal, Fault) and "cannot be told" in refusal.facts["reason"]:
        return
    assert types(with_dims(symbolic, lambda size: substitute(size, numbers))) == types(result), (call.values, symbolic)
    for kind, a, b, what in asked:
        assert holds((kind, substitute(a, numbers), substitute(b, numbers), what)), (call.values, kind, a, b)
    if operator.weights is not None:
        shapes = {key: tuple(substitute(s, numbers) for s in shape) for key, shape in operator.weights(call).items()}
        assert shapes == operator.weights(known)


def with_dims(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple):
        return tuple(with_dims(part, change) for part in value)
    return value.with_dims(*map(change, value.dims)) if isinstance(value, TensorType) else value


def parameters_of(function: Any) -> list[tuple[str, Any]]:
    skipped = {"self", "device", "dtype", "args", "kwargs", "_weight", "_freeze", "_random_samples", "mode"}
    if function is nn.EmbeddingBag.__init__:
        skipped.remove("mode")
    if function in (nn.GELU.__init__, nn.Upsample.__init__) or "StochasticDepth" in function.__qualname__:
        skipped.discard("mode")
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, default_of(p.default)) for p in parameters if p.name not in skipped]


def default_of(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return REQUIRED
    return Inner(default.__name__) if inspect.isclass(default) else default


@pytest.mark.parametrize("name", LAYERS)
def test_names_order_and_defaults_are_torchs(name: str) -> None:
    operator = LAYERS[name]
    module = getattr(home(operator), name)
    expected = parameters_of(nn.RNNBase.__init__ if name in ("RNN", "LSTM", "GRU") else module.__init__)
    if name in ("RNN", "GRU"):
        expected.remove(("proj_size", 0))
    if name == "RNN":
        expected.insert(3, ("nonlinearity", "tanh"))
    if name.startswith("Transformer"):
        expected = [(key, "relu" if key == "activation" else default) for key, default in expected]
    if name == "Transformer":  # what torch has a default for, and the language infers
        expected[0] = ("d_model", None)
    assert [(param.name, param.default) for param in operator.settings] == expected
    forward = parameters_of(module.forward)
    if name == "MultiheadAttention":
        forward[1:3] = [("key", None), ("value", None)]
    assert [(param.name, param.default) for param in operator.arguments] == forward
    for param in operator.settings:
        assert param.default is REQUIRED or param.kind.accepts(param.default), param.name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Conv2d", ["out_channels", "kernel_size"]),
        ("Linear", ["out_features"]),
        ("BatchNorm2d", []),
        ("LayerNorm", []),
        ("GroupNorm", ["num_groups"]),
        ("Dropout", ["p"]),
        ("MaxPool2d", ["kernel_size"]),
        ("LSTM", ["hidden_size"]),
        ("MultiheadAttention", ["num_heads"]),
        ("Flatten", ["start_dim"]),
        ("Sigmoid", []),
    ],
)
def test_what_may_be_written_without_a_name(name: str, written: list[str]) -> None:
    assert [param.name for param in LAYERS[name].positional] == written


UNCOUNTED = ("Bilinear", "AdaptiveLogSoftmaxWithLoss")
"""torch counts nothing of the first, and cannot run the second without the numbers of its targets."""


@pytest.mark.parametrize("name", [name for name, op in LAYERS.items() if op.macs and name not in UNCOUNTED])
def test_macs_are_half_the_flops_that_torch_counts(name: str) -> None:
    operator, rng, compared = LAYERS[name], Random(name), 0
    while compared < 10:
        settings, arguments = CASES[name](rng)
        call = call_of(operator, settings, arguments)
        result, refusal = verdict(operator, call)
        if refusal is not None:
            continue
        assert operator.macs is not None
        with FlopCounterMode(display=False) as counter:
            in_torch(operator, {key: said(key, value) for key, value in call.values.items()}, "meta")
        assert 2 * operator.macs(call, result) == counter.get_total_flops(), (settings, arguments)
        compared += 1


def said(name: str, value: Any) -> Any:
    """A transformer looks at the numbers of a mask, unless it is told whether the mask is causal."""
    return False if name.endswith("is_causal") and value is None else value


def rule(name: str, tensor: TensorType, **settings: Any) -> Call:
    call = call_of(LAYERS[name], settings, {LAYERS[name].arguments[0].name: tensor})
    LAYERS[name].shape(call)
    return call


def test_the_arithmetic_of_a_size_is_explained() -> None:
    x = TensorType("f32", (symbol("N"), 3, 28, 28))
    call = call_of(
        LAYERS["Conv2d"], {"out_channels": 8, "kernel_size": 3, "stride": 2, "padding": 1}, {"input": x}, lambda _: None
    )
    LAYERS["Conv2d"].shape(call)
    assert call.arithmetic == ["height: (28 + 2*1 - 3) // 2 + 1 = 14", "width: (28 + 2*1 - 3) // 2 + 1 = 14"]
    assert rule("Flatten", TensorType("f32", (2, 32, 6, 6))).arithmetic == ["flattened: 32 * 6 * 6 = 1152"]


def test_what_is_inferred_may_be_written_and_is_checked() -> None:
    x = TensorType("f32", (2, 8))
    assert rule("Linear", x, out_features=3, in_features=8)["in_features"] == 8
    with pytest.raises(Unmet, match="in_features"):
        rule("Linear", x, out_features=3, in_features=16)


def test_messages_say_what_to_do() -> None:
    def refusal(name: str, tensor: TensorType, **settings: Any) -> str:
        with pytest.raises(Fault) as caught:
            rule(name, tensor, **settings)
        return message(caught.value)

    tokens = TensorType("i64", (2, 8))
    assert "write `-> f32` before it" in refusal("Linear", tokens, out_features=3)
    assert "4 dimensions [N, C, H, W]" in refusal("Conv2d", TensorType("f32", (3, 8, 8)), out_channels=3, kernel_size=3)
    assert "Softmax(dim=-1)" in refusal("Softmax", TensorType("f32", (2, 8)))
    assert "-2 to 1" in refusal("Softmax", TensorType("f32", (2, 8)), dim=2)


def test_tokens_must_fit_the_vocabulary() -> None:
    tokens = TensorType("i64", (2, 8), classes=65)
    assert rule("Embedding", tokens, num_embeddings=65, embedding_dim=4)["num_embeddings"] == 65
    with pytest.raises(Unmet, match="num_embeddings"):
        rule("Embedding", tokens, num_embeddings=64, embedding_dim=4)


def test_swish_computes_what_it_says() -> None:
    x = torch.linspace(-3, 3, 7)
    learnt = LAYERS["Swish"].make(lower_layers, {"beta": 1.5, "learnable": True})
    torch.testing.assert_close(learnt(x), x * torch.sigmoid(1.5 * x))
    learnt(x).sum().backward()
    assert learnt.beta.grad is not None
    torch.testing.assert_close(lower_layers.Swish()(x), nn.functional.silu(x))
