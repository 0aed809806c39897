"""Random uses of every layer: settings and argument types, good and bad ones mixed."""

from collections.abc import Callable
from random import Random
from typing import Any

import transformer_cases
import vision_cases
import window_cases
from case_parts import Use, alone, dtype, over, pick, some, tensor

from expc.compiler.types import TensorType


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


def _response(rng: Random) -> dict[str, Any]:
    return {"size": rng.randint(1, 6)} | some(rng, alpha=1e-3, beta=0.5, k=2.0)


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
    **window_cases.CASES,
    "Linear": alone(
        lambda rng: {"out_features": rng.randint(1, 5)} | some(rng, bias=pick(rng, True, False)), (1, 2, 3, 4)
    ),
    "Bilinear": _bilinear,
    "Identity": alone(_nothing, ANY_RANK),
    "AdaptiveLogSoftmaxWithLoss": _adaptive_softmax,
    "LocalResponseNorm": alone(_response, (3, 4, 5)),
    "CrossMapLRN2d": over(2, _response),
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
