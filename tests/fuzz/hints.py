"""What each operator may be given: its names and kinds are the table's, values that often fit are here.

Nothing here decides whether a use is right; torch does. A new operator needs no hint unless its tensors must fit each
other in a way of their own.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from fuzz.terms import Dtype, Operate, Recipe, Ref, Refs, Sym

if TYPE_CHECKING:
    from fuzz.generate import Builder

Values = dict[str, Any]
Hint = Callable[["Builder", Any, Any], Values]
"""From the builder, the operator and what flows (or none) to tensors and settings by torch's names."""

FLOAT = ("f32", "f32", "f32", "f32", "f64", "bf16")
ANY = ("f32", "f32", "f32", "f64", "i64", "i32", "u8", "bool", "bf16")


def use_of(b: "Builder", entry: Any, flow: Any = None) -> tuple[Any, Operate]:
    """A use of an operator: the head of a chain, and the stage that follows it."""
    values = hint_of(entry.name)(b, entry, flow)
    return spelled(b, entry, values)


@cache
def hint_of(name: str) -> Hint:
    """How an operator's values are chosen."""
    if name in HINTS:
        return HINTS[name]
    for pattern, hint in PATTERNS:
        if re.fullmatch(pattern, name):
            return hint
    return anything


# ------------------------------------------------------------------------------------------------ spelling


def spelled(b: "Builder", entry: Any, values: Values) -> tuple[Any, Operate]:
    """A call with these values, in one of the ways to write it."""
    values = dict(values)
    if entry.kind == "function":
        return _function(b, entry, values)
    piped = []
    for param in entry.arguments:
        if not param.tensor or param.name not in values:
            break
        value = values[param.name]
        if not isinstance(value, Ref) or (not param.required and b.d.chance(0.5)):
            break
        piped.append(values.pop(param.name))
    positional = []
    for param in entry.positional:
        if param.by_name or param.name not in values or (param.name != entry.positional[0].name and b.d.chance(0.25)):
            break
        positional.append(values.pop(param.name))
    return Refs(piped), Operate(entry.name, is_function=False, positional=positional, named=values)


def _function(b: "Builder", entry: Any, values: Values) -> tuple[Any, Operate]:
    for param in entry.arguments:
        if param.rest and param.name in values:
            values |= values.pop(param.name)
    order = [param for param in entry.positional if not param.rest]
    first = order[0] if order else None
    head: Any = None
    if first is not None and first.tensor and isinstance(values.get(first.name), Ref) and b.d.chance(0.7):
        piped = [values.pop(first.name)]
        order = order[1:]
        while order and order[0].tensor and isinstance(values.get(order[0].name), Ref) and b.d.chance(0.15):
            piped.append(values.pop(order.pop(0).name))
        head = Refs(piped)
    positional: list[Any] = []
    for param in order:
        if param.name not in values or (not param.required and (param.tensor or b.d.chance(0.4))):
            break  # a tensor that is not required has its name: written in its place, it could be the leading one
        value = values.pop(param.name)
        if param.variadic and isinstance(value, list | tuple):
            spread = b.d.chance(0.5) or param.tensor
            positional += value if spread and value else [list(value)]
            break
        positional.append(value)
    stage = Operate(entry.name, is_function=True, positional=positional, named=values, flows=head is not None)
    return head, stage


# ------------------------------------------------------------------------------------------------ values by name


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


# ------------------------------------------------------------------------------------------------ hints


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


def first_of(
    b: "Builder", flow: Any, ranks: tuple[int, ...], dtypes: tuple[str, ...] = FLOAT, known: tuple[int, ...] = ()
) -> Ref:
    return flow or b.tensor(ranks, dtypes, known=known)


def convolution(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (spatial(entry.name) + 2,), ("f32", "f32", "f32", "f64"), known=(1,))
    shape = b.shape(x)
    chosen = settings(b, entry, shape, {"input": x})
    groups = chosen.get("groups", 1)
    if b.d.chance(0.92):
        chosen["out_channels"] = groups * b.d.integer(1, 3)
    return chosen


def conv_function(b: "Builder", entry: Any, flow: Any) -> Values:
    n = spatial(entry.name)
    x = first_of(b, flow, (n + 2,), ("f32", "f32", "f64"), known=(1,))
    shape = b.shape(x)
    channels = shape[1] if len(shape) > 1 else 2
    groups = divisor(b, channels) if b.d.chance(0.3) else 1
    out = groups * b.d.integer(1, 3)
    kernel = tuple(b.d.integer(1, 3) for _ in range(n))
    transposed = "transpose" in entry.name
    dims = (channels, out // groups, *kernel) if transposed else (out, max(channels // groups, 1), *kernel)
    given: Values = {"input": x, "weight": b.tensor(dtypes=_dtype(b, x), dims=dims)}
    if b.d.chance(0.3):
        given["bias"] = b.tensor(dtypes=_dtype(b, x), dims=(out,))
    chosen = settings(b, entry, shape, given)
    chosen.pop("groups", None)
    return {**chosen, "groups": groups} if groups > 1 else chosen


def _dtype(b: "Builder", ref: Ref) -> tuple[str, ...]:
    from fuzz.terms import NAMES

    return (NAMES[b.real(ref).dtype],)


def weighted(b: "Builder", entry: Any, flow: Any) -> Values:
    """linear, layer_norm, group_norm, batch_norm, prelu: weights whose sizes follow from the input."""
    x = first_of(b, flow, (2, 3, 4), known=(1, -1))
    shape = b.shape(x)
    same = _dtype(b, x)
    given: Values = {"input": x}
    if entry.name == "linear":
        out = b.d.integer(1, 5)
        given["weight"] = b.tensor(dtypes=same, dims=(out, shape[-1]))
        if b.d.chance(0.4):
            given["bias"] = b.tensor(dtypes=same, dims=(out,))
        return given
    if entry.name in ("layer_norm", "rms_norm"):
        tail = shape[b.d.integer(1, len(shape) - 1) :]
        given["normalized_shape"] = list(b.symbolic(tail))
        dims: Any = b.symbolic(tail)
    else:
        dims = b.symbolic((shape[1],))
    if entry.name == "group_norm":
        given["num_groups"] = divisor(b, shape[1])
    if entry.name == "prelu":
        return {**given, "weight": b.tensor(dtypes=same, dims=dims if b.d.chance(0.7) else (1,))}
    if entry.name in ("batch_norm", "instance_norm"):
        given |= {name: b.tensor(dtypes=same, dims=dims) for name in ("running_mean", "running_var")}
    for param in entry.arguments:
        if param.name in ("weight", "bias") and b.d.chance(0.4):
            given[param.name] = b.tensor(dtypes=same, dims=dims)
    return given


def embedding(b: "Builder", entry: Any, flow: Any) -> Values:
    count = b.d.choice((5, 8, 10))
    dims = tuple(b.size() for _ in range(2 if "Bag" in entry.name else b.d.integer(1, 2)))
    given: Values = {"input": b.indices(dims, count)}
    if entry.kind == "function":
        return {**given, "weight": b.tensor(dtypes=("f32",), dims=(count, b.d.integer(1, 4)))}
    chosen = settings(b, entry, (), {**given, "num_embeddings": count, "embedding_dim": b.d.integer(1, 4)})
    chosen.pop("offsets", None)
    return chosen


def recurrent(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (3,), ("f32", "f32", "f64"), known=(2,))
    shape = b.shape(x)
    chosen = settings(b, entry, shape, {"input": x, "hidden_size": b.d.integer(2, 4)})
    if chosen.get("proj_size"):
        chosen["proj_size"] = b.d.integer(1, 2)
    if b.d.chance(0.25) and len(shape) == 3:
        batch = shape[0 if chosen.get("batch_first") else 1]
        layers = chosen.get("num_layers", 1) * (2 if chosen.get("bidirectional") else 1)
        sizes = b.symbolic((layers, batch))
        width = chosen.get("proj_size") or chosen["hidden_size"]
        same = _dtype(b, x)
        hx = b.tensor(dtypes=same, dims=(*sizes, width))
        if entry.name == "LSTM":
            chosen["hx"] = [hx, b.tensor(dtypes=same, dims=(*sizes, chosen["hidden_size"]))]
        else:
            chosen["hx"] = hx
    return chosen


def attention(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (3,), ("f32", "f32", "f64"), known=(2,))
    shape = b.shape(x)
    names = [param.name for param in entry.arguments if param.tensor]
    chosen = settings(b, entry, shape, {names[0]: x})
    chosen = {name: part for name, part in chosen.items() if name not in ("is_causal", "kdim", "vdim")}
    first = 0 if chosen.get("batch_first") else 1
    if len(shape) != 3:
        return chosen
    batch, length = shape[first], shape[1 - first]
    source = length
    same = _dtype(b, x)
    if names[0] == "query" and b.d.chance(0.5):
        source = b.d.choice((3, 4, length))
        pair = (batch, source) if first == 0 else (source, batch)
        width = shape[2] if b.d.chance(0.7) else 4
        chosen["key"] = b.tensor(dtypes=same, dims=b.symbolic((*pair, width)))
        if b.d.chance(0.6):
            chosen["value"] = b.tensor(dtypes=same, dims=b.symbolic((*pair, width)))
    if "memory" in names:
        pair = (batch, 3) if first == 0 else (3, batch)
        chosen["memory"] = b.tensor(dtypes=same, dims=b.symbolic((*pair, shape[2])))
    masks = [name for name in names if name.endswith("mask")]
    for name in masks:
        if b.d.chance(0.2) and "memory" not in name:
            dims = (batch, source) if "padding" in name else (length, source)
            chosen[name] = b.tensor(dtypes=("bool", *same), dims=b.symbolic(dims))
    return chosen


def attended(b: "Builder", entry: Any, flow: Any) -> Values:
    q = first_of(b, flow, (3, 4), ("f32", "f32", "f64"))
    shape = b.symbolic(b.shape(q))
    same = _dtype(b, q)
    source = b.size()
    k = b.tensor(dtypes=same, dims=(*shape[:-2], source, shape[-1]))
    v = b.tensor(dtypes=same, dims=(*shape[:-2], source, b.d.choice((shape[-1], 4))))
    given: Values = {"query": q, "key": k, "value": v}
    if b.d.chance(0.3):
        given["attn_mask"] = b.tensor(dtypes=("bool", *same), dims=(shape[-2], source))
    elif b.d.chance(0.4):
        given["is_causal"] = True
    return given


def bilinear(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3), ("f32", "f64"), known=(-1,))
    dims = (*b.symbolic(b.shape(x)[:-1]), b.d.integer(1, 6))
    y = b.tensor(dtypes=_dtype(b, x), dims=dims)
    names = [param.name for param in entry.arguments]
    found: Values = {names[0]: x, names[1]: y}
    return settings(b, entry, b.shape(x), found)


def classes(b: "Builder", entry: Any, flow: Any) -> Values:
    """Losses over classes: outputs [N, C, ...] and indices [N, ...], or probabilities."""
    x = first_of(b, flow, (2, 2, 3, 4), ("f32", "f32", "f32", "f64"), known=(1,))
    shape = b.symbolic(b.shape(x))
    count = b.shape(x)[1] if len(shape) > 1 else 1
    names = [param.name for param in entry.arguments if param.tensor]
    if "cross" in entry.name.lower() and b.d.chance(0.25):
        target = b.like(x)
    else:
        target = b.indices((*shape[:1], *shape[2:]), count)
    given = {names[0]: x, names[1]: target}
    if b.d.chance(0.25):
        given["weight"] = [0.5] * (count if b.d.chance(0.9) else count + 1)
    chosen = settings(b, entry, b.shape(x), given)
    if "p" in chosen:
        chosen["p"] = b.d.choice((1, 2))
    return chosen


def pairs(b: "Builder", entry: Any, flow: Any) -> Values:
    """Losses over tensors of one shape."""
    x = first_of(b, flow, (1, 2, 2, 3, 4), ("f32", "f32", "f32", "f64", "i64"))
    given: Values = {}
    for param in entry.arguments:
        if param.tensor and param.required:
            same = FLOAT if b.d.chance(0.05) else _dtype(b, x)
            given[param.name] = b.like(x, same) if given else x
    if "osine" in entry.name and "target" in given:
        given["target"] = b.tensor(dtypes=("f32", "i64"), dims=b.symbolic(b.shape(x)[:-1]))
    if any(param.name == "p" for param in (*entry.settings, *entry.arguments)):
        given["p"] = 2.0
    if "abel_margin" in entry.name or "LabelMargin" in entry.name:
        given["target"] = b.like(x, ("i64",))
    if "DistanceLoss" in entry.name and b.d.chance(0.6):
        given["distance_function"] = Recipe("PairwiseDistance", (("p", 1.0),))
    return settings(b, entry, b.shape(x), given)


def ctc(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor((3,), ("f32",), known=(2,))
    _, batch, count = b.symbolic(b.shape(x))
    lengths = [b.fresh("i64", (batch,)) for _ in range(2)]
    names = [param.name for param in entry.arguments if param.tensor]
    target = b.indices((batch, 3), count if isinstance(count, int) else 2)
    return settings(b, entry, (), dict(zip(names, [x, target, *lengths], strict=True)))


def products(b: "Builder", entry: Any, flow: Any) -> Values:
    """Matrix products: sizes that meet inside."""
    name = entry.name
    names = [param.name for param in entry.arguments if param.tensor]
    dtypes = ("f32", "f32", "f32", "f64", "i64")
    inner, rows, columns, batch = b.size(), b.size(), b.size(), b.size()
    shapes: dict[str, list[tuple[Any, ...]]] = {
        "mm": [(rows, inner), (inner, columns)],
        "bmm": [(batch, rows, inner), (batch, inner, columns)],
        "mv": [(rows, inner), (inner,)],
        "dot": [(inner,), (inner,)],
        "vdot": [(inner,), (inner,)],
        "outer": [(rows,), (columns,)],
        "ger": [(rows,), (columns,)],
        "addmm": [(rows, columns), (rows, inner), (inner, columns)],
        "addmv": [(rows,), (rows, inner), (inner,)],
        "addr": [(rows, columns), (rows,), (columns,)],
        "baddbmm": [(batch, rows, columns), (batch, rows, inner), (batch, inner, columns)],
        "addbmm": [(rows, columns), (batch, rows, inner), (batch, inner, columns)],
        "cdist": [(batch, rows, inner), (batch, columns, inner)],
        "matmul": [
            b.d.choice([(inner,), (rows, inner), (batch, rows, inner)]),
            b.d.choice([(inner,), (inner, columns), (batch, inner, columns)]),
        ],
    }
    sizes = shapes.get(name, [(batch, inner)] * len(names))
    first = b.tensor(dtypes=dtypes, dims=sizes[0])
    found: Values = {names[0]: first}
    for other, dims in zip(names[1:], sizes[1:], strict=False):
        found[other] = b.tensor(dtypes=_dtype(b, first) if b.d.chance(0.95) else dtypes, dims=dims)
    chosen = settings(b, entry, b.shape(first), found)
    return {**chosen, "p": b.d.choice((1.0, 2.0))} if "p" in chosen else chosen


def joined(b: "Builder", entry: Any, flow: Any) -> Values:
    """cat and stack: tensors that differ in the joined dimension at most."""
    x = b.tensor((1, 2, 3, 4), ANY)
    shape = list(b.symbolic(b.shape(x)))
    along = b.d.integer(0, max(len(shape) - 1, 0))
    others = []
    for _ in range(b.d.integer(0, 2)):
        dims = list(shape)
        if "stack" not in entry.name and dims and b.d.chance(0.5):
            dims[along] = b.size()
        others.append(b.tensor(dtypes=ANY if b.d.chance(0.1) else _dtype(b, x), dims=tuple(dims)))
    names = [param.name for param in entry.arguments]
    found: Values = {names[0]: [x, *others]}
    if "dim" in names and b.d.chance(0.8):
        found["dim"] = along - (len(shape) if b.d.chance(0.2) and "stack" not in entry.name else 0)
    return found


def gathering(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions with a tensor of indices."""
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    found: Values = {entry.arguments[0].name: x, "dim": at - (len(shape) if b.d.chance(0.2) else 0)}
    bound = shape[at]
    dims = list(b.symbolic(shape))
    dims[at] = b.size()
    if entry.name in ("index_select", "index_add", "index_copy", "index_fill"):
        found["index"] = b.indices((dims[at],), bound)
    else:
        names = [param.name for param in entry.arguments]
        found["index" if "index" in names else "indices"] = b.indices(tuple(dims), bound)
    for name in ("src", "source"):
        if any(param.name == name for param in entry.arguments):
            found[name] = b.tensor(dtypes=_dtype(b, x), dims=tuple(dims))
    return settings(b, entry, shape, found)


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


def reshaped(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3, 4), ANY)
    shape = b.shape(x)
    name = entry.arguments[1].name if entry.kind == "function" else "unflattened_size"
    if "nflatten" in entry.name:
        at = b.d.integer(0, len(shape) - 1) if shape else 0
        parts = [1]
        if shape:
            parts = factors(b, shape[at])
        if entry.kind == "function":
            name = "sizes"
        return {entry.arguments[0].name: x, "dim": at - (len(shape) if b.d.chance(0.2) else 0), name: parts}
    if b.d.chance(0.5):
        # The first dimensions stay, the rest is taken together: how it is mostly written.
        kept = b.d.integer(0, len(shape))
        return {entry.arguments[0].name: x, name: [*b.symbolic(shape[:kept]), -1]}
    count = 1
    for size in shape:
        count *= size
    return {entry.arguments[0].name: x, name: factors(b, count)}


def expanded(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (0, 1, 2, 3), ANY)
    shape = b.shape(x)
    new = (*b.visible(), 1, 2, 3, 4)
    dims = [b.d.choice(new) if size == 1 else b.d.choice((-1, b.written(size), b.written(size))) for size in shape]
    dims = [b.d.choice(new) for _ in range(b.d.integer(0, 1))] + dims
    return {"input": x, entry.arguments[1].name: dims}


def ordered(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3, 4), ANY)
    left = list(range(len(b.shape(x))))
    found = []
    while left:
        at = left.pop(b.d.integer(0, len(left) - 1))
        found.append(at - len(b.shape(x)) if b.d.chance(0.2) else at)
    if entry.name == "flip":
        found = found[: b.d.integer(0, len(found))]
    return {"input": x, "dims": found}


def tiled(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    return {"input": x, "dims": [b.d.integer(1, 3) for _ in range(b.d.integer(1, 3))]}


def split(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    size = shape[at]
    parts: Any = b.d.integer(1, max(size, 1))
    if b.d.chance(0.5) and size > 1:
        cut = b.d.integer(1, size - 1)
        parts = [cut, size - cut]
        if b.written(size) != size:
            parts = parts if b.d.chance(0.3) else [b.written(size), 0]
    return {"tensor": x, "split_size_or_sections": parts, "dim": at}


def padded(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3, 4), FLOAT)
    rank = len(b.shape(x))
    mode = b.d.choice(("constant", "constant", "reflect", "replicate", "circular"))
    count = b.d.integer(1, rank) if mode == "constant" else max(rank - 2, 1)
    return {"input": x, "pad": [b.d.integer(-1, 2) for _ in range(2 * count)], "mode": mode}


def resized(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (3, 4, 4, 5), ("f32", "f32", "f64"))
    rank = len(b.shape(x))
    n = max(rank - 2, 1)
    smooth = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(n, "linear")
    mode = b.d.choice(("nearest", "nearest", smooth, smooth, "area", "nearest-exact", "bicubic"))
    found: Values = {entry.arguments[0].name: x, "mode": mode}
    if b.d.chance(0.5):
        found["size"] = per_side(b, n, 1, 6)
    else:
        found["scale_factor"] = b.d.choice((2, 2, 2.0, 0.5, 1.5, [2.0] * n))
    if mode in ("linear", "bilinear", "trilinear", "bicubic") and b.d.chance(0.4):
        found["align_corners"] = b.d.chance(0.5)
    return found


def created(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions that make a tensor from none."""
    dims = [b.d.choice((*b.visible(), 1, 2, 3, 4)) for _ in range(b.d.integer(1, 3))]
    name, found = entry.name, dict[str, Any]()
    if name == "arange":
        found = (
            {"start": b.d.choice((*b.visible(), 3, 5))}
            if b.d.chance(0.6)
            else {"start": 1, "end": b.d.choice((4, 7)), "step": b.d.choice((1, 2))}
        )
    elif name == "eye":
        found = {"n": dims[0], **({"m": dims[-1]} if b.d.chance(0.4) else {})}
    elif name in ("linspace", "logspace"):
        found = {"start": 0, "end": 1, "steps": dims[0]}
    elif name == "tensor":
        found = {"data": b.d.choice((1.5, 2, True, [1, 2, 3], [1.0, 2.0], [[1, 2], [3, 4]], [[0.5]]))}
    elif name == "full":
        found = {"size": dims, "fill_value": b.d.choice((1, 0.5, True))}
    elif name == "randint":
        found = {"high": b.d.choice((3, 10)), "size": dims}
    elif name == "randperm":
        found = {"n": dims[0]}
    elif name == "normal":
        found = {"mean": 0.0, "std": 1.0, "size": dims}
    elif any(param.name == "size" for param in entry.arguments):
        found = {"size": dims}
    else:
        return anything(b, entry, flow)
    if b.d.chance(0.3) and any(param.name == "dtype" for param in entry.arguments):
        found["dtype"] = Dtype(b.d.choice(("f32", "f64", "i64", "bf16")))
    return found


def einsum(b: "Builder", entry: Any, flow: Any) -> Values:
    i, j, k, n = (b.size() for _ in range(4))
    equation, dims = b.d.choice(
        (
            ("i j, j k -> i k", [(i, j), (j, k)]),
            ("n i j, n j k -> n i k", [(n, i, j), (n, j, k)]),
            ("n i j -> n j i", [(n, i, j)]),
            ("i j -> i", [(i, j)]),
            ("i, j -> i j", [(i,), (j,)]),
            ("... i, i -> ...", [(n, i), (i,)]),
            ("n i d, n j d -> n i j", [(n, i, k), (n, j, k)]),
        )
    )
    return {"equation": equation, "operands": [b.tensor(dtypes=("f32",), dims=part) for part in dims]}


def rearranged(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3, 4), ANY)
    shape = b.shape(x)
    names = ["a", "b", "c", "d"][: len(shape)]
    left, axes_, sizes = [], list(names), {}
    for name, size in zip(names, shape, strict=True):
        if b.d.chance(0.3) and size % 2 == 0:
            left.append(f"({name} s{name})")
            axes_.append(f"s{name}")
            sizes[b.d.choice((name, f"s{name}"))] = 2
        else:
            left.append(name)
    right = []
    while axes_:
        taken = axes_.pop(b.d.integer(0, len(axes_) - 1))
        if axes_ and b.d.chance(0.25):
            taken = f"({taken} {axes_.pop()})"
        right.append(taken)
    return {"input": x, "pattern": f"{' '.join(left)} -> {' '.join(right)}", "axes": sizes}


def selected(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    shape = b.shape(x)
    at = b.d.integer(0, len(shape) - 1)
    size = shape[at]
    if entry.name == "select":
        return {"input": x, "dim": at, "index": b.d.integer(-size, max(size - 1, 0))}
    start = b.d.integer(0, max(size - 1, 0))
    return {"input": x, "dim": at, "start": start, "length": b.d.integer(0, max(size - start, 0))}


def where(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor((1, 2, 3), ANY)
    condition = b.near(x, ("bool",))
    other = b.d.choice((2, 0.5)) if b.d.chance(0.3) else b.near(x, ANY)
    if entry.name == "masked_fill":
        return {"input": x, "mask": condition, "value": b.d.choice((0.0, 1, True))}
    return {"condition": condition, "input": x, "other": other}


def one_hot(b: "Builder", entry: Any, flow: Any) -> Values:
    count = b.d.choice((4, 10))
    return {"tensor": b.fresh("i64", (b.size(),), count), **({"num_classes": count} if b.d.chance(0.7) else {})}


def folding(b: "Builder", entry: Any, flow: Any) -> Values:
    kernel, out = b.d.choice((1, 2, 3)), b.d.choice((4, 6))
    blocks = (out - kernel + 1) ** 2
    channels = b.d.choice((1, 2)) * kernel * kernel
    x = b.tensor(dtypes=("f32",), dims=(b.size(), channels, blocks))
    return {"input": x, "output_size": out, "kernel_size": kernel}


def grid(b: "Builder", entry: Any, flow: Any) -> Values:
    if entry.name == "affine_grid":
        theta = b.tensor(dtypes=("f32",), dims=(b.size(), 2, 3))
        n = b.symbolic(b.shape(theta))[0]
        return {"theta": theta, "size": [n, 3, 4, b.d.integer(1, 5)], "align_corners": False}
    x = first_of(b, flow, (4,), ("f32", "f64"))
    g = b.tensor(dtypes=_dtype(b, x), dims=(*b.symbolic(b.shape(x)[:1]), b.size(), b.size(), 2))
    return settings(b, entry, (), {"input": x, "grid": g, "align_corners": b.d.chance(0.5)})


def logical(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ("bool", "bool", "f32", "i64"))
    return settings(b, entry, b.shape(x), {entry.arguments[0].name: x})


def repeated(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    found: Values = {"input": x, "repeats": b.d.integer(0, 3)}
    return {**found, "dim": axis(b, len(b.shape(x)))} if b.d.chance(0.7) else found


def rolled(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2, 3), ANY)
    return {"input": x, "shifts": b.d.integer(-3, 3), **({"dims": axis(b, len(b.shape(x)))} if b.d.chance(0.8) else {})}


def drawn(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (1, 2), ("f32", "f64"))
    return {"input": x, "num_samples": b.d.integer(1, 3), "replacement": b.d.chance(0.5)}


def unflattened(b: "Builder", entry: Any, flow: Any) -> Values:
    found = reshaped(b, entry, flow)
    return {**found, "dim": found["dim"]}


def transformer(b: "Builder", entry: Any, flow: Any) -> Values:
    """Stacks of transformer layers."""
    x = first_of(b, flow, (3,), ("f32",), known=(2,))
    shape = b.shape(x)
    heads = divisor(b, shape[2])
    first = b.d.chance(0.7)
    names = [param.name for param in entry.arguments if param.tensor and param.required]
    given: Values = {names[0]: x}
    if len(names) > 1:
        dims = (shape[0], 3, shape[2]) if first else (3, shape[1], shape[2])
        given[names[1]] = b.tensor(dtypes=("f32",), dims=b.symbolic(dims))
    if entry.name == "Transformer":
        return {
            **given,
            "nhead": heads,
            "batch_first": first,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "dim_feedforward": 4,
        }
    inner = Recipe(f"{entry.name}Layer", (("nhead", heads), ("batch_first", first), ("dim_feedforward", 4)))
    norm = {"norm": Recipe("LayerNorm")} if b.d.chance(0.5) else {}
    return {**given, entry.settings[0].name: inner, "num_layers": b.d.integer(1, 2), **norm}


def unpooled(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (spatial(entry.name) + 2,), ("f32",))
    return settings(
        b, entry, b.shape(x), {"input": x, "indices": b.like(x, ("i64",)), "kernel_size": b.d.integer(1, 3)}, 0.1
    )


def bilinear_function(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3), ("f32",))
    shape = b.symbolic(b.shape(x))
    width, out = b.d.integer(1, 4), b.d.integer(1, 4)
    y = b.tensor(dtypes=("f32",), dims=(*shape[:-1], width))
    return {"input1": x, "input2": y, "weight": b.tensor(dtypes=("f32",), dims=(out, shape[-1], width))}


def whole(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions of whole numbers."""
    x = first_of(b, flow, (1, 2, 3), ("i64", "i64", "i32", "bool", "u8"))
    given: Values = {}
    for param in entry.arguments:
        if param.tensor and param.required:
            given[param.name] = (b.near(x, ("i64", "i32")) if b.d.chance(0.7) else b.like(x)) if given else x
    return settings(b, entry, b.shape(x), given)


def several(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions of any number of tensors."""
    if entry.name in ("meshgrid", "cartesian_prod"):
        found: Values = {"tensors": [b.tensor((1,), ("f32",)) for _ in range(b.d.integer(2, 3))]}
        return {**found, "indexing": b.d.choice(("ij", "xy"))} if entry.name == "meshgrid" else found
    x = b.tensor((1, 2), ANY)
    others = [b.near(x, _dtype(b, x)) for _ in range(b.d.integer(1, 2))]
    return {entry.arguments[0].name: [x, *others]}


def matrix(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2,), ("f32", "f64"))
    return settings(b, entry, b.shape(x), {entry.arguments[0].name: x})


def crossed(b: "Builder", entry: Any, flow: Any) -> Values:
    x = b.tensor(dtypes=("f32", "f64"), dims=(None, 3))
    return {"input": x, "other": b.like(x), "dim": b.d.choice((1, -1))}


def scattered(b: "Builder", entry: Any, flow: Any) -> Values:
    """Functions that write into a part of a tensor."""
    x = first_of(b, flow, (2, 3), ("f32", "i64"))
    shape = list(b.symbolic(b.shape(x)))
    same = _dtype(b, x)
    at = b.d.integer(0, len(shape) - 1)
    bound = b.shape(x)[at]
    rest = shape[:at] + shape[at + 1 :]
    count = b.d.integer(1, 3)
    match entry.name:
        case "diagonal_scatter":
            side = min(b.shape(x)[:2])
            return {"input": x, "src": b.tensor(dtypes=same, dims=(*shape[2:], b.written(side)))}
        case "select_scatter":
            return {"input": x, "src": b.tensor(dtypes=same, dims=tuple(rest)), "dim": at, "index": 0}
        case "index_fill":
            return {"input": x, "dim": at, "index": b.indices((count,), bound), "value": b.d.choice((0.0, 1))}
        case "index_put":
            bound = b.shape(x)[0]
            values_ = b.tensor(dtypes=same, dims=(count, *shape[1:]))
            return {"input": x, "indices": [b.indices((count,), bound)], "values": values_}
        case "put":
            return {"input": x, "index": b.indices((count,), 1), "source": b.tensor(dtypes=same, dims=(count,))}
    return anything(b, entry, flow)


def unravelled(b: "Builder", entry: Any, flow: Any) -> Values:
    return {"indices": b.tensor((1, 2), ("i64",)), "shape": [b.d.integer(1, 4), b.d.integer(1, 4)]}


NO_META = {
    "CTCLoss", "ctc_loss", "GaussianNLLLoss", "gaussian_nll_loss", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "MultiLabelMarginLoss", "multilabel_margin_loss", "binomial",
    "corrcoef", "cov", "unravel_index", "lcm", "gcd",
}  # fmt: skip
"""They have no kernel for the meta device, or look at the numbers of their tensors."""


HINTS: dict[str, Hint] = {
    **dict.fromkeys(("Transformer", "TransformerEncoder", "TransformerDecoder"), transformer),
    "bilinear": bilinear_function, "cross": crossed, "cov": matrix, "corrcoef": matrix, "unravel_index": unravelled,
    **dict.fromkeys(("diagonal_scatter", "select_scatter", "index_fill", "index_put", "put"), scattered),
    **dict.fromkeys(("broadcast_tensors", "meshgrid", "cartesian_prod", "block_diag"), several),

    "linear": weighted, "layer_norm": weighted, "rms_norm": weighted, "group_norm": weighted, "batch_norm": weighted,
    "prelu": weighted, "Embedding": embedding, "EmbeddingBag": embedding, "embedding": embedding,
    "RNN": recurrent, "LSTM": recurrent, "GRU": recurrent, "MultiheadAttention": attention,
    "TransformerEncoderLayer": attention, "TransformerDecoderLayer": attention,
    "scaled_dot_product_attention": attended, "Bilinear": bilinear,
    "CrossEntropyLoss": classes, "cross_entropy": classes, "NLLLoss": classes, "nll_loss": classes,
    "MultiMarginLoss": classes, "multi_margin_loss": classes, "CTCLoss": ctc, "ctc_loss": ctc,
    "cat": joined, "concat": joined, "concatenate": joined, "stack": joined, "hstack": joined, "vstack": joined,
    "dstack": joined, "column_stack": joined, "row_stack": joined,
    "index_select": gathering, "gather": gathering, "take_along_dim": gathering, "scatter": gathering,
    "scatter_add": gathering, "index_add": gathering, "reshape": reshaped, "view": reshaped, "unflatten": unflattened,
    "Unflatten": unflattened, "expand": expanded, "broadcast_to": expanded, "permute": ordered, "flip": ordered,
    "tile": tiled, "split": split, "pad": padded, "interpolate": resized, "Upsample": resized, "einsum": einsum,
    "rearrange": rearranged, "select": selected, "narrow": selected, "where": where, "masked_fill": where,
    "one_hot": one_hot, "fold": folding, "Fold": folding, "grid_sample": grid, "affine_grid": grid, "all": logical,
    "any": logical, "repeat_interleave": repeated, "roll": rolled, "multinomial": drawn,
    **dict.fromkeys(
        ("matmul", "mm", "bmm", "mv", "dot", "vdot", "outer", "ger", "addmm", "addmv", "addr", "baddbmm", "addbmm",
         "cdist"),
        products,
    ),
    **dict.fromkeys(
        ("arange", "zeros", "ones", "full", "eye", "linspace", "logspace", "tensor", "rand", "randn", "randint",
         "randperm", "normal"),
        created,
    ),
}  # fmt: skip

PATTERNS: tuple[tuple[str, Hint], ...] = (
    (r"Conv(Transpose)?[123]d", convolution),
    (r"conv(_transpose)?[123]d", conv_function),
    (r"(MaxUnpool|max_unpool)[123]d", unpooled),
    (r"bitwise_.*|gcd|lcm", whole),
    (r".*Loss|.*_loss|.*_entropy|.*_with_logits|kl_div", pairs),
)
