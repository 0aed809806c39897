"""A network as a table for people: layers, types, parameters, MACs, what is kept for backward, and the line of each.

Multiply-accumulates are those of one sample; what is kept is that of a batch as the file says it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from expc.compiler.cost.count import Row, rows
from expc.compiler.cost.training_memory import Memory, known_sizes, training_memory
from expc.compiler.dimensions import Size, as_symbol, symbols
from expc.compiler.graph import Model, Value, has_python
from expc.compiler.program import Program
from expc.compiler.types import is_known
from expc.frozen import dataclass

WIDTH: Final = 120
"""Columns that the table should fit in."""

LATER: Final = "~"
"""What stands for a number that depends on sizes which nobody has said."""


@dataclass(frozen=True)
class Summary:
    """What `expc summary` shows: the rows, the first of which is the network, and the memory of training."""

    model: Model
    rows: tuple[Row, ...]
    memory: Memory
    sizes: Mapping[str, Size]
    """The sizes that are counted with: those of one sample, and the batch."""
    batch: str | None
    """The name of the batch among them."""
    optimizers: str
    """What optimizers there are."""
    recomputed: str
    """What is to be said where some of what is kept is computed anew."""


def summarise(program: Program, given: Mapping[str, int]) -> Summary:
    """The costs of a program's network. `given` has numbers for symbols, over those that the file tells.

    Raises ValueError for a name in `given` that is no symbol of the model's inputs, or where there is no model.
    """
    model = program.model
    if model is None:
        raise ValueError(f"{program.name} declares no model")
    for name in given:
        if name not in model.symbols:
            known = ", ".join(model.symbols) or "none"
            raise ValueError(f"{model.name} has no size called {name}; its sizes are {known}")
    batch = _batch(model)
    sizes: dict[str, Size] = {**known_sizes(program), **given}
    if batch is not None:
        sizes = {batch: sizes.get(batch, 1), **sizes}
    single: dict[str, Size] = {**sizes, **({} if batch is None or batch in given else {batch: 1})}
    together = {} if batch is None else {batch: sizes[batch]}
    found = rows(model.body, single, together)
    return Summary(
        model, found, training_memory(program, sizes), sizes, batch, _optimizers(program), _recomputed(program)
    )


def summary(program: Program, given: Mapping[str, int], devices: int | None = None) -> str:
    """The table of a program's network, and the totals, of one device or of each of several.

    As `summarise`, which says what it raises.
    """
    found = summarise(program, given)
    network, *layers = found.rows
    lines = [_title(found), "", *_table(layers, found), "", *_counts(found, network), ""]
    if devices is None:
        lines += _in_training(found)
    else:
        from expc.compiler.cost.devices import table
        from expc.compiler.cost.shares import shares

        lines += table(program, found, shares(program, devices, found.sizes, found.batch))
    if any(LATER in line.split() for line in lines):
        unknown = _unknown(found)
        asked = " ".join(f"--at {name}=224" if name in "HW" else f"--at {name}=64" for name in unknown)
        lines.append(f"{LATER} depends on {', '.join(unknown)}: say how large, as in `{asked}`")
    if has_python(found.model.body):
        lines.append("without what is in Python code: it is declared, not checked, until it is built")
    return "\n".join(lines)


def as_json(program: Program, given: Mapping[str, int], devices: int | None = None) -> str:
    """The same as data: numbers of bytes and MACs, or formulas as text where a size is unknown."""
    found = summarise(program, given)
    network, *layers = found.rows
    memory = found.memory
    data = {
        "version": 1,
        "model": found.model.name,
        "sizes": {name: value(size) for name, size in found.sizes.items()},
        "layers": [_record(row) for row in layers],
        "parameters": memory.parameters,
        "trainable": memory.trainable,
        "macs": value(network.macs),
        "kept": value(memory.activations),
        "kept_by_loss": value(memory.loss),
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "average": memory.average,
        "total": value(memory.total),
    }
    if devices is not None:
        from expc.compiler.cost.devices import as_data
        from expc.compiler.cost.shares import shares

        data["devices"] = as_data(program, shares(program, devices, found.sizes, found.batch))
    return json.dumps(data, indent=2)


# ------------------------------------------------------------------------------------------------------------ parts


def _record(row: Row) -> dict[str, Any]:
    return {
        "name": row.key,
        "operator": row.title,
        "depth": row.depth,
        "output": row.result,
        "parameters": row.parameters,
        "macs": value(row.macs),
        "kept": value(row.kept),
        "line": row.span.line,
    }


def value(size: Size) -> int | str:
    """A size as data: a number, or a formula as text."""
    return size if isinstance(size, int) else str(size)


def _title(found: Summary) -> str:
    model = found.model
    inputs = ", ".join(
        f"{name}: {value.type}"
        for name, value in zip(model.body.input_names, model.body.inputs, strict=False)
        if isinstance(value, Value)
    )
    at = _sample_sizes(found)
    first, second = f"{model.name}({inputs})", f"-> {found.rows[0].result}{f'   at {at}' if at else ''}"
    return f"{first} {second}" if len(first) + len(second) < WIDTH else f"{first}\n  {second}"


def _sample_sizes(found: Summary) -> str:
    return ", ".join(f"{name}={size}" for name, size in found.sizes.items() if name != found.batch)


def _table(layers: Sequence[Row], found: Summary) -> list[str]:
    """The rows; where formulas make it too wide for a screen, a sign stands for them."""
    at = "" if found.batch is None else f" at {found.batch}={found.sizes[found.batch]}"
    head = ("layer", "operator", "output", "parameters", "MACs", f"kept{at}", "line")
    table = _aligned([head, *(_cells(row, formulas=True) for row in layers)])
    if max(map(len, table)) <= WIDTH:
        return table
    cells = [_cells(row, formulas=False) for row in layers]
    table = _aligned([head, *cells])
    if (over := max(map(len, table)) - WIDTH) <= 0:
        return table
    most = max(20, max(len(output) for _, _, output, *_ in cells) - over)
    return _aligned([head, *((name, title, _clipped(output, most), *rest) for name, title, output, *rest in cells)])


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _counts(found: Summary, network: Row) -> list[str]:
    memory = found.memory
    learning = "" if memory.trainable == memory.parameters else f", {memory.trainable:,} of them learn"
    macs = _number(network.macs)
    return [
        f"{memory.parameters:,} parameters{learning} ({sizes_text(memory.weights)} as f32, buffers included)",
        f"{macs if len(macs) < WIDTH - 40 else LATER} multiply-accumulates for one sample",
    ]


def _in_training(found: Summary) -> list[str]:
    memory = found.memory
    parts: list[tuple[str, Size | None, str]] = [
        ("weights", memory.weights, ""),
        ("gradients", memory.gradients, ""),
        ("optimizer", memory.optimizer, found.optimizers),
        ("average", memory.average, "ema"),
        ("kept by the network", memory.activations, found.recomputed),
        ("kept by the loss", memory.loss, ""),
        ("together", memory.total, "an estimate: see the page of this command"),
    ]
    shown = [
        (name, "unknown" if size is None else sizes_text(size), why)
        for name, size, why in parts
        if size is None or size != 0
    ]
    width = max((len(size) for _, size, _ in shown), default=0)
    head = f"memory in training, as f32{_for_batch(found)}"
    return [head, *(f"  {name:<19}  {size:>{width}}  {why}".rstrip() for name, size, why in shown)]


def _for_batch(found: Summary) -> str:
    if found.batch is None:
        return ""
    number = found.sizes[found.batch]
    return f", for {found.batch}={number} sample{'' if number == 1 else 's'} at once"


def _optimizers(program: Program) -> str:
    train = program.train
    if train is None:
        return ""
    uses = [train.optimizer, *(group.optimizer for group in train.groups)]
    return ", ".join(dict.fromkeys(use.name for use in uses if use is not None))


def _recomputed(program: Program) -> str:
    train = program.train
    computes = train is not None and (train.recompute or train.segments is not None)
    return "without `recompute`, which keeps less" if computes else ""


def _unknown(found: Summary) -> list[str]:
    """The sizes that numbers depend on."""
    sizes = [size for row in found.rows for size in (row.macs, row.kept)]
    names = {symbol.name for size in [*sizes, found.memory.total] for symbol in symbols(size)}
    return [name for name in found.model.symbols if name in names]


def _batch(model: Model) -> str | None:
    """The first size of the first input."""
    for value in model.body.inputs:
        if isinstance(value, Value) and is_known(value.type) and value.type.dims:
            batch = as_symbol(value.type.dims[0])
            return None if batch is None else batch.name
    return None


def _cells(row: Row, *, formulas: bool) -> tuple[str, ...]:
    name = "  " * (row.depth - 1) + row.key.rpartition(".")[2]
    parameters = f"{row.parameters:,}" if row.parameters else ""
    macs, kept = (_cell(size, show, formulas=formulas) for size, show in ((row.macs, _number), (row.kept, sizes_text)))
    return name, row.title, row.result, parameters, macs, kept, str(row.span.line)


def _cell(size: Size, show: Any, *, formulas: bool) -> str:
    if isinstance(size, int):
        return show(size) if size else ""
    if not formulas:
        return LATER
    return _number(size) if show is _number else f"{_number(size)} B"


def _number(size: Size) -> str:
    return re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", str(size))


def sizes_text(size: Size) -> str:
    """Bytes in the largest unit that leaves at least one whole; exact bytes below a KiB."""
    if not isinstance(size, int):
        return LATER
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:,.1f} {unit}"
    return f"{size} B"


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns under each other: the first three to the left, those with numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
