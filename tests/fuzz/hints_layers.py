"""What layers, and functions with weights, may be given."""

from typing import TYPE_CHECKING, Any

from fuzz.spelling import Values
from fuzz.terms import Recipe
from fuzz.values import FLOAT, divisor, dtype_of, first_of, per_side, settings, spatial

if TYPE_CHECKING:
    from fuzz.generate import Builder


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
    given: Values = {"input": x, "weight": b.tensor(dtypes=dtype_of(b, x), dims=dims)}
    if b.d.chance(0.3):
        given["bias"] = b.tensor(dtypes=dtype_of(b, x), dims=(out,))
    chosen = settings(b, entry, shape, given)
    chosen.pop("groups", None)
    return {**chosen, "groups": groups} if groups > 1 else chosen


def weighted(b: "Builder", entry: Any, flow: Any) -> Values:
    """linear, layer_norm, group_norm, batch_norm, prelu: weights whose sizes follow from the input."""
    x = first_of(b, flow, (2, 3, 4), known=(1, -1))
    shape = b.shape(x)
    same = dtype_of(b, x)
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
    dims = tuple(b.size() for _ in range(2 if "bag" in entry.name.lower() else b.d.integer(1, 2)))
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
        same = dtype_of(b, x)
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
    same = dtype_of(b, x)
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
    same = dtype_of(b, q)
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
    y = b.tensor(dtypes=dtype_of(b, x), dims=dims)
    names = [param.name for param in entry.arguments]
    found: Values = {names[0]: x, names[1]: y}
    return settings(b, entry, b.shape(x), found)


def bilinear_function(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3), ("f32",))
    shape = b.symbolic(b.shape(x))
    width, out = b.d.integer(1, 4), b.d.integer(1, 4)
    y = b.tensor(dtypes=("f32",), dims=(*shape[:-1], width))
    return {"input1": x, "input2": y, "weight": b.tensor(dtypes=("f32",), dims=(out, shape[-1], width))}


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


def over_time(b: "Builder", entry: Any, flow: Any) -> Values:
    """conv_tbc: time first, and weights of its own."""
    x = first_of(b, flow, (3,), ("f32",), known=(2,))
    out = b.d.integer(1, 3)
    weight = b.tensor(dtypes=("f32",), dims=(b.d.integer(1, 3), b.shape(x)[2], out))
    return {"input": x, "weight": weight, "bias": b.tensor(dtypes=("f32",), dims=(out,)), "pad": b.d.integer(0, 2)}


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
    g = b.tensor(dtypes=dtype_of(b, x), dims=(*b.symbolic(b.shape(x)[:1]), b.size(), b.size(), 2))
    return settings(b, entry, (), {"input": x, "grid": g, "align_corners": b.d.chance(0.5)})


def padded(b: "Builder", entry: Any, flow: Any) -> Values:
    x = first_of(b, flow, (2, 3, 4), FLOAT)
    rank = len(b.shape(x))
    mode = b.d.choice(("constant", "constant", "reflect", "replicate", "circular"))
    count = b.d.integer(1, rank) if mode == "constant" else max(rank - 2, 1)
    return {"input": x, "pad": [b.d.integer(-1, 2) for _ in range(2 * count)], "mode": mode}
