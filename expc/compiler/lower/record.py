"""What the `build` of a function does, recorded once: each run then makes the calls of torch and nothing else.

`build` is run on stand-ins for torch and for tensors. What depends on more than their number of dimensions cannot be
recorded; the function is then built anew at each run.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NoReturn

import torch

from expc.compiler.lower.values import Computed, Getter, Operand, calling, getter, operand
from expc.compiler.ops.building import method_called


class CannotRecord(Exception):
    """The function looks at what a tensor holds, or uses a part of its work twice."""


def record(build: Callable[[Any, Any], Any], values: Mapping[str, Any]) -> Getter:
    """`build(torch, values)` as a function of the environment. Raises CannotRecord."""
    return getter(operand(_operands(build(_Torch(torch), dict(values)))))


def _operation(function: Callable[..., Any]) -> Callable[..., "Recorded"]:
    return lambda *operands: _call(function, *operands)


def _reflected(function: Callable[..., Any]) -> Callable[..., "Recorded"]:
    return lambda right, left: _call(function, left, right)


class Recorded:
    """Stands for a tensor; `rank` is its number of dimensions, where that is known."""

    def __init__(self, operand: Operand, rank: int | None = None) -> None:
        self._operand = operand
        self._rank = rank
        self._used = False

    def use(self) -> Operand:
        """What it stands for. A result that is used twice would be computed twice."""
        if self._used and isinstance(self._operand, Computed):
            raise CannotRecord
        self._used = True
        return self._operand

    def dim(self) -> int:
        """The number of dimensions."""
        if self._rank is None:
            raise CannotRecord
        return self._rank

    ndim = property(dim)

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(torch.Tensor, name, None)):
            return lambda *positional, **named: _call(method_called(name), self, *positional, **named)
        return _call(getattr, self, name)

    def _refuse(self, *_: Any) -> NoReturn:
        raise CannotRecord

    def __iter__(self) -> Iterator[Any]:
        raise CannotRecord

    __bool__ = __int__ = __float__ = __index__ = __len__ = __contains__ = _refuse
    __hash__ = object.__hash__
    __add__, __radd__ = _operation(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _operation(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _operation(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _operation(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _operation(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _operation(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _operation(operator.pow), _reflected(operator.pow)
    __matmul__, __rmatmul__ = _operation(operator.matmul), _reflected(operator.matmul)
    __and__, __rand__ = _operation(operator.and_), _reflected(operator.and_)
    __or__, __ror__ = _operation(operator.or_), _reflected(operator.or_)
    __xor__, __rxor__ = _operation(operator.xor), _reflected(operator.xor)
    __neg__, __invert__, __abs__ = _operation(operator.neg), _operation(operator.invert), _operation(operator.abs)
    __eq__, __ne__ = _operation(operator.eq), _operation(operator.ne)  # type: ignore[assignment]
    __lt__, __le__ = _operation(operator.lt), _operation(operator.le)
    __gt__, __ge__ = _operation(operator.gt), _operation(operator.ge)
    __getitem__ = _operation(operator.getitem)


class _Torch:
    """Stands for torch, or a module in it: what is called is recorded."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if isinstance(real, ModuleType):
            return _Torch(real)
        if isinstance(real, type):
            # A stand-in is no instance of it, so that asking would give the wrong answer.
            raise CannotRecord
        if callable(real):
            return lambda *positional, **named: _call(real, *positional, **named)
        return real


def _call(called: Callable[..., Any], *positional: Any, **named: Any) -> Recorded:
    return Recorded(Computed(calling(called, _operands(positional), _operands(named))))


def _operands(value: Any) -> Any:
    if isinstance(value, Recorded):
        return value.use()
    if isinstance(value, list | tuple):
        return tuple(_operands(item) for item in value)
    if isinstance(value, dict):
        return {key: _operands(item) for key, item in value.items()}
    return value
