"""Data sets and transforms that are Python code of an `extern`: one sample at a time, held to what is declared.

What is made of the code stays in the process that made it; a worker that starts anew makes its own.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from expc.compiler.errors.python import ExecutionError, ExternResult, RuntimeFailure
from expc.compiler.lower.externs import make, shown_type, wrong_object, wrong_result
from expc.compiler.lower.values import torch_dtype
from expc.compiler.ops.declare import PythonCode
from expc.compiler.program import SampleField, Use
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Span
from expc.runtime.data.datasets import Kind, Raw
from expc.runtime.data.fields import Values
from expc.runtime.data.randomness import Draws, Indices


class _Made:
    """What the code makes of its settings, once in each process."""

    def __init__(self, code: PythonCode, settings: Mapping[str, Any], tensors: int = 0) -> None:
        self.code: Final = code
        self._settings: Final = dict(settings)
        self._tensors: Final = tensors
        self._made: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}

    @property
    def made(self) -> Any:
        """The object itself. Raises `ExecutionError`."""
        if self._made is None:
            self._made = make(self.code, self._settings, tensors=self._tensors)
        return self._made


class ExternSamples:
    """A data set with a length and items by number: a tuple of the declared fields, or a mapping of their names."""

    kind: Kind = "python"

    def __init__(self, use: Use) -> None:
        code = use.declaration.python
        assert code is not None  # noqa: S101 - the caller looked
        self._source: Final = _Made(code, use.settings)
        self._fields: Final[tuple[SampleField, ...]] = use.declaration.sample(use.settings)
        self._span: Final = use.span
        made = self._source.made
        missing = [name for name in ("__len__", "__getitem__") if not hasattr(made, name)]
        if missing:
            raise wrong_object(code, f"makes a `{type(made).__name__}` without `{missing[0]}`", "a data set")
        declared = use.declaration.length(use.settings)
        if declared is not None and len(made) != declared:
            raise self._refused(f"{declared:,} samples", f"{len(made):,}")
        if len(made):
            self._row(0)

    def __len__(self) -> int:
        return len(self._source.made)

    def fetch(self, indices: Indices) -> Raw:
        """The samples at `indices`, each held against its declaration. Raises `ExecutionError`."""
        rows = [self._row(int(index)) for index in indices]
        return {field.name: _stacked([row[i] for row in rows]) for i, field in enumerate(self._fields)}

    def _row(self, index: int) -> list[Tensor]:
        try:
            found = self._source.made[index]
        except Exception as error:
            # Python code may raise anything.
            raise failure(self._span, f"{self._source.code.name}[{index}]", error) from error
        names = [field.name for field in self._fields]
        if isinstance(found, Mapping):
            values = [found[name] for name in names] if set(found) == set(names) else None
        elif isinstance(found, tuple | list):
            values = list(found) if len(found) == len(names) else None
        else:
            values = [found] if len(names) == 1 else None
        if values is None:
            raise self._refused(f"a sample ({', '.join(names)})", shown_type(found))
        return [self._value(value, field, index) for value, field in zip(values, self._fields, strict=True)]

    def _value(self, value: Any, field: SampleField, index: int) -> Tensor:
        tensor = as_tensor(value, field.type)
        if tensor is None or not _fits(tensor, field.type):
            found = shown_type(value if tensor is None else tensor)
            raise self._refused(f"{field.name}: {field.type}", f"{found} as item {index}")
        classes = field.type.classes
        if isinstance(classes, int) and tensor.numel():
            least, most = (int(bound) for bound in tensor.aminmax())
            if least < 0 or most >= classes:
                outside = least if least < 0 else most
                raise self._refused(f"{field.name}: {field.type}", f"class {outside} as item {index}")
        return tensor

    def _refused(self, expected: str, found: str) -> ExecutionError:
        code, label = self._source.code, Label(self._span, "used here")
        problem = ExternResult(
            span=code.span, kind=code.kind, extern=code.name, expected=expected, found=found, labels=(label,)
        )
        return ExecutionError(problem)


class ExternTransform:
    """A transform of one field of one sample."""

    def __init__(self, use: Use, types: Sequence[TensorType]) -> None:
        code = use.declaration.python
        assert code is not None  # noqa: S101 - the caller looked
        self._source: Final = _Made(code, use.settings, tensors=1)
        self._types: Final = tuple(types)
        self._span: Final = use.span
        if not callable(self._source.made):
            raise wrong_object(code, f"makes a `{type(self._source.made).__name__}`", "a function of a tensor")

    def through(self, position: int, values: Values, draws: Draws) -> Values:
        """A field of several samples, the one that is written at `position`. Raises `ExecutionError`.

        Random numbers of torch, NumPy and Python are those of (seed, epoch, sample), whatever process draws them.
        """
        low, high, *_ = draws.words()
        made = [
            self._one(value, int(a) | int(b) << 32, self._types[position])
            for value, a, b in zip(values, low, high, strict=True)
        ]
        return _stacked(made)

    def _one(self, value: Tensor, seed: int, type_: TensorType) -> Tensor:
        before = random.getstate(), np.random.get_state()  # noqa: NPY002 - what user code draws from
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
            try:
                found = self._source.made(value)
            except Exception as error:
                # Python code may raise anything.
                raise failure(self._span, self._source.code.name, error) from error
            finally:
                random.setstate(before[0])
                np.random.set_state(before[1])  # noqa: NPY002
        if not isinstance(found, Tensor) or not _fits(found, type_):
            raise wrong_result(self._source.code, [type_], found, self._span)
        return found


def as_tensor(value: Any, type_: TensorType) -> Tensor | None:
    """A value of a sample as a tensor: numbers take the declared dtype, an image is u8 [C, H, W]; none for others."""
    if isinstance(value, Tensor):
        tensor = value
    elif isinstance(value, np.ndarray | np.generic):
        tensor = torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
    elif isinstance(value, bool | int | float):
        whole = type_.dtype not in ("f16", "bf16", "f32", "f64")
        return None if isinstance(value, float) and whole else torch.tensor(value, dtype=torch_dtype(type_.dtype))
    elif hasattr(value, "getbands"):  # an image of Pillow, which need not be there
        pixels = torch.from_numpy(np.array(value))
        tensor = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()
    else:
        return None
    return tensor.long() if type_.classes is not None and not tensor.is_floating_point() else tensor


def _fits(value: Tensor, type_: TensorType) -> bool:
    if value.dtype != torch_dtype(type_.dtype) or value.dim() != type_.rank:
        return False
    pairs = zip(value.shape, type_.dims, strict=True)
    return all(found == size for found, size in pairs if isinstance(size, int))


def _stacked(values: list[Tensor]) -> Values:
    return torch.stack(values) if len({value.shape for value in values}) == 1 else values


def failure(span: Span, step: str, error: Exception) -> ExecutionError:
    """What to raise where Python code raises."""
    told = str(error).partition("\n")[0]
    reason = f"{type(error).__name__}: {told}" if told else type(error).__name__
    return ExecutionError(RuntimeFailure(span=span, step=step, reason=reason))
