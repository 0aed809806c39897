"""What is kept by recurrent layers and cells: their input, their states, and the gates of every step."""

from collections.abc import Iterator, Mapping
from typing import Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.kept import As, Item, Rule, Use, size_of
from expc.compiler.ops.rules import known, product
from expc.compiler.types import TensorType


def _recurrent(use: Use) -> Iterator[Item]:
    """Layers of the other kinds run step by step: one state each, and of a GRU the three gates and what they met."""
    call, x, name = use.call, use.call.tensor(), use.call.operator.name
    first, hidden = call["batch_first"], call["hidden_size"]
    batch, steps = x.dims[:2] if first else (x.dims[1], x.dims[0])
    layers, directions = known(call, "num_layers"), 2 if call["bidirectional"] else 1
    out = call.values.get("proj_size") or hidden
    state = 4 * batch * hidden
    for _ in range(directions if name in ("RNN", "GRU") else 1):
        yield _sequence(x, first=first)
    yield from _states(use, layers * directions * 4 * batch, out, hidden)
    between = 4 * batch * steps * out * directions
    yield (layers - 1) * between * (2 if call["dropout"] else 1)
    if name == "RNN":
        yield layers * directions * steps * state
    elif name == "GRU":
        yield layers * directions * (7 * steps - 1) * state
    else:
        yield from _memories(use, batch, steps, layers, directions)


def _sequence(x: TensorType, *, first: bool) -> Item:
    """Steps first: a copy where samples come first, and another one for each direction that runs step by step."""
    if first and x.dims[0] != 1 and x.dims[1] != 1:
        return size_of(x)
    return As("input", (product(x.dims[:-1]), x.dims[-1]))


def _states(use: Use, each: Size, out: Size, hidden: Size) -> Iterator[Item]:
    """What it starts with: the given states, or zeros."""
    given = use.call["hx"]
    if use.call.operator.name == "LSTM":
        yield from ((each * (out + hidden),) if given is None else ("hx.0", "hx.1"))
    else:
        yield each * hidden if given is None else "hx"


def _memories(use: Use, batch: Size, steps: Size, layers: int, directions: int) -> Iterator[Item]:
    """An LSTM is one kernel for a layer and direction, which has a workspace for all gates and states."""
    call = use.call
    hidden, out = call["hidden_size"], call.values.get("proj_size") or call["hidden_size"]
    state = 4 * batch * hidden
    each = 2 * state + 4 * batch * steps * out
    if layers * directions == 1:
        yield "result.0"
        yield 2 * state
    elif directions == 1 and not call["dropout"]:
        yield "result.0"
        yield layers * 2 * state
    elif directions == 1:
        yield "result.0"
        yield layers * 2 * state + (layers - 1) * 4 * batch * steps * out
    else:
        yield layers * directions * each
    size: Size = call["input_size"]
    for _ in range(layers):
        yield directions * _workspace(batch, steps, size, hidden)
        if not call["bias"]:
            yield directions * 16 * hidden * (size + out)
        size = out * directions


def _workspace(batch: Size, steps: Size, size: Size, hidden: Size) -> Size:
    """OneDNN's own layout: gates, and the states of each step with their gradients, in rows that suit the cache."""
    wide = max(size, hidden) if isinstance(size, int) and isinstance(hidden, int) else hidden
    states = 8 * (steps + 1) * batch
    return (
        _pages(4 * steps * batch * _row(4 * hidden))
        + 3 * _pages(states * _row(wide))
        + 2 * _pages(states * hidden)
        + _pages(4 * steps * batch * _row(hidden))
    )


def _pages(size: Size) -> Size:
    return -(-size // _PAGE) * _PAGE if isinstance(size, int) else size


_PAGE: Final = 4096


def _row(size: Size) -> Size:
    """The length of a row: whole cache lines, and never a multiple of many of them."""
    if not isinstance(size, int):
        return size
    length = -(-size // 16) * 16
    return length + 16 if length % 256 == 0 else length


def _cell(use: Use) -> Iterator[Item]:
    call, x = use.call, use.call.tensor()
    state = 4 * x.dims[0] * call["hidden_size"]
    hx = call["hx"]
    yield "input"
    if call.operator.name == "LSTMCell":
        # The gates, and the new cell state.
        yield 4 * state
        yield from (("hx.0", "hx.1") if hx is not None else (state,))
        yield "result.1"
        return
    yield "hx" if hx is not None else state
    if call.operator.name == "RNNCell":
        yield "result"
    else:
        yield 3 * state + 3 * state


RECURRENT: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    **dict.fromkeys(("RNNCell", "GRUCell", "LSTMCell"), _cell),
}
