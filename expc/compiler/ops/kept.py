"""What autograd keeps of each operator until the backward pass has used it.

An operator keeps some of its arguments, its result, or tensors that nobody sees otherwise. `KEEPS` says it in a small
vocabulary: names of arguments and `result` (`result.1` is the second of several), each by itself for what is kept
whenever a gradient goes through, or as `other for input` for what is kept where `input` has a gradient.
`kept_rules.py` and its neighbours have rules for those whose extra tensors have a size of their own. Weights are not
counted: they are there anyway. What holds is measured, on the CPU in eager mode, by `tests/unit/compiler/test_kept.py`.

Only `expc summary` and the rules about memory read this: it stands apart from the operators, so that a check that
needs none of it does not pay for it.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call
from expc.compiler.ops.rules import product
from expc.compiler.types import TensorType
from expc.frozen import dataclass


class As(NamedTuple):
    """An argument is kept in another shape: no memory of its own where that is a view, else a copy."""

    name: str
    dims: tuple[Size, ...]


Item = str | As | Size
"""One tensor that is kept: by name, as a view or copy of an argument, or as the bytes of a tensor of its own."""


@dataclass(frozen=True)
class Use:
    """One application of an operator in training: its call, the type of its result, and what has a gradient."""

    call: Call
    result: Any
    needs: Callable[[str], bool]
    """Whether the argument of this name has a gradient."""

    def bytes(self, name: str = "input") -> Size:
        """The bytes of an argument."""
        return size_of(self.call.tensor(name))


Rule = Callable[[Use], Iterator[Item]]

F32_BYTES: Final = 4
I64_BYTES: Final = 8
_BYTES: Final = {"bool": 1, "u8": 1, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}


def size_of(type_: TensorType) -> Size:
    """The bytes of a tensor."""
    return _BYTES[type_.dtype] * product(type_.dims)


def kept(name: str) -> Rule | None:
    """The rule of the operator called `name`; none for what is not known, as the Python code of an `extern`."""
    from expc.compiler.ops.kept_rules import RULES

    words = _by_name().get(name)
    return RULES.get(name) if words is None else _read(words)


def numbers(type_: TensorType, count: Size) -> Size:
    """The bytes of so many numbers of a tensor's dtype."""
    return _BYTES[type_.dtype] * count


def has_gradient(name: str) -> bool:
    """Whether gradients go through the operator at all."""
    return name not in NO_GRADIENT


@cache
def _by_name() -> dict[str, str]:
    return {name: words for words, names in KEEPS.items() for name in names.split()}


@cache
def _read(words: str) -> Rule:
    """The rule that a line of the vocabulary says."""
    parts = [part.partition(" for ") for part in words.split(", ") if part]

    def rule(use: Use) -> Iterator[Item]:
        for name, _, owners in parts:
            if not owners or any(map(use.needs, owners.split("/"))):
                yield name

    return rule


KEEPS: Final = {
    "": (
        "add adjoint affine_grid atleast_1d atleast_2d atleast_3d bernoulli binomial bitwise_and bitwise_left_shift "
        "bitwise_not bitwise_or bitwise_right_shift bitwise_xor block_diag broadcast_tensors broadcast_to "
        "cartesian_prod cat ceil channel_shuffle ChannelShuffle chunk CircularPad1d CircularPad2d CircularPad3d "
        "clone column_stack concat concatenate ConstantPad1d ConstantPad2d ConstantPad3d contiguous cumsum "
        "cumulative_trapezoid deg2rad diag diag_embed diagflat diagonal diagonal_scatter diff dsplit dstack expand "
        "fill fix Flatten flatten flip fliplr flipud floor floor_divide Fold fold frac gcd gradient heaviside "
        "hsplit hstack Identity isin lcm lerp mean meshgrid moveaxis movedim narrow neg negative "
        "one_hot Permute permute pixel_shuffle pixel_unshuffle PixelShuffle PixelUnshuffle poisson positive "
        "rad2deg ravel rearrange repeat_interleave reshape roll rot90 round row_stack rsub select select_scatter "
        "sign slice_scatter split split_with_sizes squeeze stack sub subtract sum swapaxes swapdims t tensor_split "
        "tile trace transpose trapezoid trapz tril triu trunc unbind Unflatten unflatten Unfold unfold "
        "unravel_index unsqueeze UpsamplingBilinear2d UpsamplingNearest2d view vsplit vstack ZeroPad1d "
        "ZeroPad2d ZeroPad3d"
    ),
    "input": (
        "abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh "
        "avg_pool1d avg_pool2d avg_pool3d AvgPool1d AvgPool2d AvgPool3d CELU celu "
        "ConvTranspose1d ConvTranspose2d ConvTranspose3d cos cosh digamma ELU elu Embedding embedding erf erfc "
        "erfinv GELU gelu GLU glu Hardshrink hardshrink Hardsigmoid hardsigmoid Hardswish hardswish Hardtanh "
        "hardtanh i0 leaky_relu LeakyReLU lgamma log log10 log1p log2 logit matrix_exp matrix_power Mish mish "
        "nan_to_num nansum polygamma PReLU ReflectionPad1d ReflectionPad2d ReflectionPad3d ReLU6 relu6 renorm "
        "ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU selu SiLU silu sin sinc sinh Softplus softplus "
        "Softshrink softshrink square Threshold threshold var var_mean"
    ),
    "result": (
        "exp exp2 expm1 gumbel_softmax inverse log_softmax LogSoftmax reciprocal ReLU relu rsqrt Sigmoid sigmoid "
        "Softmax softmax Softmax2d Softmin softmin sqrt tan Tanh tanh"
    ),
    "input, result": "amax amin CrossMapLRN2d cumprod logcumsumexp logsumexp norm pdist pinverse prod sgn std",
    "input, other": "arctan2 atan2 fmax fmin logaddexp logaddexp2 maximum minimum xlogy",
    "input, target": (
        "BCELoss BCEWithLogitsLoss binary_cross_entropy binary_cross_entropy_with_logits huber_loss HuberLoss "
        "mse_loss MSELoss multi_margin_loss MultiMarginLoss smooth_l1_loss SmoothL1Loss"
    ),
    "result.1": "frexp kthvalue mode sort topk",
    "input, weight": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d prelu",
    "input for other, other for input": "cross inner kron mul multiply vdot",
    "input for other, other for other": "fmod igamma igammac remainder",
    "input for other, other": "div divide true_divide",
    "index": "index_select scatter",
    "index, input": "gather take",
    "index, source for source": "index_copy put",
    "input for target, target": "kl_div KLDivLoss",
    "input for vec2, vec2 for input": "ger outer",
    "input, result.1": "cummax cummin",
    "mask": "masked_fill masked_scatter",
    "a for b, b for a": "tensordot",
    "bias, input, weight": "conv_tbc",
    "condition": "where",
    "grid, input": "grid_sample",
    "index for input": "index_fill",
    "index for source, source for source": "index_add",
    "index for src": "scatter_add",
    "index, input, result, src": "scatter_reduce",
    "indices.0": "index_put",
    "input for input, other for input": "nextafter",
    "input for input, other for other, result": "hypot",
    "input for input, result": "copysign",
    "input for mat2, mat2 for input": "mm",
    "input for tensor, tensor for input": "dot",
    "input for vec, vec for input": "mv",
    "input, min, max": "clamp clip",
    "input, max": "clamp_max",
    "input, min": "clamp_min",
    "input, other, result": "dist",
    "input, result.0": "std_mean",
    "input, result.0, result.1": "aminmax",
    "input1 for input2/weight, input2 for input1/weight, weight for input1/input2": "bilinear",
    "input1, input2": "Bilinear",
    "mat for vec, vec for mat": "addmv",
    "mat1 for mat2, mat2 for mat1": "addmm",
    "other for input, result": "ldexp",
    "result, x1, x2": "cdist",
    "tensor1 for tensor2, tensor2 for tensor1/tensor2": "addcdiv",
    "tensor1 for tensor2, tensor2 for tensor1": "addcmul",
    "vec1 for vec2, vec2 for vec1": "addr",
}
"""What is kept -> the operators that keep it."""

_NO_GRADIENT: Final = (
    "all any arange argmax argmin argsort bartlett_window blackman_window bucketize count_nonzero detach eq eye "
    "full full_like ge greater greater_equal gt hamming_window hann_window histc isclose isfinite isinf isnan "
    "isneginf isposinf isreal kaiser_window le less less_equal linspace logical_and logical_not logical_or "
    "logical_xor logspace lt multinomial ne normal not_equal ones ones_like rand rand_like randint randint_like "
    "randn randn_like randperm searchsorted signbit tensor tril_indices triu_indices zeros zeros_like "
)
NO_GRADIENT: Final = frozenset(_NO_GRADIENT.split())
"""The operators whose result has no gradient: choices, comparisons, and tensors made from nothing."""

_LOSS = "which of its tensors are kept depends on which have a gradient, and some are copies"
_STEPS = "is several steps in torch, of which most keep something"
APPROXIMATE: Final = {
    **dict.fromkeys(
        (
            *("GaussianNLLLoss", "gaussian_nll_loss", "HingeEmbeddingLoss", "hinge_embedding_loss"),
            *("MarginRankingLoss", "margin_ranking_loss", "CosineEmbeddingLoss", "cosine_embedding_loss"),
            *("TripletMarginLoss", "triplet_margin_loss", "TripletMarginWithDistanceLoss", "CTCLoss", "ctc_loss"),
            *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
        ),
        _LOSS,
    ),
    **dict.fromkeys(("cov", "corrcoef", "combinations", "vander"), _STEPS),
}
"""Operators whose bytes are right within a factor of 4, with the reason; the others are exact for f32 on the CPU."""
