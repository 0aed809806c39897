"""Operations of torch that draw, carried out for more rows than a process has.

`Recording` says which they are and how large; with fake tensors (`without_numbers`) it does so for any number of rows.
`DrawnLarge` carries them out for all rows and cuts out those of this process.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from expc.frozen import dataclass


@dataclass(frozen=True)
class Rows:
    """The rows of this process: `count` from `start`, of `total`."""

    start: int
    count: int
    total: int


def faked(tensor: Tensor, growing: Sequence[int], rows: int, count: int) -> Tensor:
    """A tensor like one of `rows` rows, with `count`."""
    size, stride = list(tensor.shape), list(tensor.stride())
    for axis in growing:
        size[axis] = size[axis] // rows * count
        for number, each in enumerate(stride):
            # What encloses the rows is further apart.
            if stride[axis] and (each, -number) > (stride[axis], -axis):
                stride[number] = each // rows * count
    return torch.empty_strided(size, stride, dtype=tensor.dtype, device=tensor.device)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Inside, tensors have sizes, and no numbers."""
    # What is cast for autocast must not be kept: it would have no numbers.
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.set_autocast_cache_enabled(kept)


@dataclass(frozen=True)
class Call:
    """An operation that draws, the tensors that it gets as (sizes, strides), and the sizes of what it gives."""

    called: Any
    given: tuple[Any, ...]
    made: tuple[Any, ...]


@dataclass(frozen=True)
class Draw:
    """An operation that draws, with this process's rows and with all."""

    mine: Call
    whole: Call


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers what draws."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            given = tree_flatten((args, kwargs or {}))[0]
            results = tree_flatten(made)[0]
            self.calls.append(Call(func, tuple(map(_shape, given)), tuple(map(_shape, results))))
        return made


def _shape(value: Any) -> Any:
    return (tuple(value.shape), value.stride()) if isinstance(value, Tensor) else value


class DrawnLarge(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries out what draws for all rows, and takes this process's."""

    def __init__(self, draws: Sequence[Draw], rows: Rows, outer: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._draws, self._rows, self._outer = iter(draws), rows, outer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        draw = next(self._draws)
        if draw.mine.called is not func:
            raise RuntimeError(f"{func} draws where {draw.mine.called} was expected")
        if draw.mine.given == draw.whole.given:
            return func(*args, **(kwargs or {}))
        mine, spec = tree_flatten((args, kwargs or {}))
        whole = [self._widened(*each) for each in zip(mine, draw.mine.given, draw.whole.given, strict=True)]
        wide_args, wide_kwargs = tree_unflatten(whole, spec)
        results, made = tree_flatten(func(*wide_args, **wide_kwargs))
        changed = {id(wide): own for wide, own in zip(whole, mine, strict=True) if wide is not own}
        if func._schema.is_mutable:  # noqa: SLF001 - torch has no other name
            for wide, own in zip(whole, mine, strict=True):
                if isinstance(own, Tensor) and wide is not own:
                    own.copy_(self._cut(wide, own.shape))
        cut = [
            changed[id(result)] if id(result) in changed else self._cut(result, shape[0]).clone()
            for result, shape in zip(results, draw.mine.made, strict=True)
        ]
        return tree_unflatten(cut, made)

    def _widened(self, own: Any, mine: Any, whole: Any) -> Any:
        """An argument as it is with all rows; for the others it has copies of this process's first."""
        if mine == whole:
            return own
        if not isinstance(own, Tensor):
            return whole
        size, stride = whole
        # What is the same along a dimension (`expand`) stays so.
        flat = [1 if step == 0 else length for length, step in zip(size, stride, strict=True)]
        base = torch.empty_strided(flat, stride, dtype=own.dtype, device=own.device)
        seen = own[tuple(slice(0, 1) if step == 0 else slice(None) for step in stride)]
        axis = next(number for number, pair in enumerate(zip(mine[0], size, strict=True)) if pair[0] != pair[1])
        if stride[axis] == 0:
            base.copy_(seen)
        else:
            base.copy_(seen.narrow(axis, 0, 1).expand(flat))
            rows = self._split(seen, axis, self._rows.count)
            self._split(base, axis, self._rows.total).narrow(axis + 1, self._rows.start, self._rows.count).copy_(rows)
        return base if list(size) == flat else base.expand(size)

    def _split(self, tensor: Tensor, axis: int, count: int) -> Tensor:
        rows: Tensor = tensor.unflatten(axis, (self._outer, count, -1))  # type: ignore[no-untyped-call]
        return rows

    def _cut(self, tensor: Any, size: Sequence[int]) -> Any:
        """The rows of this process."""
        axes = [number for number, pair in enumerate(zip(tensor.shape, size, strict=True)) if pair[0] != pair[1]]
        for axis in axes:
            rows = self._split(tensor, axis, self._rows.total).narrow(axis + 1, self._rows.start, self._rows.count)
            tensor = rows.flatten(axis, axis + 2)
        return tensor
