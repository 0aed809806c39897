"""`Csv`: rows of cells as fields of numbers and classes; what does not fit is named by its line and column."""

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expc.compiler.program import SampleField, Use
from expc.compiler.types import FLOATING, TORCH_NAMES, TensorType
from expc.frozen import dataclass
from expc.runtime.data.declared import tensor
from expc.runtime.data.refusing import unreadable
from expc.runtime.errors import RunError
from expc.runtime.errors.data import BadCell, DataDamaged, TooLittleData, UnexpectedData
from expc.spec.suggest import advice, nearest

ROWS: Final = 10_000
"""How many rows are text in memory at once."""

_TRUTHS: Final = {"true": 1, "false": 0, "1": 1, "0": 0, "yes": 1, "no": 0}


def read_csv(
    use: Use, path: Path, fields: Sequence[SampleField], only: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The fields of all rows. Raises `RunError` for the first cell, column or row that does not fit.

    `only` names fields that are wanted: columns of the others may be missing, and their cells are not looked at.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=use.settings["delimiter"], strict=True)
            return _Table(use, path, fields, only).read(rows)
    except OSError as error:
        raise unreadable(use.name, use.span, path, error) from error
    except UnicodeDecodeError as error:
        raise _damaged(use, path, f"it is not a text in UTF-8 (byte {error.start})") from error
    except csv.Error as error:
        raise _damaged(use, path, f"it is not a whole table ({error})") from error


@dataclass(frozen=True)
class _Rows:
    """Some rows as text, and the line of the file where each ends."""

    cells: list[list[str]]
    lines: list[int]


class _Table:
    """One file, while it is read."""

    def __init__(self, use: Use, path: Path, fields: Sequence[SampleField], only: Collection[str] | None) -> None:
        self.use, self.path, self.fields, self._only = use, path, fields, only
        self.names: list[str] = []

    def read(self, reader: Any) -> dict[str, Tensor]:
        """Every field of every row."""
        header = _next(reader) if self.use.settings["header"] else None
        first = _next(reader)
        if first is None:
            raise RunError(TooLittleData(span=self.use.span, what=f"`{self.path.name}`", needed="1 row", found=0))
        self.names = header if header is not None else [str(i + 1) for i in range(len(first))]
        columns = self._wanted(named=header is not None)
        labels = {field.name: _Labels(self, field, columns[field.name]) for field in self.fields if _is_class(field)}
        parts: dict[str, list[NDArray[Any]]] = {field.name: [] for field in self.fields}
        for rows in self._rows(reader, first):
            for field in self.fields:
                cells = [[row[column] for column in columns[field.name]] for row in rows.cells]
                if field.name in labels:
                    labels[field.name].add(cells, rows.lines)
                else:
                    parts[field.name].append(self._numbers(field, cells, columns[field.name], rows.lines))
        found = {}
        for field in self.fields:
            made = labels[field.name].numbers() if field.name in labels else np.concatenate(parts[field.name])
            dims = [int(str(dim)) for dim in field.type.dims]
            found[field.name] = tensor(made.reshape(len(made), *dims), field.type)
        return found

    # ------------------------------------------------------------------------------------------------ columns

    def _wanted(self, *, named: bool) -> dict[str, list[int]]:
        """The columns of the fields that are wanted, and these fields alone from here on."""
        if self._only is None:
            return self._columns(named=named)
        wanted = [field for field in self.fields if field.name in self._only]
        try:
            columns = self._columns(named=named)
        except RunError:  # a field that nobody wants may have none
            self.fields = wanted
            return self._columns(named=named)
        self.fields = wanted
        return columns

    def _columns(self, *, named: bool) -> dict[str, list[int]]:
        """Which columns fill each field: those that are named, one of its own name, or the next ones that are left."""
        written = self.use.settings["columns"]
        chosen: dict[str, list[int]] = {}
        for field in self.fields:
            if field.name in written:
                names = written[field.name]
                chosen[field.name] = [self._column(name) for name in ((names,) if isinstance(names, str) else names)]
            elif named and not field.type.dims and field.name in self.names:
                chosen[field.name] = [self.names.index(field.name)]
        taken = {column for columns in chosen.values() for column in columns}
        left = [column for column in range(len(self.names)) if column not in taken]
        rest = [field for field in self.fields if field.name not in chosen]
        needed = sum(_count(field.type) for field in rest)
        if rest and needed != len(left):
            whose = " and ".join(f"{field.name}: {field.type}" for field in rest)
            has = ", ".join(f"`{self.names[column]}`" for column in left[:8]) + (", ..." if len(left) > 8 else "")
            columns = "1 column" if len(left) == 1 else f"{len(left)} columns"
            found = f"{columns} for {'it' if len(rest) == 1 else 'them'}" + (f": {has}" if left else "")
            notes = (self._other_delimiter() or f'say which columns: `Csv("{self.path.name}", {rest[0].name}=[...])`',)
            raise RunError(
                UnexpectedData(
                    span=self.use.span, dataset="Csv", path=str(self.path), declared=whose, found=found, notes=notes
                )
            )
        for field in rest:
            chosen[field.name], left = left[: _count(field.type)], left[_count(field.type) :]
        return chosen

    def _other_delimiter(self) -> str | None:
        """What to write where a row is one cell, because its cells are divided by something else."""
        found = next((mark for mark in ";\t|" if mark in self.names[0]), None) if len(self.names) == 1 else None
        return None if found is None else f"does another sign divide the cells? `delimiter={json.dumps(found)}`"

    def _column(self, name: str) -> int:
        if name not in self.names:
            has = ", ".join(f"`{column}`" for column in self.names[:8]) + (", ..." if len(self.names) > 8 else "")
            found = f"the columns {has}{advice(nearest(name, self.names))}"
            raise RunError(
                UnexpectedData(
                    span=self.use.span, dataset="Csv", path=str(self.path), declared=f"a column `{name}`", found=found
                )
            )
        if (count := self.names.count(name)) > 1:
            raise RunError(
                UnexpectedData(
                    span=self.use.span,
                    dataset="Csv",
                    path=str(self.path),
                    declared=f"a column `{name}`",
                    found=f"{count} of that name",
                )
            )
        return self.names.index(name)

    # ------------------------------------------------------------------------------------------------ cells

    def _rows(self, reader: Any, first: list[str]) -> Iterator[_Rows]:
        """The rows in parts, those that are empty left out."""
        rows, lines = [first], [reader.line_num]
        self._check_length(first, reader.line_num)
        for row in reader:
            if row:
                self._check_length(row, reader.line_num)
                rows.append(row)
                lines.append(reader.line_num)
            if len(rows) == ROWS:
                yield _Rows(rows, lines)
                rows, lines = [], []
        if rows:
            yield _Rows(rows, lines)

    def _check_length(self, row: list[str], line: int) -> None:
        if len(row) != len(self.names):
            raise self.bad(line, None, f"it has {len(row)} cells, and not {len(self.names)}")

    def _numbers(
        self, field: SampleField, cells: list[list[str]], columns: Sequence[int], lines: Sequence[int]
    ) -> NDArray[Any]:
        dtype = field.type.dtype
        name = "float32" if dtype == "bf16" else TORCH_NAMES[dtype]
        try:
            if dtype in FLOATING:
                with np.errstate(over="ignore"):  # what is too large is found below
                    numbers = [float(cell) for row in cells for cell in row]
                    made = np.array(numbers).reshape(len(cells), -1).astype(name)
                if np.isfinite(made).all():
                    return made
            elif dtype != "bool":
                whole = np.array([[int(cell) for cell in row] for row in cells], dtype=np.int64)
                made = whole.astype(name)
                if np.array_equal(made, whole):
                    return made
            else:
                return np.array([[bool(_TRUTHS[cell.strip().casefold()]) for cell in row] for row in cells])
        except (ValueError, KeyError, OverflowError):
            pass
        for row, line in zip(cells, lines, strict=True):
            for cell, column in zip(row, columns, strict=True):
                if not _is_number(cell, dtype):
                    reason = _reason(cell, dtype)
                    raise self.bad(line, column, reason, cell)
        raise self.bad(lines[0], columns[0], f"the cells cannot be read as {dtype}")

    def bad(self, line: int, column: int | None, reason: str, cell: str | None = None) -> RunError:
        """What to raise about a row, or about one cell of it."""
        place = f"line {line}" + ("" if column is None else f", column `{self.names[column]}`")
        shown = "" if cell is None or not cell.strip() else f"`{cell if len(cell) <= 30 else cell[:30] + '...'}`: "
        return RunError(BadCell(span=self.use.span, path=str(self.path), place=place, reason=f"{shown}{reason}"))


class _Labels:
    """A column of classes, as numbers or as names, while rows come in."""

    def __init__(self, table: _Table, field: SampleField, columns: Sequence[int]) -> None:
        self._table, self._field, self._columns = table, field, columns
        self._codes: dict[str, int] = {}
        self._places: list[tuple[int, int]] = []
        """Where each different cell stands first: line and column."""
        self._parts: list[NDArray[np.int64]] = []

    def add(self, cells: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
        """Take the cells of some rows."""
        if not {cell for row in cells for cell in row} <= self._codes.keys():
            for row, line in zip(cells, lines, strict=True):
                for cell, column in zip(row, self._columns, strict=True):
                    self._meet(cell, line, column)
        self._parts.append(np.array([[self._codes[cell] for cell in row] for row in cells], dtype=np.int64))

    def _meet(self, cell: str, line: int, column: int) -> None:
        if cell in self._codes:
            return
        if not cell.strip():
            raise self._table.bad(line, column, "it is empty", cell)
        self._codes[cell] = len(self._codes)
        self._places.append((line, column))

    def numbers(self) -> NDArray[Any]:
        """The class of each cell. Raises `RunError` where there are other classes than declared."""
        classes, names = self._field.type.classes, self._table.use.settings["classes"]
        meaning: dict[str, int] = {}
        if names is not None and len(names) == classes:
            meaning = {name: number for number, name in enumerate(names)}
        elif all(_whole(cell) is not None for cell in self._codes):
            meaning = {cell: number for cell in self._codes if 0 <= (number := _whole(cell) or 0) < int(str(classes))}
        elif len(self._codes) == classes:
            meaning = {name: number for number, name in enumerate(sorted(self._codes))}
        else:
            listed = ", ".join(f"`{name}`" for name in sorted(self._codes)[:8])
            found = f"{len(self._codes)} of them: {listed}" + (", ..." if len(self._codes) > 8 else "")
            raise RunError(
                UnexpectedData(
                    span=self._table.use.span,
                    dataset="Csv",
                    path=str(self._table.path),
                    declared=f"{self._field.name}: {self._field.type}",
                    found=found,
                    notes=("`classes=[...]` names the classes in order, where a file does not have them all",),
                )
            )
        for cell, (line, column) in zip(self._codes, self._places, strict=True):
            if cell not in meaning:
                raise self._table.bad(line, column, f"it is no class of {self._field.type}", cell)
        codes = np.array([meaning[cell] for cell in self._codes], dtype=np.int64)
        return np.asarray(codes[np.concatenate(self._parts)])


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    """The next row that is not empty."""
    return next((row for row in reader if row), None)


def _whole(cell: str) -> int | None:
    """The whole number in a cell, perhaps written as `2.0`; none where it is a name."""
    with suppress(ValueError, OverflowError):
        return int(number) if (number := float(cell)).is_integer() else None
    return None


def _is_class(field: SampleField) -> bool:
    return field.type.classes is not None


def _count(type_: TensorType) -> int:
    return prod(int(str(dim)) for dim in type_.dims)


def _reason(cell: str, dtype: str) -> str:
    """Why a cell cannot be read."""
    if not cell.strip():
        return "it is empty"
    if dtype == "bool":
        return "it is neither true nor false"
    words = "a number" if dtype in FLOATING else "a whole number"
    try:
        is_one = isfinite(float(cell)) if dtype in FLOATING else isinstance(int(cell), int)
    except ValueError:
        is_one = False
    return f"{dtype} cannot hold it" if is_one else f"it is not {words}"


def _is_number(cell: str, dtype: str) -> bool:
    if dtype == "bool":
        return cell.strip().casefold() in _TRUTHS
    try:
        if dtype in FLOATING:
            with np.errstate(over="ignore"):
                return isfinite(float(np.float64(cell).astype("float32" if dtype == "bf16" else TORCH_NAMES[dtype])))
        bounds = np.iinfo(TORCH_NAMES[dtype])
        return bool(bounds.min <= int(cell) <= bounds.max)
    except (ValueError, OverflowError):
        return False


def _damaged(use: Use, path: Path, reason: str) -> RunError:
    return RunError(DataDamaged(span=use.span, dataset=use.name, path=str(path), reason=reason))
