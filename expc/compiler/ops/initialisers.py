"""How parameters start: every function of `torch.nn.init`, by its name without the underscore."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import FLOAT, POSITIVE, PROBABILITY, above, choice, number
from expc.frozen import dataclass

_GAINS: Final = choice(
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
)


@dataclass(frozen=True)
class Initialiser:
    """A function that fills one parameter: `torch.nn.init.<name>_(parameter, **settings)`.

    It takes parameters of `min_rank` to `max_rank` dimensions; torch refuses others.
    """

    name: str
    settings: tuple[Param, ...]
    doc: str
    min_rank: int = 0
    max_rank: int | None = None
    refuses: Callable[[Mapping[str, Any], Sequence[Size]], str | None] | None = None
    """Why torch would not start a parameter of these sizes with these settings, if so."""
    whole: bool = False
    """It can fill a tensor of whole numbers, too; the others draw fractions."""

    def __str__(self) -> str:
        return self.name


def _kaiming(name: str, spread: str) -> Initialiser:
    return Initialiser(
        name,
        (
            Param("a", FLOAT, 0, "The slope for negative values; only for leaky_relu."),
            Param("mode", choice("fan_in", "fan_out"), "fan_in", "What keeps its variance: outputs or gradients."),
            Param("nonlinearity", _GAINS, "leaky_relu", "The function that comes after."),
        ),
        f"He's initialisation, {spread}: variance kept through ReLU layers.",
        min_rank=2,
    )


def _xavier(name: str, spread: str) -> Initialiser:
    gain = Param("gain", number(0.0), 1.0, "A factor on the spread.")
    return Initialiser(name, (gain,), f"Glorot's initialisation, {spread}: variance kept both ways.", min_rank=2)


def _descending(settings: Mapping[str, Any], _: Sequence[Size]) -> str | None:
    low, high = settings["a"], settings["b"]
    return f"a={low} must not be greater than b={high}" if low > high else None


def _ungrouped(settings: Mapping[str, Any], dims: Sequence[Size]) -> str | None:
    groups = settings["groups"]
    if isinstance(dims[0], int) and dims[0] % groups:
        return f"groups={groups} must divide the first dimension, and this one is {dims[0]}"
    return None


_MEAN: Final = Param("mean", FLOAT, 0.0)
_SPREAD: Final = number(0)
_STD: Final = Param("std", _SPREAD, 1.0)

INITIALISERS: Final = (
    Initialiser("zeros", (), "Zeros.", whole=True),
    Initialiser("ones", (), "Ones.", whole=True),
    Initialiser("constant", (Param("val", FLOAT),), "One number everywhere.", whole=True),
    Initialiser(
        "uniform", (Param("a", FLOAT, 0.0), Param("b", FLOAT, 1.0)), "Uniform from a to b.", refuses=_descending
    ),
    Initialiser("normal", (_MEAN, _STD), "Normal with a mean and a standard deviation."),
    Initialiser(
        "trunc_normal",
        (_MEAN, Param("std", above(0.0), 1.0), Param("a", FLOAT, -2.0), Param("b", FLOAT, 2.0)),
        "Normal, with everything outside a to b drawn again.",
        refuses=_descending,
    ),
    _xavier("xavier_uniform", "uniform"),
    _xavier("xavier_normal", "normal"),
    _kaiming("kaiming_uniform", "uniform"),
    _kaiming("kaiming_normal", "normal"),
    Initialiser("orthogonal", (Param("gain", FLOAT, 1),), "An orthogonal matrix.", min_rank=2),
    Initialiser("eye", (), "The identity, for matrices.", min_rank=2, max_rank=2, whole=True),
    Initialiser(
        "dirac",
        (Param("groups", POSITIVE, 1),),
        "The identity, for convolutions.",
        min_rank=3,
        max_rank=5,
        refuses=_ungrouped,
        whole=True,
    ),
    Initialiser(
        "sparse",
        (Param("sparsity", PROBABILITY), Param("std", _SPREAD, 0.01)),
        "A part of each column zero, the rest normal.",
        min_rank=2,
        max_rank=2,
    ),
)
