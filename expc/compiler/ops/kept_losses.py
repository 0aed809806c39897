"""What is kept by losses that keep more than their input and target."""

from collections.abc import Iterator, Mapping
from typing import Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.kept import Item, Rule, Use, numbers, size_of
from expc.compiler.ops.rules import product
from expc.compiler.types import FLOATING, TensorType, promote


def _cross_entropy(use: Use) -> Iterator[Item]:
    """The logarithms of the probabilities, as large as the scores; with smoothing, which targets are ignored."""
    target: TensorType = use.call["target"]
    yield use.bytes()
    yield "target"
    if target.dtype in FLOATING:
        return
    yield numbers(use.call.tensor(), 1)
    yield from _class_weights(use)
    if use.call["label_smoothing"]:
        yield product(target.dims) + (8 if use.call["reduction"] == "mean" else 0)


def _likelihood(use: Use) -> Iterator[Item]:
    yield from ("input", "target")
    yield numbers(use.call.tensor(), 1)
    yield from _class_weights(use)


def _class_weights(use: Use) -> Iterator[Item]:
    weight = use.call["weight"]
    if isinstance(weight, TensorType):
        yield "weight"
    elif weight is not None:
        yield 4 * len(weight)


def _difference(use: Use) -> Iterator[Item]:
    yield _pairs(use)


def _pairs(use: Use) -> Size:
    x, y = (use.call.tensor(name) for name in ("input", "target"))
    return size_of(TensorType(promote(x.dtype, y.dtype), broadcast(use.call, x, y)))


def _poisson(use: Use) -> Iterator[Item]:
    if use.needs("input"):
        yield use.bytes()
        yield "target"
    if use.needs("target"):
        yield "input"


def _several(factor: int, *names: str) -> Rule:
    """`factor` tensors as large as the first argument, and these arguments."""

    def rule(use: Use) -> Iterator[Item]:
        first = next(value for value in use.call.values.values() if isinstance(value, TensorType))
        yield factor * size_of(first)
        yield from names

    return rule


def _adaptive(use: Use) -> Iterator[Item]:
    x = use.call.tensor("input_")
    yield "input_"
    clusters = use.call["cutoffs"]
    yield 4 * x.dims[0] * (clusters[0] + len(clusters)) + 8 * x.dims[0]


def _ctc(use: Use) -> Iterator[Item]:
    """The logarithms, and the probability of each step in each alignment."""
    x, targets = use.call.tensor("log_probs"), use.call.tensor("targets")
    yield from ("log_probs", "targets")
    yield 4 * x.dims[0] * x.dims[1] * (2 * targets.dims[-1] + 1) + 8 * x.dims[1]


LOSSES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("CrossEntropyLoss", "cross_entropy"), _cross_entropy),
    **dict.fromkeys(("NLLLoss", "nll_loss"), _likelihood),
    **dict.fromkeys(("L1Loss", "l1_loss"), _difference),
    **dict.fromkeys(("PoissonNLLLoss", "poisson_nll_loss"), _poisson),
    **dict.fromkeys(("SoftMarginLoss", "soft_margin_loss"), _several(1, "input", "target")),
    **dict.fromkeys(("GaussianNLLLoss", "gaussian_nll_loss"), _several(2)),
    **dict.fromkeys(("HingeEmbeddingLoss", "hinge_embedding_loss"), _several(2)),
    **dict.fromkeys(("MarginRankingLoss", "margin_ranking_loss"), _several(2)),
    **dict.fromkeys(("CosineEmbeddingLoss", "cosine_embedding_loss"), _several(1, "input1", "input2")),
    **dict.fromkeys(("TripletMarginLoss", "triplet_margin_loss", "TripletMarginWithDistanceLoss"), _several(2)),
    **dict.fromkeys(("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"), _several(4, "input", "target")),
    **dict.fromkeys(("MultiLabelMarginLoss", "multilabel_margin_loss"), _several(1, "input", "target")),
    **dict.fromkeys(("CTCLoss", "ctc_loss"), _ctc),
    "AdaptiveLogSoftmaxWithLoss": _adaptive,
}
