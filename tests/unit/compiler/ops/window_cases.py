"""Random uses of the layers whose windows slide: convolutions, pooling, patches, padding, resizing."""

from collections.abc import Callable
from random import Random
from typing import Any

from case_parts import Use, dtype, over, per_side, pick, some, space, tensor

from expc.compiler.types import TensorType


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


def _upsampling(rng: Random) -> Use:
    settings, arguments = _upsample(rng)
    return {name: settings[name] for name in ("size", "scale_factor") if name in settings}, arguments


CASES: dict[str, Callable[[Random], Use]] = {
    **{f"Conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": _transpose(n) for n in (1, 2, 3)},
    **{f"{kind}Pool{n}d": _pool(n, kind) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": _adaptive(n, kind) for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"LPPool{n}d": _lp_pool(n) for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": _fractional(n) for n in (2, 3)},
    **{f"MaxUnpool{n}d": _unpool(n) for n in (1, 2, 3)},
    "Unfold": over(2, _patches),
    "Fold": _fold,
    **{f"{kind}Pad{n}d": _pad(n) for kind in ("Zero", "Reflection", "Replication", "Circular") for n in (1, 2, 3)},
    **{f"ConstantPad{n}d": _pad(n, value=True) for n in (1, 2, 3)},
    "Upsample": _upsample,
    "UpsamplingNearest2d": _upsampling,
    "UpsamplingBilinear2d": _upsampling,
}
