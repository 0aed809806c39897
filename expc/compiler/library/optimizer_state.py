"""What optimizers keep for each parameter from step to step: averages, momentum, counts of steps."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

Settings = Mapping[str, Any]
State = Callable[[Settings, tuple[int, ...]], int]
"""From an optimizer's settings and the shape of a parameter to the numbers that it keeps for it, of 4 bytes each."""


def _copies(number: int, more: int = 0, **when: int) -> State:
    """`number` tensors as large as the parameter, as many more for each setting in `when` that is on, and `more`
    single numbers.
    """

    def state(settings: Settings, dims: tuple[int, ...]) -> int:
        extra = sum(count for name, count in when.items() if settings.get(name))
        return (number + extra) * prod(dims) + more

    return state


def _factored(_: Settings, dims: tuple[int, ...]) -> int:
    """A row and a column of a matrix instead of all of it."""
    if len(dims) < 2:
        return prod(dims) + 1
    rest = prod(dims[:-2])
    return rest * dims[-2] + rest * dims[-1] + 1


def _history(settings: Settings, dims: tuple[int, ...]) -> int:
    """Past directions and changes of the gradient, the last of both, and one direction."""
    return (2 * int(settings["history_size"]) + 2) * prod(dims)


STATE: Final[Mapping[str, State]] = {
    "SGD": _copies(0, momentum=1),
    "ASGD": _copies(1, 3),
    "RMSprop": _copies(1, 1, momentum=1, centered=1),
    "Rprop": _copies(2, 1),
    "Adam": _copies(2, 1, amsgrad=1),
    "AdamW": _copies(2, 1, amsgrad=1),
    "Adamax": _copies(2, 1),
    "NAdam": _copies(2, 2),
    "RAdam": _copies(2, 1),
    "Adagrad": _copies(1, 1),
    "Adadelta": _copies(2, 1),
    "Adafactor": _factored,
    "Muon": _copies(1),
    "LBFGS": _history,
    "SparseAdam": _copies(2),
}
"""What each optimizer of `torch.optim` keeps; of one that comes from Python nothing is known."""


def state_bytes(name: str, settings: Settings, dims: tuple[int, ...]) -> int | None:
    """The bytes that an optimizer keeps for one f32 parameter; none where nobody knows."""
    state = STATE.get(name)
    return None if state is None else 4 * state(settings, dims)
