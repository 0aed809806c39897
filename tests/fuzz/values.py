"""Values that often fit a setting: by its name where the name is known, else any of its kind."""

import re
from typing import TYPE_CHECKING, Any

from fuzz.spelling import Values
from fuzz.terms import NAMES, Dtype, Ref, Sym

if TYPE_CHECKING:
    from fuzz.generate import Builder

FLOAT = ("f32", "f32", "f32", "f32", "f64", "bf16")
ANY = ("f32", "f32", "f32", "f64", "i64", "i32", "u8", "bool", "bf16")


def spatial(name: str) -> int:
    """How many spatial dimensions an operator is for by its name: `Conv2d` 2; 0 where the name does not say."""
    found = re.search(r"([123])d(?![a-z])", name.replace("atleast", "").lstrip("_") if "atleast" not in name else "")
    return int(found[1]) if found else 0


def per_side(b: "Builder", count: int, low: int, high: int) -> Any:
    if count and b.d.chance(0.25):
        return [b.d.integer(low, high) for _ in range(count)]
    return b.d.integer(low, high)


def axis(b: "Builder", rank: int) -> int:
    rank = max(rank, 1)
    return b.d.integer(-rank, rank - 1) if b.d.chance(0.97) else b.d.choice((rank, -rank - 1))


def axes(b: "Builder", rank: int) -> Any:
    if rank and b.d.chance(0.35):
        return sorted({b.d.integer(0, rank - 1) - (rank if b.d.chance(0.2) else 0) for _ in range(b.d.integer(1, 3))})
    return axis(b, rank)


def divisor(b: "Builder", number: int) -> int:
    if b.d.chance(0.06):
        return b.d.integer(1, 5)
    return b.d.choice([part for part in range(1, max(number, 1) + 1) if number % part == 0] or [1])


POOL = (
    1,
    2,
    3,
    4,
    0,
    -1,
    0.5,
    1.5,
    0.1,
    1e-05,
    8,
    True,
    False,
    None,
    [1, 2],
    [1],
    [1, 1],
    "mean",
    Dtype("f32"),
    Dtype("i64"),
)


def value(b: "Builder", entry: Any, param: Any, shape: tuple[int, ...]) -> Any:
    """A value for a setting: by its name where the name is known, else any of its kind."""
    name, rank, n = param.name, len(shape), spatial(entry.name)
    if param.kind.choices:
        return b.d.choice(param.kind.choices)
    if re.fullmatch(r"dim[012]?|start_dim|end_dim|axis", name) or (name in ("source", "destination")):
        return axes(b, rank) if param.kind.accepts([0]) else axis(b, rank)
    if name == "dims" and not param.variadic:
        return axes(b, rank)
    if name == "kernel_size":
        return per_side(b, n or 2, 1, 3)
    if name == "stride":
        return per_side(b, n or 2, 1, 3)
    if name == "padding":
        if b.d.chance(0.1) and param.kind.accepts("same"):
            return b.d.choice(("same", "valid"))
        return per_side(b, n if not entry.name.endswith(("Pad1d", "Pad2d", "Pad3d")) else 2 * n, 0, 2)
    if name == "dilation":
        return per_side(b, n or 2, 1, 2)
    if name == "output_padding":
        return per_side(b, n, 0, 1)
    if name in ("groups", "num_groups", "num_heads", "nhead", "upscale_factor", "downscale_factor"):
        at = 1 if name in ("groups", "num_groups") else -1
        if name == "upscale_factor":
            return b.d.choice((1, 2, 2, 3))
        return divisor(b, shape[at]) if -rank <= at < rank else 1
    if name in ("out_features", "hidden_size", "embedding_dim", "out_channels", "dim_feedforward", "proj_size"):
        named = [Sym(setting) for setting in b.settings]
        return b.d.choice((*named, *named, 1, 2, 3, 4, 6, 8))
    if name == "num_parameters":
        return shape[1] if rank > 1 and b.d.chance(0.6) else 1
    if name == "normalized_shape":
        tail = list(shape[b.d.integer(0, rank - 1) if rank else 0 :])
        return [b.written(size) for size in tail]
    if name == "output_size":
        return per_side(b, n or 2, 1, 4)
    if name in ("chunks", "k", "repeats", "num_samples", "length", "steps", "n", "m", "num_layers"):
        return b.d.integer(1, 3) if b.d.chance(0.9) else 0
    if name in ("diagonal", "offset", "index", "start", "shifts"):
        return b.d.integer(-2, 2)
    if name == "kind":
        return None
    fitting = [candidate for candidate in POOL if candidate is not None and param.kind.accepts(candidate)]
    if not fitting:
        return None
    return b.d.choice(fitting)


def settings(b: "Builder", entry: Any, shape: tuple[int, ...], given: Values, chance: float = 0.25) -> Values:
    """The required settings, and some of the others."""
    found = dict(given)
    for param in (*entry.settings, *entry.arguments):
        if param.name in found or (param.tensor and param.default is not None and not param.kind.accepts(0.5)):
            continue
        if param.tensor or param.rest or (param.inferred and not b.d.chance(0.04)):
            continue
        if param.required or (not param.inferred and b.d.chance(chance)) or param.inferred:
            if param.inferred and entry.name not in ("LayerNorm", "RMSNorm"):
                continue
            chosen = value(b, entry, param, shape)
            if chosen is not None:
                found[param.name] = chosen
    return {name: entry for name, entry in found.items() if entry is not None}


def known_axes(entry: Any) -> tuple[int, ...]:
    """The axes whose size is a size of weights, which must be known."""
    names = {param.name for param in entry.settings if param.inferred}
    if names & {"in_channels", "num_features", "num_channels", "input_channels"}:
        return (1,)
    return (-1,) if names else ()


def ranks(entry: Any) -> tuple[int, ...]:
    """How many dimensions the input has by the operator's name."""
    n = spatial(entry.name)
    if entry.name.lower().startswith("batchnorm1d"):
        return (2, 3)
    if entry.name == "SqueezeExcitation":
        return (4,)
    return (n + 2,) if n else (1, 2, 2, 3, 3, 4)


def first_of(
    b: "Builder", flow: Any, ranks: tuple[int, ...], dtypes: tuple[str, ...] = FLOAT, known: tuple[int, ...] = ()
) -> Ref:
    return flow or b.tensor(ranks, dtypes, known=known)


def dtype_of(b: "Builder", ref: Ref) -> tuple[str, ...]:
    return (NAMES[b.real(ref).dtype],)


def anything(b: "Builder", entry: Any, flow: Any) -> Values:
    """One tensor, others of its shape, and settings by name and kind."""
    given: Values = {}
    first: Any = None
    layer = entry.kind != "function"
    for param in entry.arguments:
        if not param.tensor or (not param.required and not b.d.chance(0.3)):
            continue
        if param.default is None and layer:
            continue
        if first is None:
            dtypes = FLOAT if layer or spatial(entry.name) or b.d.chance(0.5) else ANY
            first = flow or b.tensor(ranks(entry), dtypes, known=known_axes(entry))
            given[param.name] = first
        elif param.kind.accepts(0.5) and b.d.chance(0.4):
            given[param.name] = b.d.choice((2, 0.5, 1, -1))
        elif b.d.chance(0.6):
            given[param.name] = b.like(first)
        else:
            given[param.name] = b.near(first, ANY if not layer else FLOAT)
    shape = () if first is None else b.shape(first)
    return settings(b, entry, shape, given)


def factors(b: "Builder", number: int) -> list[Any]:
    """Sizes whose product is a number, one of them perhaps left to torch."""
    found: list[Any] = []
    while number > 1 and len(found) < 3 and b.d.chance(0.7):
        part = b.d.choice([part for part in range(1, number + 1) if number % part == 0])
        found.append(b.written(part))
        number //= part
    found.append(b.written(number))
    if b.d.chance(0.4):
        found[b.d.integer(0, len(found) - 1)] = -1
    return found
