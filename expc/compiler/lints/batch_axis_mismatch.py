"""`batch-axis-mismatch`: a recurrent or attention layer that takes the batch for the steps of a sequence."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from expc.compiler.dimensions import Size, symbol
from expc.compiler.graph import Value
from expc.compiler.lints.wires import setting
from expc.compiler.ops.inner import Inner
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchAxisMismatch(Problem):
    """Recurrent and attention layers take `[T, N, C]` unless `batch_first=true` is written: torch's own default.

    Given `[N, T, C]`, the layer goes from sample to sample as if they were the steps of one sequence. The shapes fit,
    and torch says nothing. It is a warning and not an error because attention between the samples of a batch exists.

    ```exp wrong
    model Net(x: f32[N, T, 8]) -> f32[N, T, 16] {
      out, _ = LSTM(16)
      out
    }
    ```

    ```exp right
    model Net(x: f32[N, T, 8]) -> f32[N, T, 16] {
      out, _ = LSTM(16, batch_first=true)
      out
    }
    ```
    """

    code: ClassVar[str] = "W0302"
    name: ClassVar[str] = "batch-axis-mismatch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{layer}` takes {expected} here, but gets {found}, whose {axis} dimension is the batch"

    layer: str
    expected: str
    found: str
    axis: str


def check(program: Program) -> Iterator[Problem]:
    """A layer with `batch_first` whose input has the batch where the layer has the steps."""
    if program.model is None:
        return
    batch = _batch(program)
    for node in program.wires.nodes:
        value = node.input
        first = _batch_first(node.leaf.settings) if node.leaf is not None else None
        if first is None or value is None or not isinstance(value.type, TensorType) or value.type.rank < 3:
            continue
        samples, steps = value.type.dims[:2] if first else value.type.dims[1::-1]
        if steps == batch and samples != batch:
            yield BatchAxisMismatch(
                span=node.span,
                layer=node.name,
                expected="[N, T, C]" if first else "[T, N, C]",
                found=str(value.type),
                axis="second" if first else "first",
                fixes=() if first else setting(node.span, "batch_first", "true"),
            )


def _batch_first(settings: Mapping[str, Any]) -> bool | None:
    """What a layer, or the layer that it stacks, says of the batch; none where it says nothing."""
    inside = next((value for value in settings.values() if isinstance(value, Inner)), None)
    first = (settings if inside is None else inside.values).get("batch_first")
    return first if isinstance(first, bool) else None


def _batch(program: Program) -> Size:
    """The size of a batch: the first dimension of what the data feeds; without data, what is called `N`."""
    inputs = program.model.body.inputs if program.model is not None and program.data else ()
    for value in inputs:
        if isinstance(value, Value) and isinstance(value.type, TensorType) and value.type.dims:
            return value.type.dims[0]
    return symbol("N")
