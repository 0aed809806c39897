"""Random calls of the functions that do what layers do: attention, convolution, pooling, resizing."""

from collections.abc import Callable
from typing import Any

from function_parts import Random, Values, dims, near, pair, some, t

from expc.compiler.ops import applied, functional, weighted
from expc.compiler.ops.declare import Operator
from expc.compiler.types import TensorType

OPERATORS: dict[str, Operator] = {
    op.name: op for op in (*applied.OPERATORS, *functional.OPERATORS, *weighted.OPERATORS)
}
FLOATS = ("f32", "f32", "f32", "f64", "bf16", "i64")


def attended(r: Random) -> Values:
    batch, q, k, e, v = dims(r, 0, 2), 2, r.choice((2, 3)), 4, r.choice((4, 3))
    dtype = r.choice(("f32", "f32", "f64", "bf16", "i64"))
    values: Values = {
        "query": TensorType(dtype, (*batch, q, e)),
        "key": TensorType(dtype, (*near(r, batch), k, e)),
        "value": TensorType(dtype, (*batch, k if r.random() < 0.95 else 4, v)),
        **some(r, dropout_p=(0.0, 0.5), is_causal=(True, False), scale=(0.5, None)),
    }
    if r.random() < 0.4:
        mask = (*near(r, batch), *r.choice(((q, k), (q, k), (1, k), (q, 1), (2, 4))))
        values["attn_mask"] = TensorType(r.choice(("bool", dtype, dtype, "f32")), mask)
        values.pop("is_causal", None)
    if r.random() < 0.25:
        heads = r.choice((1, 2, 4))
        grouped = {"query": (*batch, 4, q, e), "key": (*batch, heads, k, e), "value": (*batch, heads, k, v)}
        values |= {name: TensorType(dtype, sizes) for name, sizes in grouped.items()}
        values.pop("attn_mask", None)
        values["enable_gqa"] = r.random() < 0.8
    return values


def sides(r: Random, count: int, low: int = 1, high: int = 9) -> tuple[int, ...]:
    return tuple(r.randint(low, high) for _ in range(count))


def each(r: Random, count: int, *choices: int) -> Any:
    """One number for all sides, or a list of them."""
    return r.choice(choices) if r.random() < 0.6 else [r.choice(choices) for _ in range(count)]


def image(r: Random, count: int, dtypes: tuple[str, ...] = FLOATS, channels: int = 4) -> TensorType:
    if r.random() < 0.04:
        return t(r, dims(r, 1, 1), dtypes)
    return t(r, (2, channels, *sides(r, count)), dtypes)


def pooled(r: Random, count: int, dtypes: tuple[str, ...] = FLOATS, **options: Any) -> Values:
    values: Values = {"input": image(r, count, dtypes), "kernel_size": each(r, count, 1, 2, 3, 4)}
    if r.random() < 0.6:
        values["stride"] = each(r, count, 1, 2, 3)
    if r.random() < 0.5:
        values["padding"] = each(r, count, 0, 1, 2)
    return {**values, **some(r, ceil_mode=(True, False), **options)}


def convolved(r: Random, count: int, transposed: bool = False) -> Values:
    groups = r.choice((1, 1, 2, 4, 3))
    dtype = r.choice(("f32", "f32", "f64"))
    into, out = 4, r.choice((2, 4, 8, 3))
    kernel = sides(r, count, 1, 4)
    channels = (into, max(1, out // groups)) if transposed else (out, max(1, into // groups))
    weight = TensorType(dtype if r.random() < 0.95 else "i64", (*channels, *kernel))
    values: Values = {
        "input": image(r, count, (dtype,)),
        "weight": weight,
        "stride": each(r, count, 1, 2, 3),
        "padding": each(r, count, 0, 1, 2) if transposed or r.random() < 0.8 else r.choice(("same", "valid")),
        "dilation": each(r, count, 1, 2),
        "groups": groups,
    }
    if transposed:
        values["output_padding"] = each(r, count, 0, 0, 1, 2)
    if r.random() < 0.5:
        total = channels[1] * groups if transposed else out
        values["bias"] = TensorType(dtype, (total if r.random() < 0.9 else total + 1,))
    return values


def resized(r: Random) -> Values:
    count = r.choice((1, 2, 3))
    fitting = {1: "linear", 2: r.choice(("bilinear", "bicubic")), 3: "trilinear"}[count]
    mode = r.choice(("nearest", "nearest-exact", "area", fitting, fitting, "linear"))
    values: Values = {"input": image(r, count, ("f32", "f32", "f64", "u8", "i64")), "mode": mode}
    if r.random() < 0.5:
        values["size"] = each(r, count, 1, 3, 8)
    if "size" not in values or r.random() < 0.05:
        values["scale_factor"] = r.choice((2, 0.5, 1.5, 3, [2.0] * count, [0.25] * count))
    return {**values, **some(r, antialias=(False, False, True), align_corners=(None, None, None, True, False))}


def multiplied(r: Random) -> Values:
    dtype = r.choice(("f32", "f64", "i64", "bool"))
    values: Values = {"input": TensorType(dtype, (*dims(r, 0, 3), 3)), "weight": TensorType(dtype, (4, 3))}
    if r.random() < 0.1:
        values["weight"] = TensorType(r.choice(("f32", dtype)), r.choice(((4, 2), (3,), (1, 4, 3), (4, 3))))
    if r.random() < 0.5:
        values["bias"] = TensorType(dtype, r.choice(((4,), (4,), (3,))))
    return values


def looked_up(r: Random) -> Values:
    index = TensorType(r.choice(("i64", "i64", "i32", "f32")), dims(r, 0), r.choice((3, 4, 5)))
    weight = TensorType(r.choice(("f32", "f64")), r.choice(((4, 2), (4, 2), (5, 3), (4,))))
    return {"input": index, "weight": weight, **some(r, padding_idx=(None, 0, -1, 4, -5), max_norm=(None, 1.0))}


def normalized(r: Random, bias: bool) -> Values:
    x = t(r, dims(r, 1, 4), FLOATS)
    shape = list(x.dims[r.randrange(x.rank) :])
    if r.random() < 0.1:
        shape[0] += 1
    values: Values = {"input": x, "normalized_shape": shape}
    for name in ("weight", "bias") if bias else ("weight",):
        if r.random() < 0.4:
            sizes = tuple(shape) if r.random() < 0.9 else (*shape, 1)
            values[name] = TensorType(x.dtype if x.dtype != "i64" else "f32", sizes)
    return values


def grouped(r: Random) -> Values:
    x = t(r, (2, 4, *dims(r, 0, 2)), FLOATS)
    values: Values = {"input": x, "num_groups": r.choice((1, 2, 4, 3))}
    for name in ("weight", "bias"):
        if r.random() < 0.4:
            values[name] = TensorType(x.dtype, (r.choice((4, 4, 4, 2)),))
    return values


def batched(r: Random) -> Values:
    x = t(r, (2, 4, *dims(r, 0, 3)), FLOATS)
    values: Values = {"input": x}
    for name in ("running_mean", "running_var", "weight", "bias"):
        if name.startswith("running") or r.random() < 0.4:
            values[name] = TensorType(x.dtype, (4 if r.random() < 0.95 else 3,))
    return values


def sloped(r: Random) -> Values:
    x = t(r, dims(r, 0), FLOATS)
    channels = x.dims[1] if x.rank > 1 else 1
    return {"input": x, "weight": TensorType(x.dtype, r.choice(((channels,), (1,), (), (channels + 1,), (1, 1))))}


def sliding(r: Random) -> Values:
    return {
        "kernel_size": each(r, 2, 1, 2, 3),
        **some(r, dilation=(1, 2), padding=(0, 1, [0, 1]), stride=(1, 2, [2, 1])),
    }


def folded(r: Random) -> Values:
    kernel = r.choice((1, 2))
    size = sides(r, 2, 2, 4)
    patches = (size[0] - kernel + 1) * (size[1] - kernel + 1)
    columns = r.choice((3 * kernel * kernel, 3 * kernel * kernel, 3))
    x = t(r, (2, columns, patches if r.random() < 0.9 else patches + 1), ("f32", "f64", "bool"))
    return {"input": x, "output_size": list(size), "kernel_size": kernel}


def sampled(r: Random) -> Values:
    count = r.choice((2, 3))
    dtype = r.choice(("f32", "f64"))
    sizes = (2 if r.random() < 0.95 else 3, *sides(r, count, 1, 4), count if r.random() < 0.95 else 4 - count % 2)
    values = {"input": image(r, count, (dtype,)), "grid": TensorType(dtype if r.random() < 0.95 else "i64", sizes)}
    modes = ("bilinear", "nearest", "bicubic")
    return {
        **values,
        "align_corners": r.choice((True, False)),
        **some(r, mode=modes, padding_mode=("border", "reflection")),
    }


def mapped(r: Random) -> Values:
    count = r.choice((2, 3))
    theta = r.choice(((2, count, count + 1), (2, count, count + 1), (2, count, count), (3, count, count + 1)))
    size = [2, 3, *sides(r, count, 1, 4)][: r.choice((4, 5))]
    return {"theta": t(r, theta, ("f32", "f64", "i64")), "size": size, "align_corners": False}


def fractional(r: Random, count: int) -> Values:
    values = {"input": image(r, count), "kernel_size": each(r, count, 1, 2)}
    which = r.choice(({"output_size": each(r, count, 1, 2, 3)}, {"output_ratio": r.choice((0.5, [0.7] * count))}, {}))
    return {**values, **which, **some(r, return_indices=(True,))}


def unpooled(r: Random, count: int) -> Values:
    x = TensorType(r.choice(FLOATS), (2, 4, *sides(r, count, 1, 4)))
    sizes = x.dims if r.random() < 0.9 else dims(r)
    values = {"input": x, "indices": TensorType(r.choice(("i64", "i64", "i64", "i32")), sizes, 1)}
    return {**values, "kernel_size": each(r, count, 1, 2, 3), **some(r, stride=(1, 2, 3), padding=(0, 1))}


def instances(r: Random) -> Values:
    x = t(r, (2, 4, *dims(r, 0, 3)), FLOATS)
    values: Values = {"input": x, **some(r, use_input_stats=(True, True, False))}
    for name in ("running_mean", "running_var", "weight", "bias"):
        if r.random() < (0.6 if name.startswith("running") else 0.4):
            values[name] = TensorType(x.dtype, (4 if r.random() < 0.95 else 3,))
    return values


def sequences(r: Random) -> Values:
    dtype = r.choice(FLOATS)
    x = TensorType(dtype, (r.choice((1, 3, 5)), 2, 4) if r.random() < 0.95 else (3, 4))
    weight = TensorType(dtype, (r.choice((1, 2, 3)), r.choice((4, 4, 4, 3)), 3))
    bias = TensorType(dtype if r.random() < 0.95 else "i64", (r.choice((3, 3, 3, 2)),))
    return {"input": x, "weight": weight, "bias": bias, **some(r, pad=(0, 1))}


def bags(r: Random) -> Values:
    index = r.choice(("i64", "i64", "i32"))
    x = TensorType(index if r.random() < 0.95 else "f32", dims(r, 1, 2), 3)
    values: Values = {
        "input": x,
        "weight": TensorType(r.choice(("f32", "f32", "f64", "i64")), (r.choice((4, 3, 2)), 2)),
    }
    if (len(x.dims) == 1) == (r.random() < 0.9):
        values["offsets"] = TensorType(index, (1,), 1)
    if r.random() < 0.3:
        values["per_sample_weights"] = TensorType(values["weight"].dtype, x.dims)
    return values | some(r, mode=("sum", "sum", "max"), padding_idx=(0, -1, 5))


PARTS: dict[str, Callable[[Random], Values]] = {
    "scaled_dot_product_attention": attended,
    "interpolate": resized,
    **{f"max_pool{n}d": lambda r, n=n: pooled(r, n, dilation=(1, 2), return_indices=(True,)) for n in (1, 2, 3)},
    **{
        f"avg_pool{n}d": lambda r, n=n: pooled(r, n, FLOATS[:4] if n == 3 else FLOATS, count_include_pad=(False,))
        for n in (1, 2, 3)
    },
    **{
        f"adaptive_{kind}_pool{n}d": lambda r, n=n: {"input": image(r, n), "output_size": each(r, n, 1, 2, 3)}
        for n in (1, 2, 3)
        for kind in ("avg", "max")
    },
    "pixel_shuffle": lambda r: {
        "input": image(r, 2, FLOATS, r.choice((4, 8, 9))),
        "upscale_factor": r.choice((1, 2, 3)),
    },
    "pixel_unshuffle": lambda r: {"input": image(r, 2), "downscale_factor": r.choice((1, 2, 3))},
    "channel_shuffle": lambda r: {"input": image(r, 2), "groups": r.choice((1, 2, 3, 4))},
    "cosine_similarity": lambda r: {**pair(r, "x1", "x2", numbers=False), **some(r, dim=(-2, -1, 0, 1, 2))},
    "pairwise_distance": lambda r: {**pair(r, "x1", "x2", numbers=False), **some(r, keepdim=(True,), p=(1.0,))},
    "one_hot": lambda r: {
        "tensor": TensorType(r.choice(("i64", "i64", "i32", "f32")), dims(r, 0), r.choice((1, 3, 4))),
        "num_classes": r.choice((3, 4, 5)),
    },
    "unfold": lambda r: {"input": image(r, 2, ("f32", "f64", "bool", "i64")), **sliding(r)},
    "fold": folded,
    "grid_sample": sampled,
    "affine_grid": mapped,
    "linear": multiplied,
    **{f"conv{n}d": lambda r, n=n: convolved(r, n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": lambda r, n=n: convolved(r, n, transposed=True) for n in (1, 2, 3)},
    "embedding": looked_up,
    "layer_norm": lambda r: normalized(r, bias=True),
    "rms_norm": lambda r: normalized(r, bias=False),
    "group_norm": grouped,
    "batch_norm": batched,
    "prelu": sloped,
    **{
        f"lp_pool{n}d": lambda r, n=n: {
            "input": image(r, n, FLOATS[:4] if n == 3 else FLOATS),
            "norm_type": r.choice((2, 1.5, -1, 3.0)),
            "kernel_size": r.choice((1, 2)) if n == 1 else each(r, n, 1, 2, 3),
            **some(r, stride=(1, 2), ceil_mode=(True,)),
        }
        for n in (1, 2, 3)
    },
    **{f"fractional_max_pool{n}d": lambda r, n=n: fractional(r, n) for n in (2, 3)},
    **{f"max_unpool{n}d": lambda r, n=n: unpooled(r, n) for n in (1, 2, 3)},
    "local_response_norm": lambda r: {"input": t(r, dims(r, 1), FLOATS[:4]), "size": r.choice((1, 2, 3))},
    "instance_norm": instances,
    "conv_tbc": sequences,
    "embedding_bag": bags,
}
