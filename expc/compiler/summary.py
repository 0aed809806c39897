"""A network as a table for people: layers, types, parameters, MACs, and the line that each comes from."""

import re
from collections.abc import Mapping, Sequence

from expc.compiler.cost import Row, rows
from expc.compiler.dimensions import Size, as_symbol
from expc.compiler.graph import Model, Value, has_python
from expc.compiler.types import is_known


def summary(model: Model, sizes: Mapping[str, int]) -> str:
    """The table of `model`. `sizes` gives numbers to symbols, to count MACs with; a batch is 1 if it does not say.

    Raises ValueError for a name in `sizes` that is no symbol of the model's inputs.
    """
    for name in sizes:
        if name not in model.symbols:
            known = ", ".join(model.symbols) or "none"
            raise ValueError(f"{model.name} has no size called {name}; its sizes are {known}")
    known_sizes: dict[str, Size] = {**_batch_of_one(model), **sizes}
    network, *layers = rows(model.body, known_sizes)
    at = ", ".join(f"{name}={size}" for name, size in known_sizes.items())
    head = ("layer", "operator", "output", "parameters", f"MACs{f' at {at}' if at else ''}", "line")
    table = [head, *(_cells(row) for row in layers)]
    inputs = ", ".join(
        f"{name}: {value.type}"
        for name, value in zip(model.body.input_names, model.body.inputs, strict=False)
        if isinstance(value, Value)
    )
    size = network.parameters * 4 / 2**20
    return "\n".join(
        [
            f"{model.name}({inputs}) -> {network.result}",
            "",
            *_aligned(table),
            "",
            f"{network.parameters:,} parameters ({size:,.1f} MiB as f32)",
            f"{_number(network.macs)} multiply-accumulates{f' at {at}' if at else ''}",
            *_not_counted(model),
        ]
    )


def _not_counted(model: Model) -> tuple[str, ...]:
    """What is said of Python code: nothing is known of its inside."""
    if not has_python(model.body):
        return ()
    return ("without what is in Python code: it is declared, not checked, until it is built",)


def _batch_of_one(model: Model) -> dict[str, Size]:
    for value in model.body.inputs:
        if isinstance(value, Value) and is_known(value.type) and value.type.dims:
            batch = as_symbol(value.type.dims[0])
            return {} if batch is None else {batch.name: 1}
    return {}


def _cells(row: Row) -> tuple[str, ...]:
    name = "  " * (row.depth - 1) + row.key.rpartition(".")[2]
    parameters = f"{row.parameters:,}" if row.parameters else ""
    return name, row.title, row.result, parameters, _number(row.macs) if row.macs != 0 else "", str(row.span.line)


def _number(size: Size) -> str:
    return re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", str(size))


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
