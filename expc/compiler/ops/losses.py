"""Losses: each as torch's class, for `loss = CrossEntropyLoss`, and as torch's function, for expressions.

Class and function share one type rule; they differ in how torch orders their parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from expc.compiler.ops.arguments import (
    INPUT,
    floated,
    function,
    need_dtype,
    need_floating,
    need_rank,
    need_same_dtype,
    operand,
    optional_tensor,
    refuse,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import (
    BOOL,
    FLOAT,
    INT,
    NATURAL,
    PROBABILITY,
    TENSOR,
    choice,
    either,
    integer,
    list_of,
    number,
    optional,
)
from expc.compiler.ops.targets import (
    batched,
    broadcastable,
    class_indices,
    class_weights,
    compared,
    encoding,
    enough_outputs,
    reduced,
    same_shape,
)
from expc.compiler.types import FLOATING, INTEGER, TensorType, promote

TARGET: Final = tensor("target")
_NUMBERS: Final = list_of(FLOAT)
_REDUCTION: Final = Param("reduction", choice("none", "mean", "sum"), "mean", by_name=True)


def _indices(output: TensorType) -> frozenset[str]:
    """The dtypes of class indices that torch takes for these outputs."""
    return frozenset({"i64"}) if output.rank > 2 else frozenset({"i64", "u8"})


def _cross_entropy(call: Call) -> TensorType:
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    batched(call, output, 2, "outputs for each of a batch [N, classes, ...]")
    if output.rank == 0:
        need_rank(call, output, (1, 2), "outputs for each class")
    classes_at = 0 if output.rank == 1 else 1
    class_weights(call, output, classes_at, same_dtype=target.dtype not in FLOATING)
    rest = output.dims[:classes_at] + output.dims[classes_at + 1 :]
    if target.dtype in FLOATING:
        if target.rank == output.rank - 1:
            encoding(call, target, f"class indices (write `-> i64`) or probabilities in the outputs' shape {output}")
        same_shape(call, output, target)
        return reduced(call, promote(output.dtype, target.dtype), rest)
    if target.dtype == "u8" and call["weight"] is not None and call["label_smoothing"]:
        encoding(call, target, "class indices as i64 (write `-> i64`) with both weight and label_smoothing")
    if target.dims == output.dims or target.dtype not in _indices(output):
        one_hot = "class indices without one-hot encoding, or floating-point probabilities (write `-> f32`)"
        encoding(call, target, one_hot if target.dims == output.dims else "class indices as i64 (write `-> i64`)")
    return reduced(call, output.dtype, class_indices(call, output, target))


def _nll(call: Call) -> TensorType:
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    batched(call, output, 2, "log-probabilities for each of a batch [N, classes, ...]")
    if target.dtype not in _indices(output):
        encoding(call, target, "class indices as i64")
    if output.rank == 0:
        need_rank(call, output, (1, 2), "log-probabilities for each class")
    class_weights(call, output, 0 if output.rank == 1 else 1)
    return reduced(call, output.dtype, class_indices(call, output, target))


def _difference(call: Call) -> TensorType:
    """mse, l1, smooth l1: the dtypes promote."""
    output, target = compared(call)
    if call.values.get("weight") is not None:
        need_floating(call, call.tensor("weight"))
        same_shape(call, output, call.tensor("weight"))
    return reduced(call, promote(output.dtype, target.dtype), output.dims)


def _kept(call: Call) -> TensorType:
    """Losses whose result has the outputs' dtype, whatever the target's."""
    output, _ = compared(call)
    if call.values.get("weight") is not None:
        need_floating(call, call.tensor("weight"))
        same_shape(call, output, call.tensor("weight"))
    return reduced(call, output.dtype, output.dims)


def _binary(call: Call) -> TensorType:
    output, target = compared(call, floating=True)
    need_same_dtype(call, output, target)
    broadcastable(call, "weight", output)
    return reduced(call, output.dtype, output.dims)


def _binary_logits(call: Call) -> TensorType:
    output, target = compared(call, floating=True)
    broadcastable(call, "weight", output)
    broadcastable(call, "pos_weight", output)
    return reduced(call, target.dtype, output.dims)


def _kl_div(call: Call) -> TensorType:
    output, target = compared(call, floating=True)
    return reduced(call, promote(output.dtype, target.dtype), output.dims)


def _gaussian(call: Call) -> TensorType:
    output, target = compared(call)
    variance = call["var"]
    if isinstance(variance, TensorType):
        need_floating(call, variance)
        if variance.rank == output.rank - 1:
            variance = replace(variance, dims=(*variance.dims, 1))
        if variance.rank != output.rank:
            refuse(
                call,
                f"var {call['var']} must have the shape of the outputs {output}, or 1 as its last size",
            )
        for at, (a, b) in enumerate(zip(output.dims, variance.dims, strict=True)):
            if not (at == output.rank - 1 and isinstance(b, int) and b == 1):
                call.require_equal(a, b, f"dimension {at} of var")
        dtype = promote(promote(output.dtype, target.dtype), variance.dtype)
    else:
        dtype = promote(output.dtype, target.dtype)
    return reduced(call, dtype, output.dims)


def _ranking(call: Call) -> TensorType:
    a, b, target = call.tensor("input1"), call.tensor("input2"), call.tensor("target")
    need_floating(call, a, b)
    same_shape(call, a, b)
    same_shape(call, a, target)
    return reduced(call, promote(promote(a.dtype, b.dtype), target.dtype), a.dims)


def _cosine(call: Call) -> TensorType:
    a, b, target = call.tensor("input1"), call.tensor("input2"), call.tensor("target")
    need_floating(call, a, b)
    need_rank(call, a, (2,) if call.operator.kind == "loss" else (1, 2), "vectors of a batch [N, D]")
    same_shape(call, a, b)
    same_shape(call, TensorType(target.dtype, a.dims[:-1]), target)
    return reduced(call, promote(a.dtype, b.dtype), a.dims[:-1])


def _triplet(call: Call) -> TensorType:
    found = [call.tensor(name) for name in ("anchor", "positive", "negative")]
    for type_ in found:
        need_rank(call, type_, (found[0].rank,), f"tensors of equally many dimensions, here {found[0].rank}")
        if type_.rank == 0:
            refuse(call, "takes vectors, not scalars")
    batched(call, found[0], 2, "vectors of a batch [N, D]")
    dims = broadcast(call, *found)
    dtype = promote(promote(found[0].dtype, found[1].dtype), found[2].dtype)
    return reduced(call, floated(dtype), dims[:-1])


def _multilabel(call: Call) -> TensorType:
    output, target = compared(call, floating=True)
    batched(call, output, 2, "outputs for each of a batch [N, classes]")
    class_weights(call, output, output.rank - 1, same_dtype=False)
    return reduced(call, promote(output.dtype, target.dtype), output.dims[:-1])


def _multi_margin(call: Call) -> TensorType:
    output, target = call.tensor(), call.tensor("target")
    need_floating(call, output)
    need_rank(
        call, output, (2,) if call.operator.kind == "loss" else (1, 2), "outputs for each of a batch [N, classes]"
    )
    if target.dtype != "i64":
        encoding(call, target, "class indices as i64")
    same_shape(call, TensorType("i64", output.dims[:-1]), target)
    enough_outputs(call, output.dims[-1], target, output)
    class_weights(call, output, output.rank - 1)
    return reduced(call, output.dtype, output.dims[:-1])


def _ctc(call: Call) -> TensorType:
    output, targets = call.tensor("log_probs"), call.tensor("targets")
    need_dtype(call, output, frozenset({"f32", "f64"}), "log-probabilities in f32")
    need_rank(call, output, (3,), "log-probabilities [T, N, classes]")
    batch = output.dims[1]
    need_dtype(call, targets, frozenset({"i64", "i32"}), "class indices")
    need_rank(call, targets, (1, 2), "targets [N, S], or all of them in a row")
    if targets.rank == 2:
        call.require_equal(batch, targets.dims[0], "dimension 0 of the targets, the batch,")
    for name in ("input_lengths", "target_lengths"):
        lengths = call.tensor(name)
        need_dtype(call, lengths, INTEGER, "lengths as whole numbers")
        need_rank(call, lengths, (1,), "a length for each of the batch [N]")
        call.require_equal(batch, lengths.dims[0], f"the size of {name}")
    enough_outputs(call, output.dims[2], targets, output)
    return reduced(call, output.dtype, (batch,))


# ---------------------------------------------------------------------------------------------------- declarations


def _pair(
    names: tuple[str, str],
    doc: str,
    shape: ShapeRule,
    params: Sequence[Param],
    inputs: dict[str, str],
    *,
    tensors: tuple[Param, ...] = (INPUT, TARGET),
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
        example=f"({piped}) -> {class_name}",
        example_inputs=inputs,
    )
    arguments = (*tensors, *map(_as_argument, params), *only_function)
    called = function(name, doc, arguments, shape, f"{name}({piped})", inputs, home="torch.nn.functional")
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
    module, called = _pair(("GaussianNLLLoss", "gaussian_nll_loss"), doc, _gaussian, params, inputs, tensors=tensors)
    return module, replace(called, arguments=tuple(replace(param, by_name=False) for param in called.arguments))


def _poisson_pair() -> tuple[Operator, Operator]:
    """The class's first tensor is called `log_input` in torch too, but that is already a setting's name."""
    params = (Param("log_input", BOOL, True), _FULL, _eps(1e-8), _REDUCTION)
    doc = "The negative log-likelihood of counts under Poisson distributions."
    return _pair(("PoissonNLLLoss", "poisson_nll_loss"), doc, _difference, params, _VALUES)


_THREE: Final = {"x": "f32[N, 8]", "y": "f32[N, 8]", "z": "f32[N, 8]"}

OPERATORS: Final[tuple[Operator, ...]] = (
    *_pair(
        ("CrossEntropyLoss", "cross_entropy"),
        "How badly outputs, before softmax, tell the class of each sample.",
        _cross_entropy,
        (_weight(), _IGNORED, _REDUCTION, Param("label_smoothing", PROBABILITY, 0.0, by_name=True)),
        _CLASSES,
    ),
    *_pair(
        ("NLLLoss", "nll_loss"),
        "Cross entropy from log-probabilities, as log_softmax gives them.",
        _nll,
        (_weight(), _IGNORED, _REDUCTION),
        _CLASSES,
    ),
    *_pair(
        ("MSELoss", "mse_loss"),
        "The mean of squared differences.",
        _difference,
        (_REDUCTION,),
        _VALUES,
        only_function=(_EACH_WEIGHT,),
    ),
    *_pair(
        ("L1Loss", "l1_loss"),
        "The mean of absolute differences.",
        _difference,
        (_REDUCTION,),
        _VALUES,
        only_function=(_EACH_WEIGHT,),
    ),
    *_pair(
        ("SmoothL1Loss", "smooth_l1_loss"),
        "Squared differences below beta, absolute ones above.",
        _difference,
        (_REDUCTION, Param("beta", number(0.0), 1.0, by_name=True)),
        _VALUES,
    ),
    *_pair(
        ("HuberLoss", "huber_loss"),
        "Squared differences below delta, delta times absolute ones above.",
        _kept,
        (replace(_REDUCTION, by_name=False), Param("delta", FLOAT, 1.0)),
        _VALUES,
        only_function=(optional_tensor("weight"),),
    ),
    *_pair(
        ("BCELoss", "binary_cross_entropy"),
        "Cross entropy of probabilities, as sigmoid gives them, against targets from 0 to 1.",
        _binary,
        (_weight(), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        "Sigmoid and binary cross entropy in one, stable.",
        _binary_logits,
        (_weight(), _REDUCTION, _weight("pos_weight", by_name=True)),
        _VALUES,
    ),
    *_pair(
        ("KLDivLoss", "kl_div"),
        "The divergence of a distribution from the target's; outputs are log-probabilities.",
        _kl_div,
        (
            Param("reduction", choice("none", "batchmean", "sum", "mean"), "mean", by_name=True),
            Param("log_target", BOOL, False, by_name=True),
        ),
        _VALUES,
    ),
    *_poisson_pair(),
    *_gaussian_pair(),
    *_pair(
        ("HingeEmbeddingLoss", "hinge_embedding_loss"),
        "Distances: kept small where the target is 1, above the margin where it is -1.",
        _kept,
        (_margin(1.0), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("SoftMarginLoss", "soft_margin_loss"),
        "log(1 + exp(-target * output)) for targets of 1 and -1.",
        _kept,
        (_REDUCTION,),
        _VALUES,
    ),
    *_pair(
        ("MarginRankingLoss", "margin_ranking_loss"),
        "Which of two outputs should be larger: the first for a target of 1, the second for -1.",
        _ranking,
        (_margin(0.0), _REDUCTION),
        _THREE,
        tensors=(tensor("input1"), tensor("input2"), TARGET),
    ),
    *_pair(
        ("CosineEmbeddingLoss", "cosine_embedding_loss"),
        "The angle between vectors: small for a target of 1, large for -1.",
        _cosine,
        (_margin(0.0), _REDUCTION),
        {**_VALUES, "z": "f32[N]"},
        tensors=(tensor("input1"), tensor("input2"), TARGET),
    ),
    *_pair(
        ("TripletMarginLoss", "triplet_margin_loss"),
        "Anchors nearer to positives than to negatives by a margin.",
        _triplet,
        (_margin(1.0), Param("p", FLOAT, 2.0), Param("eps", FLOAT, 1e-6), Param("swap", BOOL, False), _REDUCTION),
        _THREE,
        tensors=(tensor("anchor"), tensor("positive"), tensor("negative")),
    ),
    *_pair(
        ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
        "Binary cross entropy with logits, averaged over classes.",
        _multilabel,
        (_weight(), _REDUCTION),
        _VALUES,
    ),
    *_pair(
        ("MultiMarginLoss", "multi_margin_loss"),
        "The output of the right class above the others by a margin.",
        _multi_margin,
        (Param("p", integer(1, 2), 1), _margin(1.0), _weight(), _REDUCTION),
        _CLASSES,
    ),
    *_pair(
        ("CTCLoss", "ctc_loss"),
        "Sequences of labels against outputs over time, not aligned.",
        _ctc,
        (Param("blank", NATURAL, 0), replace(_REDUCTION, by_name=False), Param("zero_infinity", BOOL, False)),
        {"x": "f32[T, N, 10]", "y": "class(10)[N, 5]", "a": "i64[N]", "b": "i64[N]"},
        tensors=(tensor("log_probs"), tensor("targets"), tensor("input_lengths"), tensor("target_lengths")),
    ),
)
