"""Random uses of every layer: settings and argument types, good and bad ones mixed."""

from collections.abc import Callable
from random import Random
from typing import Any

import transformer_cases
import vision_cases

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


def _conv(count: int) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        return {"out_channels": pick(rng, 1, 2, 3, 4, 6), "kernel_size": per_side(rng, count, 1, 4)} | some(
            rng,
            stride=per_side(rng, count, 1, 3),
            padding=pick(rng, "same", "valid", per_side(rng, count, 0, 3)),
            dilation=per_side(rng, count, 1, 2),
            groups=pick(rng, 1, 1, 2, 3),
            bias=pick(rng, True, False),
            padding_mode=pick(rng, "zeros", "reflect", "replicate", "circular"),
        )

    return over(count, make)


def _transpose(count: int) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        settings = {"out_channels": pick(rng, 1, 2, 3, 4, 6), "kernel_size": per_side(rng, count, 1, 4)} | some(
            rng,
            stride=per_side(rng, count, 1, 3),
            padding=per_side(rng, count, 0, 2),
            output_padding=per_side(rng, count, 0, 2),
            groups=pick(rng, 1, 1, 2, 3),
            bias=pick(rng, True, False),
            dilation=per_side(rng, count, 1, 2),
            padding_mode=pick(rng, "zeros", "zeros", "zeros", "reflect"),
        )
        x = space(rng, count)
        arguments: dict[str, Any] = {"input": x}
        if rng.random() < 0.3 and x.rank == count + 2:
            stride = settings.get("stride", 1)
            arguments["output_size"] = [
                size * (stride[axis] if isinstance(stride, list) else stride) + rng.randint(0, 2)
                for axis, size in enumerate(x.dims[2:])
            ]
        return settings, arguments

    return use


def _pool(count: int, kind: str) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        settings = some(
            rng,
            stride=pick(rng, None, per_side(rng, count, 1, 4)),
            padding=per_side(rng, count, 0, 2),
            ceil_mode=pick(rng, True, False),
        )
        if kind == "Max":
            settings |= some(rng, dilation=per_side(rng, count, 1, 3), return_indices=pick(rng, True, False))
        else:
            settings |= some(rng, count_include_pad=pick(rng, True, False))
            settings |= some(rng, divisor_override=pick(rng, None, 3)) if count > 1 else {}
        return {"kernel_size": per_side(rng, count, 1, 4)} | settings

    return over(count, make)


def _adaptive(count: int, kind: str) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        sides = [pick(rng, 1, 2, 5, None if count > 1 else 3) for _ in range(count)]
        settings = {"output_size": pick(rng, 1, 3, sides)}
        return settings | (some(rng, return_indices=pick(rng, True, False)) if kind == "Max" else {})

    return over(count, make)


def _batch_norm(rng: Random) -> dict[str, Any]:
    return some(
        rng,
        eps=1e-3,
        momentum=pick(rng, 0.2, None),
        affine=pick(rng, True, False),
        track_running_stats=pick(rng, True, False),
        bias=pick(rng, True, False),
    )


def _two_samples(make: Callable[[Random], Use]) -> Callable[[Random], Use]:
    """A batch of one is a matter of training, which the rule cannot see."""

    def use(rng: Random) -> Use:
        settings, arguments = make(rng)
        x = arguments["input"]
        return settings, {"input": x.with_dims(*(max(2, size) for size in x.dims[:1]), *x.dims[1:])}

    return use


def _instance_norm(rng: Random) -> dict[str, Any]:
    return _batch_norm(rng) | {"momentum": 0.2}


def _normalized(rng: Random, name: str, **more: Any) -> Use:
    x = tensor(rng, rng.randint(2, 4))
    settings = some(rng, elementwise_affine=pick(rng, True, False), **more)
    if x.rank and rng.random() < 0.4:
        shape = list(x.dims[-rng.randint(1, x.rank) :])
        shape[0] += rng.random() < 0.2
        settings["normalized_shape"] = shape[0] if len(shape) == 1 and rng.random() < 0.5 else shape
    return settings, {name: x}


def _embedding(rng: Random) -> Use:
    x = tensor(rng, rng.randint(1, 3), of=pick(rng, "i64", "i64", "i32", "f32", "u8", "bool"))
    return {"num_embeddings": 4, "embedding_dim": 3} | some(rng, padding_idx=rng.randint(-6, 5), max_norm=1.0), {
        "input": x
    }


def _bag(rng: Random) -> Use:
    settings = {"num_embeddings": 4, "embedding_dim": 3} | some(
        rng,
        mode=pick(rng, "sum", "mean", "max"),
        padding_idx=rng.randint(-6, 5),
        include_last_offset=pick(rng, True, False),
        scale_grad_by_freq=pick(rng, True, False),
    )
    if rng.random() < 0.6:
        x = tensor(rng, 2, of=pick(rng, "i64", "i64", "i32", "f32"))
        scales = pick(rng, None, None, TensorType("f32", x.dims), tensor(rng, 2))
        return settings, {"input": x, "per_sample_weights": scales}
    # torch crashes where offsets do not fit the indices, so that those it sees always do.
    settings.pop("include_last_offset", None)
    return settings, {"input": tensor(rng, 1, of="i64"), "offsets": tensor(rng, 1, of=pick(rng, "i64", "f32"))}


def _recurrent(name: str) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        settings = {"hidden_size": rng.randint(1, 4)} | some(
            rng,
            num_layers=rng.randint(1, 3),
            bias=pick(rng, True, False),
            batch_first=pick(rng, True, False),
            dropout=0.5,
            bidirectional=pick(rng, True, False),
        )
        if name == "LSTM":
            settings |= some(rng, proj_size=rng.randint(0, 3))
        if name == "RNN":
            settings |= some(rng, nonlinearity=pick(rng, "tanh", "relu"))
        x = tensor(rng, 3, largest=4)
        arguments: dict[str, Any] = {"input": x}
        if x.rank == 3 and rng.random() < 0.4:
            layers = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
            batch = x.dims[0 if settings.get("batch_first") else 1]
            hidden = settings["hidden_size"]
            wrong = rng.random() < 0.3
            h = TensorType("f32", (layers, batch + wrong, settings.get("proj_size", 0) or hidden))
            c = TensorType("f32", (layers, batch, hidden))
            arguments["hx"] = (h, c) if name == "LSTM" else h
        return settings, arguments

    return use


def _mask(rng: Random, *sizes: int) -> TensorType | None:
    if rng.random() < 0.5:
        return None
    wrong = rng.random() < 0.15
    return TensorType(pick(rng, "bool", "f32", "f32", "i64"), (sizes[0] + wrong, *sizes[1:]))


def _attention(rng: Random) -> Use:
    heads, size, batch, length, source = (rng.randint(1, n) for n in (3, 3, 3, 4, 4))
    embed = heads * size + (rng.random() < 0.1)
    first = pick(rng, True, False)

    def sequence(long: int, width: int) -> TensorType:
        dims = (batch, long, width) if first else (long, batch, width)
        return TensorType("f32" if rng.random() < 0.95 else "f64", dims if rng.random() < 0.95 else dims[1:])

    arguments: dict[str, Any] = {"query": sequence(length, embed)}
    if rng.random() < 0.6:
        arguments["key"] = sequence(source, pick(rng, embed, embed, 5))
        if rng.random() < 0.8:
            arguments["value"] = sequence(source + (rng.random() < 0.1), pick(rng, embed, embed, 3))
    else:
        source = length
    arguments |= some(
        rng,
        key_padding_mask=_mask(rng, batch, source),
        need_weights=pick(rng, True, False),
        attn_mask=pick(rng, _mask(rng, length, source), _mask(rng, batch * heads, length, source)),
        average_attn_weights=pick(rng, True, False),
        is_causal=rng.random() < 0.2,
    )
    settings = {"num_heads": heads, "batch_first": first} | some(
        rng,
        dropout=0.1,
        bias=pick(rng, True, False),
        add_bias_kv=pick(rng, True, False),
        add_zero_attn=pick(rng, True, False),
    )
    return settings, arguments


def _encoder_layer(rng: Random) -> Use:
    heads, batch, length = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 4)
    embed = heads * 2 + (rng.random() < 0.1)
    settings = {"nhead": heads, "dim_feedforward": 5} | some(
        rng,
        activation=pick(rng, "relu", "gelu"),
        batch_first=pick(rng, True, False),
        norm_first=pick(rng, True, False),
        bias=pick(rng, True, False),
    )
    dims = (batch, length, embed) if settings.get("batch_first") else (length, batch, embed)
    return settings, {"src": TensorType("f32", dims if rng.random() < 0.9 else dims[1:])} | some(
        rng,
        src_mask=pick(rng, _mask(rng, length, length), _mask(rng, batch * heads, length, length)),
        src_key_padding_mask=_mask(rng, batch, length),
        is_causal=rng.random() < 0.2,
    )


def _bilinear(rng: Random) -> Use:
    left = tensor(rng, rng.randint(2, 3), largest=4)
    last = rng.randint(1, 4)
    right = left.with_dims(*left.dims[:-1], last) if rng.random() < 0.8 else tensor(rng, 2)
    return {"out_features": rng.randint(1, 4)} | some(rng, bias=pick(rng, True, False)), {
        "input1": left,
        "input2": right,
    }


def _pair(make: Callable[[Random], dict[str, Any]]) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        x = tensor(rng, rng.randint(2, 4), largest=4)
        dims = [pick(rng, size, size, size, 1) for size in x.dims][rng.choice([0, 0, 0, 1]) :]
        if dims and rng.random() < 0.1:
            dims[0] += 1
        return make(rng), {"x1": x, "x2": TensorType(dtype(rng), tuple(dims))}

    return use


def _unflatten(rng: Random) -> Use:
    x = tensor(rng, rng.randint(1, 3), largest=12)
    parts = [pick(rng, 1, 2, 3, -1) for _ in range(rng.randint(1, 3))]
    return {"dim": rng.randint(-3, 2), "unflattened_size": parts}, {"input": x}


def _pad(count: int, *, value: bool = False) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        each = [rng.randint(-1, 4) for _ in range(2 * count)]
        return {"padding": pick(rng, 1, 2, each)} | ({"value": 0.5} if value else {})

    return over(count, make)


def _upsample(rng: Random) -> Use:
    count = rng.randint(1, 3)
    modes = ["nearest", "nearest-exact", "area", ["linear"], ["bilinear", "bicubic"], ["trilinear"]]
    mode = (
        pick(rng, *modes[:3], *modes[2 + count]) if rng.random() < 0.8 else pick(rng, "linear", "bilinear", "trilinear")
    )
    size = pick(rng, 1, 4, [rng.randint(1, 5) for _ in range(pick(rng, count, count, 2))])
    scale = pick(rng, 2, 3, 0.5, 1.5, 1.3, 0.1, [float(rng.randint(1, 3)) for _ in range(count)])
    settings: dict[str, Any] = {"mode": mode} | (
        pick(rng, {"size": size}, {"scale_factor": scale}, {"scale_factor": scale})
    )
    if rng.random() < 0.05:
        settings["size"], settings["scale_factor"] = pick(rng, (2, 2.0), (None, None))
    settings |= some(rng, align_corners=pick(rng, None, None, True, False))
    settings |= some(rng, recompute_scale_factor=pick(rng, None, True, False))
    return settings, {"input": space(rng, count)}


def _lp_pool(count: int) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        kernel = per_side(rng, count, 1, 4) if count > 1 else rng.randint(1, 4)
        return {"norm_type": pick(rng, 1, 2, 2, 2.0, 0.5, 3, 0, -1), "kernel_size": kernel} | some(
            rng, stride=pick(rng, None, per_side(rng, count, 1, 4)), ceil_mode=pick(rng, True, False)
        )

    return over(count, make)


def _fractional(count: int) -> Callable[[Random], Use]:
    def make(rng: Random) -> dict[str, Any]:
        size = {"output_size": pick(rng, 1, 2, [rng.randint(1, 4) for _ in range(count)])}
        ratio = {"output_ratio": pick(rng, 0.5, 0.3, 0.75, 1.0, [pick(rng, 0.5, 0.4) for _ in range(count)])}
        chosen = pick(rng, size, size, ratio, ratio, size | ratio if rng.random() < 0.2 else size)
        return {"kernel_size": per_side(rng, count, 1, 3)} | chosen | some(rng, return_indices=pick(rng, True, False))

    return over(count, make)


def _unpool(count: int) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        settings = {"kernel_size": per_side(rng, count, 1, 3)} | some(
            rng, stride=pick(rng, None, per_side(rng, count, 1, 3)), padding=per_side(rng, count, 0, 1)
        )
        x = tensor(rng, count + 2, largest=4)
        if not x.dtype.startswith(("f", "bf")):
            # torch looks at the dtype only where there is a result.
            return settings | {"padding": 0}, {"input": x, "indices": TensorType("i64", x.dims)}
        dims = [size + (rng.random() < 0.02) for size in x.dims]
        arguments: dict[str, Any] = {"input": x, "indices": TensorType(pick(rng, *["i64"] * 9, "i32"), tuple(dims))}
        if rng.random() < 0.3 and x.rank == count + 2:
            stride = settings.get("stride") or settings["kernel_size"]
            arguments["output_size"] = [
                size * (stride[axis] if isinstance(stride, list) else stride) + rng.randint(-1, 2)
                for axis, size in enumerate(x.dims[2:])
            ]
        return settings, arguments

    return use


def _response(rng: Random) -> dict[str, Any]:
    return {"size": rng.randint(1, 6)} | some(rng, alpha=1e-3, beta=0.5, k=2.0)


def _patches(rng: Random) -> dict[str, Any]:
    return {"kernel_size": per_side(rng, 2, 1, 3)} | some(
        rng, dilation=per_side(rng, 2, 1, 2), padding=per_side(rng, 2, 0, 2), stride=per_side(rng, 2, 1, 2)
    )


def _fold(rng: Random) -> Use:
    kernel, size = per_side(rng, 2, 1, 2), rng.randint(1, 4)
    settings = {"output_size": size, "kernel_size": kernel} | some(rng, padding=rng.randint(0, 1))
    high, wide = kernel if isinstance(kernel, list) else (kernel, kernel)
    padded = size + 2 * settings.get("padding", 0)
    patches = max(1, (padded - high + 1) * (padded - wide + 1) + (rng.random() < 0.1))
    dims = (rng.randint(1, 3), high * wide * rng.randint(1, 3) + (rng.random() < 0.1), patches)
    return settings, {"input": TensorType(dtype(rng), dims if rng.random() < 0.95 else dims[1:])}


def _cell(name: str) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        hidden = rng.randint(1, 4)
        settings = {"hidden_size": hidden} | some(rng, bias=pick(rng, True, False))
        if name == "RNNCell":
            settings |= some(rng, nonlinearity=pick(rng, "tanh", "relu"))
        x = tensor(rng, 2, largest=4)
        arguments: dict[str, Any] = {"input": x}
        if x.rank == 2 and rng.random() < 0.5:
            h = TensorType(pick(rng, "f32", "f32", "f64"), (x.dims[0], hidden + (rng.random() < 0.1)))
            c = TensorType("f32", (x.dims[0] + (rng.random() < 0.1), hidden))
            arguments["hx"] = (h, c) if name == "LSTMCell" else pick(rng, h, c)
        return settings, arguments

    return use


def _adaptive_softmax(rng: Random) -> Use:
    x = tensor(rng, 2, largest=8)
    cutoffs = sorted(rng.sample(range(1, 11), rng.randint(1, 3)), reverse=rng.random() < 0.05)
    settings = {"n_classes": rng.randint(6, 12), "cutoffs": cutoffs}
    target = TensorType(pick(rng, *["i64"] * 9, "i32"), (x.dims[0] + (rng.random() < 0.05) if x.dims else 1,))
    return settings | some(rng, div_value=pick(rng, 2.0, 1.5, 1.0), head_bias=True), {"input_": x, "target_": target}


def _upsampling(rng: Random) -> Use:
    settings, arguments = _upsample(rng)
    return {name: settings[name] for name in ("size", "scale_factor") if name in settings}, arguments


def _nothing(_: Random) -> dict[str, Any]:
    return {}


def _inplace(rng: Random) -> dict[str, Any]:
    return some(rng, inplace=pick(rng, True, False))


def _dim(rng: Random) -> dict[str, Any]:
    return {"dim": pick(rng, *range(-4, 4), None)}


def _dropout(rng: Random) -> dict[str, Any]:
    return some(rng, p=0.3)


ANY_RANK = (0, 1, 2, 3, 4)

CASES: dict[str, Callable[[Random], Use]] = {
    **transformer_cases.CASES,
    **vision_cases.CASES,
    "Linear": alone(
        lambda rng: {"out_features": rng.randint(1, 5)} | some(rng, bias=pick(rng, True, False)), (1, 2, 3, 4)
    ),
    "Bilinear": _bilinear,
    "Identity": alone(_nothing, ANY_RANK),
    **{f"Conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": _transpose(n) for n in (1, 2, 3)},
    **{f"{kind}Pool{n}d": _pool(n, kind) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": _adaptive(n, kind) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    "AdaptiveLogSoftmaxWithLoss": _adaptive_softmax,
    **{f"LPPool{n}d": _lp_pool(n) for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": _fractional(n) for n in (2, 3)},
    **{f"MaxUnpool{n}d": _unpool(n) for n in (1, 2, 3)},
    "LocalResponseNorm": alone(_response, (3, 4, 5)),
    "CrossMapLRN2d": over(2, _response),
    "Unfold": over(2, _patches),
    "Fold": _fold,
    "BatchNorm1d": _two_samples(alone(_batch_norm, (2, 3))),
    "BatchNorm2d": _two_samples(over(2, _batch_norm)),
    "BatchNorm3d": _two_samples(over(3, _batch_norm)),
    **{f"InstanceNorm{n}d": over(n, _instance_norm) for n in (1, 2, 3)},
    "LayerNorm": lambda rng: _normalized(rng, "input", bias=pick(rng, True, False)),
    "RMSNorm": lambda rng: _normalized(rng, "x", eps=pick(rng, None, 1e-3)),
    "GroupNorm": alone(
        lambda rng: (
            {"num_groups": rng.randint(1, 3)} | some(rng, affine=pick(rng, True, False), bias=pick(rng, True, False))
        ),
        (2, 3, 4),
    ),
    "Dropout": alone(_dropout, ANY_RANK),
    **{f"Dropout{n}d": over(n, _dropout) for n in (1, 2, 3)},
    "AlphaDropout": alone(_dropout, ANY_RANK),
    "FeatureAlphaDropout": alone(_dropout, (2, 3, 4)),
    "Embedding": _embedding,
    "EmbeddingBag": _bag,
    **{name: _recurrent(name) for name in ("RNN", "LSTM", "GRU")},
    **{name: _cell(name) for name in ("RNNCell", "LSTMCell", "GRUCell")},
    "MultiheadAttention": _attention,
    "TransformerEncoderLayer": _encoder_layer,
    "CosineSimilarity": _pair(lambda rng: some(rng, dim=rng.randint(-4, 3))),
    "PairwiseDistance": _pair(lambda rng: some(rng, p=1.0, keepdim=pick(rng, True, False))),
    "Flatten": alone(lambda rng: some(rng, start_dim=rng.randint(-4, 3), end_dim=rng.randint(-4, 3)), ANY_RANK),
    "Unflatten": _unflatten,
    "PixelShuffle": alone(lambda rng: {"upscale_factor": rng.randint(1, 2)}, (4, 5)),
    "PixelUnshuffle": alone(lambda rng: {"downscale_factor": rng.randint(1, 2)}, (4, 5)),
    "ChannelShuffle": alone(lambda rng: {"groups": rng.randint(1, 3)}, (3, 4)),
    **{f"{kind}Pad{n}d": _pad(n) for kind in ("Zero", "Reflection", "Replication", "Circular") for n in (1, 2, 3)},
    **{f"ConstantPad{n}d": _pad(n, value=True) for n in (1, 2, 3)},
    "Upsample": _upsample,
    "UpsamplingNearest2d": _upsampling,
    "UpsamplingBilinear2d": _upsampling,
    **{
        name: alone(_inplace, ANY_RANK)
        for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid", "ELU", "LeakyReLU")
    },
    **{name: alone(_nothing, ANY_RANK) for name in ("Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softsign")},
    **{name: alone(_nothing, ANY_RANK) for name in ("Softplus", "Hardshrink", "Softshrink")},
    "Hardtanh": alone(lambda rng: some(rng, min_val=pick(rng, 0, -2.0, 1.0), max_val=pick(rng, 1, 0.5)), ANY_RANK),
    "RReLU": alone(lambda rng: some(rng, lower=pick(rng, 0.0, 0.3), upper=pick(rng, 0.2, 0.3, 0.5)), ANY_RANK),
    "CELU": alone(lambda rng: some(rng, alpha=pick(rng, 0, 0.5, -1.0)), ANY_RANK),
    "PReLU": alone(lambda rng: some(rng, num_parameters=rng.randint(1, 3)), ANY_RANK),
    "GELU": alone(lambda rng: some(rng, approximate=pick(rng, "none", "tanh")), ANY_RANK),
    "Threshold": alone(lambda rng: {"threshold": 1, "value": 2} | _inplace(rng), ANY_RANK),
    **{name: alone(_dim, (1, 2, 3, 4)) for name in ("Softmax", "LogSoftmax", "Softmin")},
    "Softmax2d": over(2, _nothing),
    "GLU": alone(lambda rng: some(rng, dim=rng.randint(-4, 3)), ANY_RANK),
    "Swish": alone(lambda rng: some(rng, beta=1.5, learnable=pick(rng, True, False)), ANY_RANK),
}
