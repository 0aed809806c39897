"""`rnn-dropout-one-layer`: dropout between the layers of a network that has one."""

import re
from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class RnnDropoutOneLayer(Problem):
    """The `dropout` of a recurrent layer acts between its layers, and never after the last: with one layer, nowhere.

    torch warns of it when the module is made.

    ```exp wrong
    model Net(x: f32[N, T, 8]) -> f32[N, T, 16] {
      out, _ = LSTM(16, dropout=0.2, batch_first=true)
      out
    }
    ```

    ```exp right
    model Net(x: f32[N, T, 8]) -> f32[N, T, 16] {
      out, _ = LSTM(16, num_layers=2, dropout=0.2, batch_first=true)
      out
    }
    ```
    """

    code: ClassVar[str] = "W0309"
    name: ClassVar[str] = "rnn-dropout-one-layer"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`dropout` acts between the layers of `{layer}`, which has one: it does nothing"

    layer: str


def check(program: Program) -> Iterator[Problem]:
    """A recurrent layer with dropout and one layer."""
    for node in program.wires.nodes:
        if node.name in ("RNN", "LSTM", "GRU") and node.setting("dropout") and node.setting("num_layers") == 1:
            yield RnnDropoutOneLayer(span=node.span, layer=node.name, fixes=_without(node.span))


def _without(span: Span) -> tuple[Fix, ...]:
    found = re.search(r",\s*dropout\s*=\s*[\w.]+(?=\s*[,)])", span.text)
    if found is None:
        return ()
    place = Span(span.source, span.start + found.start(), span.start + found.end())
    return (Fix("drop `dropout`", (Edit(place, ""),)),)
