"""Recurrent layers: RNN, LSTM, GRU."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import InputCountMismatch
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, NATURAL, POSITIVE, PROBABILITY, TENSOR, TENSORS, choice
from expc.compiler.ops.rules import F32, INPUT, expect_dtype, expect_rank, known
from expc.compiler.types import TensorType

Shapes = dict[str, tuple[Size, ...]]


def _out_size(call: Call) -> Size:
    """The size of a hidden state: the projection's, where an LSTM has one."""
    size: Size = call.values.get("proj_size") or call["hidden_size"]
    return size


def _directions(call: Call) -> int:
    return 2 if call["bidirectional"] else 1


def _layer_inputs(call: Call) -> Iterator[tuple[str, Size]]:
    """For each layer and direction the end of its parameters' names, and the size of its input."""
    for layer in range(known(call, "num_layers")):
        size = call["input_size"] if layer == 0 else _out_size(call) * _directions(call)
        for suffix in ("", "_reverse")[: _directions(call)]:
            yield f"_l{layer}{suffix}", size


def _check_states(call: Call, batch: Size, hidden: Size) -> None:
    """States that are given must be `f32[directions * num_layers, N, size]`."""
    given = call["hx"]
    if given is None:
        return
    states = given if isinstance(given, tuple) else (given,)
    expected = [("h", _out_size(call)), ("c", hidden)] if call.operator.name == "LSTM" else [("h", hidden)]
    if len(states) != len(expected):
        call.fail(
            InputCountMismatch,
            operator=call.operator.name,
            expected="hx as the pair (h, c)" if len(expected) == 2 else "hx as one tensor",
            found=f"{len(states)} tensors" if len(states) != 1 else "one tensor",
        )
    for state, (name, size) in zip(states, expected, strict=True):
        expect_rank(call, state, "directions * num_layers, N, hidden_size")
        expect_dtype(call, state, F32)
        wanted = (known(call, "num_layers") * _directions(call), batch, size)
        for number, (a, b) in enumerate(zip(wanted, state.dims, strict=True)):
            call.require_equal(a, b, f"dimension {number} of {name} in hx")


def _shape(call: Call) -> Any:
    x = call.tensor()
    expect_rank(call, x, "N, T, input_size" if call["batch_first"] else "T, N, input_size")
    expect_dtype(call, x, F32)
    call.infer("input_size", x.dims[2])
    hidden: Size = call["hidden_size"]
    if call.values.get("proj_size"):
        call.require_at_most(call["proj_size"], hidden - 1, f"proj_size beside hidden_size={hidden}")
    batch = x.dims[0] if call["batch_first"] else x.dims[1]
    _check_states(call, batch, hidden)
    output = x.with_dims(x.dims[0], x.dims[1], _directions(call) * _out_size(call))
    layers = known(call, "num_layers") * _directions(call)
    state = TensorType("f32", (layers, batch, _out_size(call)))
    return (output, (state, state.with_dims(layers, batch, hidden)) if call.operator.name == "LSTM" else state)


def _weights(gates: int) -> Callable[[Call], Shapes]:
    def weights(call: Call) -> Shapes:
        hidden, out = call["hidden_size"], _out_size(call)
        shapes: Shapes = {}
        for suffix, size in _layer_inputs(call):
            shapes[f"weight_ih{suffix}"] = (gates * hidden, size)
            shapes[f"weight_hh{suffix}"] = (gates * hidden, out)
            if call["bias"]:
                shapes[f"bias_ih{suffix}"] = (gates * hidden,)
                shapes[f"bias_hh{suffix}"] = (gates * hidden,)
            if call.values.get("proj_size"):
                shapes[f"weight_hr{suffix}"] = (out, hidden)
        return shapes

    return weights


def _macs(gates: int) -> Callable[[Call, Any], Size]:
    def macs(call: Call, _: Any) -> Size:
        x, hidden, out = call.tensor(), call["hidden_size"], _out_size(call)
        projection = out * hidden if call.values.get("proj_size") else 0
        each: Size = 0
        for _suffix, size in _layer_inputs(call):
            each = each + gates * hidden * (size + out) + projection
        return x.dims[0] * x.dims[1] * each

    return macs


def _recurrent(
    name: str, doc: str, gates: int, *, after_layers: tuple[Param, ...] = (), last: tuple[Param, ...] = ()
) -> Operator:
    return Operator(
        name,
        "layer",
        doc,
        settings=(
            Param("input_size", POSITIVE, inferred=True),
            Param("hidden_size", POSITIVE),
            Param("num_layers", POSITIVE, 1),
            *after_layers,
            Param("bias", BOOL, True),
            Param("batch_first", BOOL, False),
            Param("dropout", PROBABILITY, 0.0),
            Param("bidirectional", BOOL, False),
            *last,
        ),
        arguments=(INPUT, Param("hx", TENSORS if name == "LSTM" else TENSOR, None, tensor=True)),
        shape=_shape,
        weights=_weights(gates),
        macs=_macs(gates),
        random=True,
        mode=True,
        example=f"x -> {name}(16, batch_first=true)",
        example_inputs={"x": "f32[N, T, 8]"},
    )


OPERATORS: Final = (
    _recurrent(
        "RNN",
        "A recurrent network with one nonlinearity; gives the outputs and the last state.",
        1,
        after_layers=(Param("nonlinearity", choice("tanh", "relu"), "tanh"),),
    ),
    _recurrent(
        "LSTM",
        "Long short-term memory; gives the outputs and the pair of last states.",
        4,
        last=(Param("proj_size", NATURAL, 0),),
    ),
    _recurrent("GRU", "A gated recurrent unit; gives the outputs and the last state.", 3),
)
