"""The windows of signal processing: lists of numbers that fall off towards both ends."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.ops.arguments import dtype_or
from expc.compiler.ops.creation import making
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, NATURAL
from expc.compiler.ops.rules import refuse
from expc.compiler.types import FLOATING, TensorType


def _window(call: Call) -> TensorType:
    dtype = dtype_or(call, "f32")
    if dtype not in FLOATING:
        refuse(call, f"makes floating-point numbers, not {dtype}")
    return TensorType(dtype, (call["window_length"],))


def _build(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Torch takes what shapes a window by position."""

    def build(torch: Any, v: dict[str, Any]) -> Any:
        shaped = [v[key] for key in ("window_length", "periodic", "alpha", "beta") if key in v]
        return getattr(torch, name)(*shaped, dtype=v["dtype"], device=v["device"])

    return build


def _of(name: str, doc: str, *shaping: Param) -> Operator:
    params = (Param("window_length", NATURAL), Param("periodic", BOOL, True), *shaping)
    return making(name, doc, params, _window, f"{name}(8)", build=_build(name))


OPERATORS: Final = (
    _of("bartlett_window", "A triangle."),
    _of("blackman_window", "A sum of three cosines."),
    _of("hamming_window", "alpha - beta * cosine.", Param("alpha", FLOAT, 0.54), Param("beta", FLOAT, 0.46)),
    _of("hann_window", "A raised cosine."),
    _of("kaiser_window", "Kaiser's window, the narrower the larger beta.", Param("beta", FLOAT, 12.0)),
)
