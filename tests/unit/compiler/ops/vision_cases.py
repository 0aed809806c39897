"""Random uses of the layers of torchvision.ops."""

from collections.abc import Callable
from random import Random
from typing import Any

from transformer_cases import some

from expc.compiler.ops.inner import Inner
from expc.compiler.types import TensorType

Use = tuple[dict[str, Any], dict[str, Any]]


def tensor(rng: Random, rank: int, dtypes: tuple[str, ...] = ("f64", "f16", "i64", "u8", "bool")) -> TensorType:
    rank = rank + rng.choice([-1, 1]) if rng.random() < 0.08 else rank
    dtype = rng.choice(dtypes) if rng.random() < 0.3 else "f32"
    return TensorType(dtype, (rng.randint(2, 3), *(rng.randint(1, 6) for _ in range(rank - 1))))


def depth(rng: Random) -> Use:
    settings = {"p": rng.choice([0.0, 0.5, 1.0, 0.2]), "mode": rng.choice(["batch", "row"])}
    return settings, {"input": tensor(rng, rng.randint(1, 4))}


def drop_block(count: int) -> Callable[[Random], Use]:
    def use(rng: Random) -> Use:
        settings = {"p": rng.choice([0.0, 0.3, 0.5]), "block_size": rng.choice([1, 2, 3])}
        # Of whole numbers torch gives another dtype in training than in evaluation, which no type can say.
        return settings | some(rng, inplace=True), {"input": tensor(rng, count + 2, ("f64", "f16"))}

    return use


def permuted(rng: Random) -> Use:
    rank = rng.randint(1, 4)
    order = list(range(rank))
    rng.shuffle(order)
    order = [dim - rank if rng.random() < 0.3 else dim for dim in order]
    if rng.random() < 0.2:
        order[0] = rng.choice([-5, 0, 1, 4])
    return {"dims": order}, {"x": tensor(rng, rank)}


def activation(rng: Random) -> Inner:
    simple = ("ReLU", "SiLU", "Sigmoid", "Hardswish", "Tanh", "PReLU", "ELU", "Hardsigmoid")
    special = (
        Inner("ReLU", (("inplace", True),)),
        Inner("LeakyReLU", (("negative_slope", 0.2),)),
        Inner("Softmax", (("dim", 1),)),
    )
    return Inner(rng.choice(simple)) if rng.random() < 0.8 else rng.choice(special)


def squeezed(rng: Random) -> Use:
    settings = some(rng, activation=activation(rng), scale_activation=activation(rng))
    return {"squeeze_channels": rng.randint(1, 4)} | settings, {"input": tensor(rng, 4)}


def conv_norm(count: int) -> Callable[[Random], Use]:
    def per_side(rng: Random, low: int, high: int) -> Any:
        if rng.random() < 0.7:
            return rng.randint(low, high)
        return [rng.randint(low, high) for _ in range(count)]

    def use(rng: Random) -> Use:
        norms = (None, Inner(f"InstanceNorm{count}d"), Inner(f"BatchNorm{count}d", (("affine", False),)))
        settings = some(
            rng,
            kernel_size=per_side(rng, 1, 3),
            stride=per_side(rng, 1, 2),
            padding=rng.choice([None, "same", "valid", 1]),
            groups=rng.choice([1, 1, 2]),
            norm_layer=rng.choice((*norms, Inner("GroupNorm", (("num_groups", 2),)))),
            activation_layer=rng.choice((None, activation(rng))),
            dilation=per_side(rng, 1, 2),
            inplace=rng.choice([True, False, None]),
            bias=rng.choice([None, True, False]),
        )
        return {"out_channels": rng.choice([1, 2, 4])} | settings, {"input": tensor(rng, count + 2)}

    return use


CASES: dict[str, Callable[[Random], Use]] = {
    "StochasticDepth": depth,
    "DropBlock2d": drop_block(2),
    "DropBlock3d": drop_block(3),
    "FrozenBatchNorm2d": lambda rng: (some(rng, eps=1e-3), {"x": tensor(rng, 4)}),
    "Permute": permuted,
    "SqueezeExcitation": squeezed,
    "Conv2dNormActivation": conv_norm(2),
    "Conv3dNormActivation": conv_norm(3),
}
