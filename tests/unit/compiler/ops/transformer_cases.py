"""Random uses of the transformer's layers: sequences, masks and hints, good and bad ones mixed."""

from collections.abc import Callable
from random import Random
from typing import Any

from expc.compiler.ops.inner import Inner
from expc.compiler.types import TensorType

Use = tuple[dict[str, Any], dict[str, Any]]


def mask(rng: Random, *sizes: int) -> TensorType | None:
    if rng.random() < 0.6:
        return None
    wrong = rng.random() < 0.08
    return TensorType(rng.choice(["bool", "f32", "f32", "f32", "i64"]), (sizes[0] + wrong, *sizes[1:]))


def some(rng: Random, **settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if rng.random() < 0.6}


def inside(rng: Random) -> dict[str, Any]:
    """The settings that the layers and both stacks share."""
    flags = {name: rng.random() < 0.5 for name in ("batch_first", "norm_first", "bias")}
    return {"dim_feedforward": 5, "dropout": 0.0} | some(rng, activation=rng.choice(["relu", "gelu"]), **flags)


class Sequences:
    """A source and a target of random lengths, and masks for them."""

    def __init__(self, rng: Random, settings: dict[str, Any], heads: int) -> None:
        self.rng, self.heads, self.first = rng, heads, settings.get("batch_first", False)
        self.batch, self.length, self.source = rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 4)
        self.size = heads * 2 + (rng.random() < 0.05)

    def tensor(self, length: int) -> TensorType:
        wide = self.size + (self.rng.random() < 0.04)
        batch = self.batch + (self.rng.random() < 0.04)
        dims = (batch, length, wide) if self.first else (length, batch, wide)
        dtype = "f64" if self.rng.random() < 0.03 else "f32"
        return TensorType(dtype, dims if self.rng.random() < 0.96 else dims[1:])

    def attention(self, rows: int, columns: int) -> TensorType | None:
        one = mask(self.rng, rows, columns)
        return one if self.rng.random() < 0.6 else mask(self.rng, self.batch * self.heads, rows, columns)

    def padding(self, length: int) -> TensorType | None:
        return mask(self.rng, self.batch, length)

    def hint(self, name: str, default: Any = None) -> dict[str, Any]:
        return {name: self.rng.random() < 0.3} if self.rng.random() < 0.4 else {name: default}

    def decoding(self, **hints: Any) -> dict[str, Any]:
        return {
            "tgt": self.tensor(self.length),
            "memory": self.tensor(self.source),
            "tgt_mask": self.attention(self.length, self.length),
            "memory_mask": self.attention(self.length, self.source),
            "tgt_key_padding_mask": self.padding(self.length),
            "memory_key_padding_mask": self.padding(self.source),
            **hints,
        }


def norm(rng: Random) -> dict[str, Any]:
    written = Inner("LayerNorm", (("eps", 1e-3),)), Inner("RMSNorm"), Inner("LayerNorm", (("normalized_shape", 4),))
    return {"norm": rng.choice(written)} if rng.random() < 0.4 else {}


def decoder_layer(rng: Random) -> Use:
    heads, settings = rng.randint(1, 3), inside(rng)
    both = Sequences(rng, settings, heads)
    hints = both.hint("tgt_is_causal", False) | both.hint("memory_is_causal", False)
    return {"nhead": heads} | settings, both.decoding(**hints)


def encoder(rng: Random) -> Use:
    heads, settings = rng.randint(1, 3), inside(rng)
    one = Sequences(rng, settings, heads)
    layer = Inner("TransformerEncoderLayer", tuple(({"nhead": heads} | settings).items()))
    chosen = {"encoder_layer": layer, "num_layers": rng.randint(1, 3)} | norm(rng)
    return chosen | some(rng, enable_nested_tensor=False, mask_check=False), {
        "src": one.tensor(one.length),
        "mask": one.attention(one.length, one.length),
        "src_key_padding_mask": one.padding(one.length),
        **one.hint("is_causal"),
    }


def decoder(rng: Random) -> Use:
    heads, settings = rng.randint(1, 3), inside(rng)
    both = Sequences(rng, settings, heads)
    layer = Inner("TransformerDecoderLayer", tuple(({"nhead": heads} | settings).items()))
    hints = both.hint("tgt_is_causal") | both.hint("memory_is_causal", False)
    return {"decoder_layer": layer, "num_layers": rng.randint(1, 3)} | norm(rng), both.decoding(**hints)


def transformer(rng: Random) -> Use:
    heads, settings = rng.randint(1, 3), inside(rng)
    both = Sequences(rng, settings, heads)
    counts = {"num_encoder_layers": rng.randint(1, 2), "num_decoder_layers": rng.randint(1, 2)}
    layer = tuple(({"nhead": heads} | settings).items())
    for kind in ("encoder", "decoder"):
        if rng.random() < 0.2:
            inner = Inner(f"Transformer{kind.capitalize()}Layer", layer)
            stack = Inner(f"Transformer{kind.capitalize()}", ((f"{kind}_layer", inner), ("num_layers", 2)))
            settings[f"custom_{kind}"] = stack
    hints = both.hint("src_is_causal") | both.hint("tgt_is_causal") | both.hint("memory_is_causal", False)
    arguments = both.decoding(**hints)
    arguments["src"] = arguments.pop("memory")
    return {"nhead": heads} | counts | settings, arguments | {
        "src_mask": both.attention(both.source, both.source),
        "src_key_padding_mask": both.padding(both.source),
    }


CASES: dict[str, Callable[[Random], Use]] = {
    "TransformerDecoderLayer": decoder_layer,
    "TransformerEncoder": encoder,
    "TransformerDecoder": decoder,
    "Transformer": transformer,
}
