"""Recurrent cells: one step of RNN, LSTM and GRU."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import InputCountMismatch
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, TENSOR, TENSORS, choice
from expc.compiler.ops.rules import F32, INPUT, expect_dtype, expect_rank
from expc.compiler.types import TensorType

Shapes = dict[str, tuple[Size, ...]]


def _shape(call: Call) -> Any:
    x, hidden, given = call.tensor(), call["hidden_size"], call["hx"]
    pair = call.operator.name == "LSTMCell"
    expect_rank(call, x, "N, input_size")
    expect_dtype(call, x, F32)
    call.infer("input_size", x.dims[1])
    state = TensorType("f32", (x.dims[0], hidden))
    states = () if given is None else given if isinstance(given, tuple) else (given,)
    if pair and states and len(states) != 2:
        found = "one tensor" if len(states) == 1 else f"{len(states)} tensors"
        call.fail(InputCountMismatch, operator=call.operator.name, expected="hx as the pair (h, c)", found=found)
    for name, type_ in zip(("h", "c"), states, strict=False):
        expect_rank(call, type_, "N, hidden_size")
        expect_dtype(call, type_, F32)
        for number, (a, b) in enumerate(zip(state.dims, type_.dims, strict=True)):
            call.require_equal(a, b, f"dimension {number} of {name} in hx")
    return (state, state) if pair else state


def _weights(gates: int) -> Callable[[Call], Shapes]:
    def weights(call: Call) -> Shapes:
        rows = gates * call["hidden_size"]
        shapes: Shapes = {"weight_ih": (rows, call["input_size"]), "weight_hh": (rows, call["hidden_size"])}
        return shapes | ({"bias_ih": (rows,), "bias_hh": (rows,)} if call["bias"] else {})

    return weights


def _macs(gates: int) -> Callable[[Call, Any], Size]:
    def macs(call: Call, _: Any) -> Size:
        batch, size = call.tensor().dims
        hidden: Size = call["hidden_size"]
        return batch * gates * hidden * (size + hidden)

    return macs


def _cell(name: str, doc: str, gates: int, *last: Param) -> Operator:
    return Operator(
        name,
        "layer",
        doc,
        settings=(
            Param("input_size", POSITIVE, inferred=True),
            Param("hidden_size", POSITIVE),
            Param("bias", BOOL, True),
            *last,
        ),
        arguments=(INPUT, Param("hx", TENSORS if name == "LSTMCell" else TENSOR, None, tensor=True)),
        shape=_shape,
        weights=_weights(gates),
        macs=_macs(gates),
        example=f"x -> {name}(16)",
        example_inputs={"x": "f32[N, 8]"},
    )


OPERATORS: Final = (
    _cell(
        "RNNCell",
        "One step of a recurrent network with one nonlinearity; gives the new state.",
        1,
        Param("nonlinearity", choice("tanh", "relu"), "tanh"),
    ),
    _cell("LSTMCell", "One step of long short-term memory; gives the pair of new states (h, c).", 4),
    _cell("GRUCell", "One step of a gated recurrent unit; gives the new state.", 3),
)
