"""Losses: each as torch's class, for `loss = CrossEntropyLoss`, and as torch's function, for expressions.

Class and function share one type rule; they differ in how torch orders their parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from expc.compiler.ops.arguments import function, operand, optional_tensor, tensor
from expc.compiler.ops.declare import Operator, Param, ShapeRule
from expc.compiler.ops.inner import layer
from expc.compiler.ops.kinds import (
    BOOL,
    FLOAT,
    INT,
    NATURAL,
    PROBABILITY,
    TENSOR,
    above,
    choice,
    either,
    integer,
    list_of,
    number,
    optional,
)
from expc.compiler.ops.loss_rules import (
    binary,
    binary_logits,
    cosine,
    cross_entropy,
    ctc,
    difference,
    gaussian,
    kept,
    kl_div,
    multi_margin,
    multilabel,
    multilabel_margin,
    nll,
    ranking,
    triplet,
    triplet_with_distance,
)
from expc.compiler.ops.rules import INPUT

TARGET: Final = tensor("target")
_NUMBERS: Final = list_of(FLOAT)
_REDUCTION: Final = Param("reduction", choice("none", "mean", "sum"), "mean", by_name=True)


def _pair(
    names: tuple[str, str],
    doc: str,
    shape: ShapeRule,
    params: Sequence[Param],
    inputs: dict[str, str],
    *,
    tensors: tuple[Param, ...] = (INPUT, TARGET),
    settings: str = "",
    only_function: tuple[Param, ...] = (),
) -> tuple[Operator, Operator]:
    """A loss as class and as function. `params` are the class's; its lists of numbers may be tensors in calls."""
    class_name, name = names
    piped = ", ".join(inputs)
    module = Operator(
        name=class_name,
        kind="loss",
        doc=doc,
        settings=tuple(params),
        arguments=tensors,
        shape=shape,
        example=f"({piped}) -> {class_name}" + (f"({settings})" if settings else ""),
        example_inputs=inputs,
    )
    arguments = (*tensors, *map(_as_argument, params), *only_function)
    called = function(
        name, doc, arguments, shape, f"{name}({piped}{settings and ', '}{settings})", inputs, home="torch.nn.functional"
    )
    return module, called


def _as_argument(param: Param) -> Param:
    return replace(param, kind=optional(either(TENSOR, _NUMBERS)), tensor=True) if param.constant else param


def _weight(name: str = "weight", *, by_name: bool = False) -> Param:
    return Param(name, optional(_NUMBERS), None, constant=True, by_name=by_name)


def _margin(default: float) -> Param:
    return Param("margin", FLOAT, default)


def _by_name(param: Param) -> Param:
    return replace(param, by_name=True)


_IGNORED: Final = Param("ignore_index", INT, -100, by_name=True)
_EACH_WEIGHT: Final = optional_tensor("weight", by_name=True)
_CLASSES: Final = {"x": "f32[N, 10]", "y": "class(10)[N]"}
_VALUES: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]"}
_FULL: Final = Param("full", BOOL, False)


def _eps(default: float) -> Param:
    return Param("eps", FLOAT, default, by_name=True)


def _gaussian_pair() -> tuple[Operator, Operator]:
    tensors = (INPUT, TARGET, operand("var"))
    params = (_by_name(_FULL), _eps(1e-6), _REDUCTION)
    inputs = {**_VALUES, "v": "f32[N, 8]"}
    doc = "The negative log-likelihood of targets under normal distributions."
    module, called = _pair(("GaussianNLLLoss", "gaussian_nll_loss"), doc, gaussian, params, inputs, tensors=tensors)
    return module, replace(called, arguments=tuple(replace(param, by_name=False) for param in called.arguments))


def _poisson_pair() -> tuple[Operator, Operator]:
    """The class's first tensor is called `log_input` in torch too, but that is already a setting's name."""
    params = (Param("log_input", BOOL, True), _FULL, _eps(1e-8), _REDUCTION)
    doc = "The negative log-likelihood of counts under Poisson distributions."
    return _pair(("PoissonNLLLoss", "poisson_nll_loss"), doc, difference, params, _VALUES)


_DISTANCE: Final = layer(
    "PairwiseDistance or CosineSimilarity", lambda operator: operator.name in ("PairwiseDistance", "CosineSimilarity")
)


def _build_triplet(nn: Any, settings: dict[str, Any]) -> Any:
    made = {name: value() if callable(value) else value for name, value in settings.items()}
    return nn.TripletMarginWithDistanceLoss(**made)


_THREE: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]", "z": "f32[N, 8]"}

OPERATORS: Final[tuple[Operator, ...]] = (
    *_pair(
        ("CrossEntropyLoss", "cross_entropy"),
        "How badly outputs, before softmax, tell the class of each sample.",
        cross_entropy,
        (_weight(), _IGNORED, _REDUCTION, Param("label_smoothing", PROBABILITY, 0.0, by_name=True)),
        _CLASSES,
    ),
    *_pair(
        ("NLLLoss", "nll_loss"),
        "Cross entropy from log-probabilities, as log_softmax gives them.",
        nll,
        (_weight(), _IGNORED, _REDUCTION),
        _CLASSES,
    ),
    *_pair(
        ("MSELoss", "mse_loss"),
        "The mean of squared differences.",
        difference,
        (_REDUCTION,),
        _VALUES,
        only_function=(_EACH_WEIGHT,),
    ),
    *_pair(
        ("L1Loss", "l1_loss"),
        "The mean of absolute differences.",
        difference,
        (_REDUCTION,),
        _VALUES,
        only_function=(_EACH_WEIGHT,),
    ),
    *_pair(
        ("SmoothL1Loss", "smooth_l1_loss"),
        "Squared differences below beta, absolute ones above.",
        difference,
        (_REDUCTION, Param("beta", number(0.0), 1.0, by_name=True)),
        _VALUES,
    ),
    *_pair(
        ("HuberLoss", "huber_loss"),
        "Squared differences below delta, delta times absolute ones above.",
        kept,
        (replace(_REDUCTION, by_name=False), Param("delta", above(0.0), 1.0)),
        _VALUES,
        only_function=(optional_tensor("weight"),),
    ),
    *_pair(
        ("BCELoss", "binary_cross_entropy"),
        "Cross entropy of probabilities, as sigmoid gives them, against targets from 0 to 1.",
        binary,
        (_weight(), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        "Sigmoid and binary cross entropy in one, stable.",
        binary_logits,
        (_weight(), _REDUCTION, _weight("pos_weight", by_name=True)),
        _VALUES,
    ),
    *_pair(
        ("KLDivLoss", "kl_div"),
        "The divergence of a distribution from the target's; outputs are log-probabilities.",
        kl_div,
        (
            Param("reduction", choice("none", "batchmean", "sum", "mean"), "mean", by_name=True),
            Param("log_target", BOOL, False, by_name=True),
        ),
        _VALUES,
        settings='reduction="batchmean"',
    ),
    *_poisson_pair(),
    *_gaussian_pair(),
    *_pair(
        ("HingeEmbeddingLoss", "hinge_embedding_loss"),
        "Distances: kept small where the target is 1, above the margin where it is -1.",
        kept,
        (_margin(1.0), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("SoftMarginLoss", "soft_margin_loss"),
        "log(1 + exp(-target * output)) for targets of 1 and -1.",
        kept,
        (_REDUCTION,),
        _VALUES,
    ),
    *_pair(
        ("MarginRankingLoss", "margin_ranking_loss"),
        "Which of two outputs should be larger: the first for a target of 1, the second for -1.",
        ranking,
        (_margin(0.0), _REDUCTION),
        _THREE,
        tensors=(tensor("input1"), tensor("input2"), TARGET),
    ),
    *_pair(
        ("CosineEmbeddingLoss", "cosine_embedding_loss"),
        "The angle between vectors: small for a target of 1, large for -1.",
        cosine,
        (_margin(0.0), _REDUCTION),
        {**_VALUES, "z": "f32[N]"},
        tensors=(tensor("input1"), tensor("input2"), TARGET),
    ),
    *_pair(
        ("TripletMarginLoss", "triplet_margin_loss"),
        "Anchors nearer to positives than to negatives by a margin.",
        triplet,
        (_margin(1.0), Param("p", FLOAT, 2.0), Param("eps", FLOAT, 1e-6), Param("swap", BOOL, False), _REDUCTION),
        _THREE,
        tensors=(tensor("anchor"), tensor("positive"), tensor("negative")),
    ),
    *_pair(
        ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
        "Binary cross entropy with logits, averaged over classes.",
        multilabel,
        (_weight(), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("MultiLabelMarginLoss", "multilabel_margin_loss"),
        "The outputs of the right classes above all others by a margin; targets list them, and then -1.",
        multilabel_margin,
        (_REDUCTION,),
        {"x": "f32[N, 8]", "y": "i64[N, 8]"},
    ),
    *_pair(
        ("MultiMarginLoss", "multi_margin_loss"),
        "The output of the right class above the others by a margin.",
        multi_margin,
        (Param("p", integer(1, 2), 1), _margin(1.0), _weight(), _REDUCTION),
        _CLASSES,
    ),
    *_pair(
        ("CTCLoss", "ctc_loss"),
        "Sequences of labels against outputs over time, not aligned.",
        ctc,
        (Param("blank", NATURAL, 0), replace(_REDUCTION, by_name=False), Param("zero_infinity", BOOL, False)),
        {"x": "f32[T, N, 10]", "y": "class(10)[N, 5]", "a": "i64[N]", "b": "i64[N]"},
        tensors=(tensor("log_probs"), tensor("targets"), tensor("input_lengths"), tensor("target_lengths")),
    ),
    Operator(
        "TripletMarginWithDistanceLoss",
        "loss",
        "Anchors nearer to positives than to negatives by a margin, by a distance of one's own.",
        settings=(
            Param("distance_function", optional(_DISTANCE), None, layer=True),
            Param("margin", FLOAT, 1.0),
            Param("swap", BOOL, False),
            _REDUCTION,
        ),
        arguments=(tensor("anchor"), tensor("positive"), tensor("negative")),
        shape=triplet_with_distance,
        build=_build_triplet,
        example="(x, y, z) -> TripletMarginWithDistanceLoss(PairwiseDistance(p=1.0))",
        example_inputs=_THREE,
    ),
)
