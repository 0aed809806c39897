"""What each operator may be given: its names and kinds are the table's, values that often fit are here.

Nothing here decides whether a use is right; torch does. A new operator needs no hint unless its tensors must fit each
other in a way of their own.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from fuzz.hints_functions import (
    created,
    crossed,
    drawn,
    einsum,
    expanded,
    gathering,
    joined,
    logical,
    matrix,
    one_hot,
    ordered,
    products,
    rearranged,
    repeated,
    reshaped,
    rolled,
    scattered,
    selected,
    several,
    split,
    tiled,
    unflattened,
    unravelled,
    vector,
    where,
    whole,
)
from fuzz.hints_layers import (
    attended,
    attention,
    bilinear,
    bilinear_function,
    conv_function,
    convolution,
    embedding,
    folding,
    grid,
    over_time,
    padded,
    recurrent,
    resized,
    transformer,
    unpooled,
    weighted,
)
from fuzz.hints_losses import adaptive, classes, ctc, pairs
from fuzz.spelling import Values, spelled
from fuzz.terms import Operate
from fuzz.values import anything

if TYPE_CHECKING:
    from fuzz.generate import Builder

Hint = Callable[["Builder", Any, Any], Values]
"""From the builder, the operator and what flows (or none) to tensors and settings by torch's names."""


def use_of(b: "Builder", entry: Any, flow: Any = None) -> tuple[Any, Operate]:
    """A use of an operator: the head of a chain, and the stage that follows it."""
    values = hint_of(entry.name)(b, entry, flow)
    return spelled(b, entry, values)


@cache
def hint_of(name: str) -> Hint:
    """How an operator's values are chosen."""
    if name in HINTS:
        return HINTS[name]
    for pattern, hint in PATTERNS:
        if re.fullmatch(pattern, name):
            return hint
    return anything


NO_META = {
    "CTCLoss", "ctc_loss", "GaussianNLLLoss", "gaussian_nll_loss", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "MultiLabelMarginLoss", "multilabel_margin_loss", "binomial",
    "corrcoef", "cov", "unravel_index", "lcm", "gcd",
}  # fmt: skip
"""They have no kernel for the meta device, or look at the numbers of their tensors."""


HINTS: dict[str, Hint] = {
    **dict.fromkeys(("Transformer", "TransformerEncoder", "TransformerDecoder"), transformer),
    "combinations": vector,
    "bilinear": bilinear_function, "cross": crossed, "cov": matrix, "corrcoef": matrix, "unravel_index": unravelled,
    **dict.fromkeys(("diagonal_scatter", "select_scatter", "index_fill", "index_put", "put"), scattered),
    **dict.fromkeys(("broadcast_tensors", "meshgrid", "cartesian_prod", "block_diag"), several),

    "conv_tbc": over_time, "AdaptiveLogSoftmaxWithLoss": adaptive, "embedding_bag": embedding, "index_copy": gathering,
    "linear": weighted, "layer_norm": weighted, "rms_norm": weighted, "group_norm": weighted, "batch_norm": weighted,
    "prelu": weighted, "Embedding": embedding, "EmbeddingBag": embedding, "embedding": embedding,
    "RNN": recurrent, "LSTM": recurrent, "GRU": recurrent, "MultiheadAttention": attention,
    "TransformerEncoderLayer": attention, "TransformerDecoderLayer": attention,
    "scaled_dot_product_attention": attended, "Bilinear": bilinear,
    "CrossEntropyLoss": classes, "cross_entropy": classes, "NLLLoss": classes, "nll_loss": classes,
    "MultiMarginLoss": classes, "multi_margin_loss": classes, "CTCLoss": ctc, "ctc_loss": ctc,
    "cat": joined, "concat": joined, "concatenate": joined, "stack": joined, "hstack": joined, "vstack": joined,
    "dstack": joined, "column_stack": joined, "row_stack": joined,
    "index_select": gathering, "gather": gathering, "take_along_dim": gathering, "scatter": gathering,
    "scatter_add": gathering, "index_add": gathering, "reshape": reshaped, "view": reshaped, "unflatten": unflattened,
    "Unflatten": unflattened, "expand": expanded, "broadcast_to": expanded, "permute": ordered, "flip": ordered,
    "tile": tiled, "split": split, "pad": padded, "interpolate": resized, "Upsample": resized, "einsum": einsum,
    "rearrange": rearranged, "select": selected, "narrow": selected, "where": where, "masked_fill": where,
    "one_hot": one_hot, "fold": folding, "Fold": folding, "grid_sample": grid, "affine_grid": grid, "all": logical,
    "any": logical, "repeat_interleave": repeated, "roll": rolled, "multinomial": drawn,
    **dict.fromkeys(
        ("matmul", "mm", "bmm", "mv", "dot", "vdot", "outer", "ger", "addmm", "addmv", "addr", "baddbmm", "addbmm",
         "cdist"),
        products,
    ),
    **dict.fromkeys(
        ("arange", "zeros", "ones", "full", "eye", "linspace", "logspace", "tensor", "rand", "randn", "randint",
         "randperm", "normal"),
        created,
    ),
}  # fmt: skip

PATTERNS: tuple[tuple[str, Hint], ...] = (
    (r"Conv(Transpose)?[123]d", convolution),
    (r"conv(_transpose)?[123]d", conv_function),
    (r"(MaxUnpool|max_unpool)[123]d", unpooled),
    (r"bitwise_.*|gcd|lcm", whole),
    (r".*Loss|.*_loss|.*_entropy|.*_with_logits|kl_div", pairs),
)
