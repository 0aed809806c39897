"""What random uses of layers are made of: numbers, tensors, batches."""

from collections.abc import Callable
from random import Random
from typing import Any

from expc.compiler.types import TensorType

Use = tuple[dict[str, Any], dict[str, Any]]
"""Settings and arguments by name."""


def pick(rng: Random, *choices: Any) -> Any:
    return rng.choice(choices)


def some(rng: Random, **settings: Any) -> dict[str, Any]:
    """A random part of `settings`: what is left out has its default."""
    return {name: value for name, value in settings.items() if rng.random() < 0.6}


def per_side(rng: Random, count: int, low: int, high: int) -> int | list[int]:
    """One number, or one for each side."""
    if rng.random() < 0.7:
        return rng.randint(low, high)
    return [rng.randint(low, high) for _ in range(count)]


def dtype(rng: Random) -> str:
    return rng.choice(["f32"] * 8 + ["f64", "f16", "bf16", "i64", "u8", "bool"])


def tensor(rng: Random, rank: int, *, largest: int = 6, of: str | None = None, exact: bool = False) -> TensorType:
    """A small tensor, sometimes of another rank and, unless `of` is given, of another dtype than f32."""
    if not exact and rng.random() < 0.1:
        rank = max(0, rank + rng.choice([-2, -1, 1]))
    return TensorType(of or dtype(rng), tuple(rng.randint(1, largest) for _ in range(rank)))


def space(rng: Random, count: int, *, of: str | None = None) -> TensorType:
    """A batch over `count` spatial dimensions."""
    x = tensor(rng, count + 2, of=of)
    return x.with_dims(
        *(size if axis < 2 else rng.randint(1, 5 if count == 3 else 9) for axis, size in enumerate(x.dims))
    )


def alone(
    make: Callable[[Random], dict[str, Any]], rank: int | tuple[int, ...], name: str = "input"
) -> Callable[[Random], Use]:
    """Layers over one tensor whose settings do not depend on it."""
    ranks = rank if isinstance(rank, tuple) else (rank,)
    return lambda rng: (make(rng), {name: tensor(rng, rng.choice(ranks))})


def over(count: int, make: Callable[[Random], dict[str, Any]]) -> Callable[[Random], Use]:
    """Layers over a batch with `count` spatial dimensions."""
    return lambda rng: (make(rng), {"input": space(rng, count)})
