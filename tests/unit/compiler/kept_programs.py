"""Programs whose operators keep different tensors in different settings, for `test_kept.py`."""

from collections.abc import Iterator
from typing import Final

IMAGE: Final = {"x": "f32[N, 8, H, W]"}
ROWS: Final = {"x": "f32[N, T, 8]"}
STEPS: Final = {"x": "f32[T, N, 8]"}
CUBE: Final = {"x": "f32[N, 8, 8]"}
HEADS: Final = {"q": "f32[N, 4, T, 16]", "k": "f32[N, 4, S, 16]", "v": "f32[N, 4, S, 16]"}

IMAGES: Final = """
MaxPool2d(2) | AvgPool2d(2) | AdaptiveAvgPool2d(1) | AdaptiveAvgPool2d(3) | AdaptiveAvgPool2d([1, 3])
AdaptiveMaxPool2d(2) | BatchNorm2d | BatchNorm2d(affine=false) | InstanceNorm2d | InstanceNorm2d(affine=true)
GroupNorm(2) | GroupNorm(2, affine=false) | Conv2d(4, 3) | Conv2d(4, 3, padding="same")
Conv2d(4, 3, padding=1, padding_mode="reflect") | Conv2d(4, 3, padding=1, padding_mode="circular")
ConvTranspose2d(4, 3) | Conv2d(8, 3, groups=8) | Dropout2d(0.2) | LPPool2d(2, 2) | LPPool2d(1, 2)
Upsample(scale_factor=2) | PReLU(8) | Softmax2d | SqueezeExcitation(2) | Conv2dNormActivation(4)
Conv2dNormActivation(4, activation_layer=none) | Conv2dNormActivation(4, norm_layer=none)
StochasticDepth(0.1, "batch") | StochasticDepth(0.0, "row") | LocalResponseNorm(3) | GLU(1) | Swish
"""
CUBES: Final = """
LayerNorm(elementwise_affine=false) | RMSNorm(elementwise_affine=false) | Linear(5, bias=false)
transpose(1, 2) -> Linear(5) | transpose(1, 2) -> Linear(5, bias=false) | transpose(1, 2) -> LayerNorm
transpose(1, 2) -> GELU -> Linear(4) | x @ transpose(x, 1, 2) | permute(2, 0, 1) -> contiguous -> ReLU
transpose(0, 1) -> flatten -> exp | x[:, 0] * x[:, 1] | x[:, 1:3] -> sin
chunk(2, dim=2) -> { a, b = flow; a * sigmoid(b) } | normalize(dim=1) | x * x | x * 2 + 1
1 / x | x ** 3 | 2 ** x | x - mean(x, dim=1, keepdim=true) | x / norm(x) | where(x > 0, x, sin(x)) | clamp(min=0)
cumsum(1) -> exp | amax(1) | std(1) | logsumexp(1) | sort(1)[0] | topk(2)[0] | pad([1, 1]) -> sin
rearrange("n t (a b) -> n a t b", a=2) -> exp | rearrange("n t c -> n (c t)") -> exp
einsum("n t c, n s c -> n t s", x, x) | Dropout(0.0) -> exp | f64 -> exp | cat([x, x], dim=1) -> exp
expand(3, -1, -1, -1) -> exp | scaled_dot_product_attention(x, x, x) | detach -> exp
"""
RECURRENT: Final = (
    "",
    ", bias=false",
    ", num_layers=2",
    ", bidirectional=true",
    ", num_layers=2, bidirectional=true, dropout=0.3",
    ", num_layers=2, dropout=0.3",
)
ATTENTION: Final = ("", ", need_weights=false", ", dropout=0.1", ", need_weights=false, dropout=0.1")
LAYERS: Final = ("", ", dropout=0.0", ", norm_first=true", ', dropout=0.0, activation="gelu"')


def programs() -> Iterator[tuple[str, dict[str, str]]]:
    """Bodies of models, each with the types of its inputs."""
    for text, inputs in ((IMAGES, IMAGE), (CUBES, CUBE)):
        yield from ((chain.strip(), inputs) for line in text.splitlines() for chain in line.split(" | ") if chain)
    for kind in ("RNN", "GRU", "LSTM"):
        for settings in RECURRENT:
            yield f"{kind}(16{settings})", STEPS
            yield f"{kind}(16{settings}, batch_first=true)", ROWS
    yield "(x, h) -> GRU(16, batch_first=true)", {**ROWS, "h": "f32[1, N, 16]"}
    yield "(x, (h, c)) -> LSTM(16, batch_first=true)", {**ROWS, "h": "f32[1, N, 16]", "c": "f32[1, N, 16]"}
    yield from _attention()
    yield 'EmbeddingBag(9, 8, mode="sum")', {"x": "i64[N, 8]"}
    yield 'EmbeddingBag(9, 8, mode="max")', {"x": "i64[N, 8]"}
    for y in ("f32[N, 4, 8, S]", "f32[8, S]", "f32[8]", "f32[4, 8, S]"):
        yield "x @ y", {"x": "f32[N, 4, T, 8]", "y": y}
    for y in ("f32[8]", "i64[8]", "bool[8]"):
        yield "x * y", {"x": "f32[N, 8]", "y": y}


def _attention() -> Iterator[tuple[str, dict[str, str]]]:
    first, second = {**ROWS, "y": "f32[N, S, 8]"}, {**STEPS, "y": "f32[S, N, 8]"}
    for inputs, way in ((first, ", batch_first=true"), (second, "")):
        for settings in ATTENTION:
            yield f"MultiheadAttention(2{settings}{way})", {"x": inputs["x"]}
            yield f"a, _ = x -> MultiheadAttention(2, key=y{settings}{way})\n  return a", inputs
            masked = {"x": inputs["x"], "m": "bool[N, T]"}
            yield f"MultiheadAttention(2, key_padding_mask=m{settings}{way})", masked
        for settings in LAYERS:
            inside = f"2, dim_feedforward=16{settings}{way}"
            yield f"TransformerEncoder(TransformerEncoderLayer({inside}), 2)", {"x": inputs["x"]}
            yield f"(x, y) -> TransformerDecoder(TransformerDecoderLayer({inside}), 2, norm=LayerNorm)", inputs
    for mask in ("bool[T, S]", "f32[T, S]"):
        for dropout in ("", ", dropout_p=0.1"):
            yield f"scaled_dot_product_attention(q, k, v, m{dropout})", {**HEADS, "m": mask}
