"""Data sets whose fields the file declares: opened, and held against what is declared.

Everything is read when the data is opened, so that nothing in a file can stop a run that has begun.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expc.compiler.dimensions import as_symbol
from expc.compiler.program import DataPlan, Declared, SampleField, Use
from expc.compiler.types import FLOATING, TORCH_NAMES, TensorType, category
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.data.datasets import Raw, Samples, Stored, open_dataset
from expc.runtime.data.refusing import outside, unreadable
from expc.runtime.errors import RunError
from expc.runtime.errors.data import DataDamaged, DataNotFound, DataNotGiven, TooLittleData, UnexpectedData

Given = Mapping[str, Mapping[str, Any]]
"""The tensors, or arrays, that a program gives to an experiment: data set -> field -> `[n, ...]`."""

_ONE_ARRAY: Final = b"\x93NUMPY"
"""How a file of `numpy.save` begins."""

_NUMPY: Final = {"bf16": "float32"} | {name: torch_name for name, torch_name in TORCH_NAMES.items() if name != "bf16"}


def open_source(plan: DataPlan, root: Path, given: Given) -> Samples:
    """The data set of a role. Raises `RunError`."""
    try:
        return _opened(plan, root, given)
    except OSError as error:  # even to ask whether a file is there can be forbidden
        raise unreadable(plan.dataset.name, plan.dataset.span, Path(error.filename or root), error) from error


def _opened(plan: DataPlan, root: Path, given: Given) -> Samples:
    use = plan.dataset
    if use.declaration.python is not None:
        from expc.runtime.data.externs import ExternSamples

        return ExternSamples(use)
    own = declaration_of(plan)
    if own is None:
        return open_dataset(use, root)
    fields = own.fields
    if use.name == "Csv":
        from expc.runtime.data.csv_table import read_csv

        found = read_csv(use, existing(use, root), fields)
    elif use.name == "Npz":
        found = read_npz(use, existing(use, root), fields)
    else:
        found = _tensors(use, given, fields)
    if not len(next(iter(found.values()))):
        raise RunError(TooLittleData(span=use.span, what=f"`{use.name}`", needed="1 sample", found=0))
    return Stored(found)


def declaration_of(plan: DataPlan) -> Declared | None:
    """What says which fields a data set has that knows none by itself. It is verified when the data is opened."""
    if plan.dataset.name not in ("Csv", "Npz", "Tensors"):
        return None
    return next(stage for stage in plan.stages if isinstance(stage, Declared))


@dataclass(frozen=True)
class Shape:
    """What each sample must be at some place of its way, as `as` says there."""

    dataset: str
    fields: tuple[SampleField, ...]
    span: Span

    def verify(self, batch: Raw) -> None:
        """Raises `RunError` where a sample is of another size than was declared, or of a class that is none."""
        each = {field.name: batch[field.name] for field in self.fields}
        samples = len(next(iter(each.values())))
        # Where each is a tensor, all samples are like the first.
        for position in range(1 if all(isinstance(value, Tensor) for value in each.values()) else samples):
            sizes: dict[str, int] = {}
            for field in self.fields:
                found = tuple(each[field.name][position].shape)
                if not fits(field.type, found, sizes):
                    raise self._refusal(field, f"{field.type.dtype}[{', '.join(map(str, found))}]")
        for field in self.fields:
            values = each[field.name]
            for value in (values,) if isinstance(values, Tensor) else values:
                if (other := outside(value, field.type)) is not None:
                    raise self._refusal(field, f"a class {other}")

    def _refusal(self, field: SampleField, found: str) -> RunError:
        declared = f"{field.name.partition(chr(39))[0]}: {field.type}"
        problem = UnexpectedData(span=self.span, dataset=self.dataset, path="a sample", declared=declared, found=found)
        return RunError(problem)


def fits(type_: TensorType, shape: tuple[int, ...], sizes: dict[str, int]) -> bool:
    """Whether a sample of this shape is of the type; its sizes by name are added to `sizes`, and must agree."""
    if len(shape) != type_.rank:
        return False
    for declared, found in zip(type_.dims, shape, strict=True):
        name = as_symbol(declared)
        if name is not None:
            if sizes.setdefault(name.name, found) != found:
                return False
        elif isinstance(declared, int) and declared != found:
            return False
    return True


def existing(use: Use, root: Path) -> Path:
    """The file that a source reads. Raises `RunError` where there is none."""
    path = root / str(use.settings["path"])
    if not path.is_file():
        notes = (f"relative paths start at {root}; the environment variable EXPC_DATA names another folder",)
        problem = DataNotFound(span=use.span, dataset=use.name, path=str(path), reason="there is no file", notes=notes)
        raise RunError(problem)
    return path


# ---------------------------------------------------------------------------------------------------- arrays


def read_npz(use: Use, path: Path, fields: Iterable[SampleField]) -> dict[str, Tensor]:
    """The fields of all samples. Raises `RunError` for the first array that is missing or does not fit."""
    try:
        with path.open("rb") as opened:
            start = opened.read(len(_ONE_ARRAY))
        if start == _ONE_ARRAY:
            raise ValueError("it is one array, of `numpy.save`, which has no name")
        if not is_zipfile(path):
            raise ValueError("it is empty" if not start else "it is no archive")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: _plain_array(file, name) for name in file.files}
    except OSError as error:
        raise unreadable(use.name, use.span, path, error) from error
    except Exception as error:  # a damaged archive raises whatever its parts do
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = f"it is not a whole file of `numpy.savez` ({said})"
        raise RunError(DataDamaged(span=use.span, dataset=use.name, path=str(path), reason=reason)) from error
    names = {field.name: use.settings["arrays"].get(field.name, field.name) for field in fields}
    for name in names.values():
        if name not in arrays:
            there = ", ".join(f"`{array}`" for array in arrays) or "none"
            raise _unexpected(use, str(path), f"an array `{name}`", f"the arrays {there}")
    return _hold(use, str(path), fields, lambda name: arrays[names[name]])


def _plain_array(file: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise ValueError(f"`{name}` holds Python objects, which are never read") from error


def _tensors(use: Use, given: Given, fields: Iterable[SampleField]) -> dict[str, Tensor]:
    name = use.settings["name"]
    if name not in given:
        raise RunError(DataNotGiven(span=use.span, set=name))
    for field in fields:
        if field.name not in given[name]:
            there = ", ".join(f"`{key}`" for key in given[name]) or "none"
            raise _unexpected(use, f'data["{name}"]', f"a field `{field.name}`", f"the fields {there}")
    return _hold(use, f'data["{name}"]', fields, lambda field: _array(given[name][field]))


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        plain = value.detach().cpu()
        return np.asarray(plain.float().numpy() if plain.dtype == torch.bfloat16 else plain.numpy())
    return np.asarray(value)


def _hold(
    use: Use, path: str, fields: Iterable[SampleField], array: Callable[[str], NDArray[Any]]
) -> dict[str, Tensor]:
    """The arrays as tensors of the declared types. Raises `RunError` for the first that is of another one."""
    found: dict[str, Tensor] = {}
    lengths: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for field in fields:
        values = array(field.name)
        declared = f"{field.name}: {field.type}"
        kind = {"b": 0, "i": 1, "u": 1, "f": 2}.get(values.dtype.kind)
        shape = f"{values.dtype}[{', '.join(map(str, ('n', *values.shape[1:])))}]"
        if values.ndim == 0 or kind != category(field.type.dtype) or not fits(field.type, values.shape[1:], sizes):
            raise _unexpected(use, path, declared, shape if values.ndim else "one number")
        lengths[field.name] = len(values)
        made = values.astype(_NUMPY[field.type.dtype], copy=False)
        if kind == 1 and values.size and not np.array_equal(made, values):
            raise _unexpected(use, path, declared, f"numbers up to {values.max()}")
        found[field.name] = tensor(made, field.type)
        if (other := outside(found[field.name], field.type)) is not None:
            flat = made.reshape(len(made), -1)
            row = int(np.nonzero((flat == other).any(axis=1))[0][0])
            raise _unexpected(use, path, declared, f"a class {other} in sample {row}")
    if len(set(lengths.values())) > 1:
        counts = " and ".join(f"{count} of `{name}`" for name, count in lengths.items())
        raise _unexpected(use, path, "as many samples of each field", counts)
    return found


def tensor(values: NDArray[Any], type_: TensorType) -> Tensor:
    """An array as a tensor of the declared dtype."""
    made = torch.from_numpy(np.ascontiguousarray(values))
    return made.to(getattr(torch, TORCH_NAMES[type_.dtype])) if type_.dtype in FLOATING else made


def _unexpected(use: Use, path: str, declared: str, found: str) -> RunError:
    return RunError(UnexpectedData(span=use.span, dataset=use.name, path=path, declared=declared, found=found))
