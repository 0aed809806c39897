"""The metrics of torchmetrics: settings by its names and defaults, and which class measures given types.

torchmetrics asks for the task, the number of classes and the number of labels; here they follow from the types of the
output and the target. Written anyway, by name, they are checked. Settings that give several numbers (`average="none"`)
are left out, since a run logs single ones; but for the one matrix, which is kept as a table and drawn.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from expc.compiler.library.metrics_of_numbers import metrics_of_numbers
from expc.compiler.ops.declare import REQUIRED, Param
from expc.compiler.ops.kinds import BOOL, INT, POSITIVE, PROBABILITY, choice, list_of, number, optional
from expc.compiler.program import Metric
from expc.compiler.types import FLOATING, TensorType

Settings = Mapping[str, Any]
Completed = tuple[str, dict[str, Any]]

BINARY: Final = "Binary"
MULTICLASS: Final = "Multiclass"
MULTILABEL: Final = "Multilabel"
TASKS: Final = (BINARY, MULTICLASS, MULTILABEL)

_NOT_FOR: Final = {
    BINARY: frozenset({"average", "top_k", "multiclass_mode"}),
    MULTICLASS: frozenset({"threshold", "max_fpr"}),
    MULTILABEL: frozenset({"top_k", "max_fpr"}),
}
"""Settings that the class of a task does not have."""


@cache
def metrics() -> Mapping[str, Metric]:
    """Every metric by its name."""
    declared = (*_of_decisions(), *_of_scores(), *_of_rankings(), *metrics_of_numbers())
    return MappingProxyType({metric.name: metric for metric in declared})


# --------------------------------------------------------------------------------------------- classification

_INFERRED: Final = (
    Param("task", choice("binary", "multiclass", "multilabel"), REQUIRED, "follows from the types", inferred=True),
    Param("num_classes", optional(POSITIVE), None, "follows from the output", inferred=True),
    Param("num_labels", optional(POSITIVE), None, "follows from the output", inferred=True),
)
_THRESHOLD: Final = Param("threshold", PROBABILITY, 0.5, "from which score on a binary output says yes")
_TOP_K: Final = Param("top_k", POSITIVE, 1, "right if the target is among this many highest scores")
_IGNORE_INDEX: Final = Param("ignore_index", optional(INT), None, "a target that is not counted")
_THRESHOLDS: Final = Param(
    "thresholds", optional(POSITIVE), None, "how many thresholds to try; none for the exact curve"
)
_ZERO_DIVISION: Final = Param("zero_division", PROBABILITY, 0, "the value where there is nothing to divide by")


def _average(default: str | None = "micro", *ways: str) -> Param:
    kind = choice(*(ways or ("micro", "macro", "weighted")))
    words = "over all samples, over classes, or over classes weighted by how often they occur"
    return Param("average", optional(kind) if default is None else kind, default, words)


def _of_decisions() -> tuple[Metric, ...]:
    """What compares the chosen class with the right one."""
    counted = (_THRESHOLD, _average(), _TOP_K, _IGNORE_INDEX)
    beta = Param("beta", number(0), 1.0, "how much more recall counts than precision")
    kappa = Param(
        "weights", optional(choice("linear", "quadratic")), None, "how a far class counts more than a near one"
    )
    plain = (_THRESHOLD, _IGNORE_INDEX)
    shares = Param(
        "normalize",
        optional(choice("true", "pred", "all")),
        None,
        "shares instead of counts: of each row, of each column, or of all",
    )
    return (
        _classifier("Accuracy", "The share of samples whose highest score is the right class.", counted),
        _classifier("Precision", "Of what was said to be of a class, the share that is.", counted),
        _classifier("Recall", "Of what is of a class, the share that was found.", counted),
        _classifier("Specificity", "Of what is not of a class, the share that was not said to be.", counted),
        _classifier(
            "NegativePredictiveValue", "Of what was said not to be of a class, the share that is not.", counted
        ),
        _classifier("F1Score", "The harmonic mean of precision and recall.", (*counted, _ZERO_DIVISION)),
        _classifier("FBetaScore", "F1Score with a weight for recall.", (beta, *counted, _ZERO_DIVISION)),
        _classifier("HammingDistance", "The share of wrong decisions.", counted, higher_is_better=False),
        _classifier(
            "JaccardIndex",
            "Intersection over union of what is of a class and what was said to be.",
            (_THRESHOLD, _average("macro"), _IGNORE_INDEX),
        ),
        _classifier("MatthewsCorrCoef", "Correlation of what is and what was said, from -1 to 1.", plain),
        _classifier(
            "CohenKappa",
            "Agreement beyond chance.",
            (_THRESHOLD, kappa, _IGNORE_INDEX),
            tasks=(BINARY, MULTICLASS),
        ),
        _classifier(
            "ExactMatch",
            "The share of samples that are right in every position, or every label.",
            plain,
            tasks=(MULTICLASS, MULTILABEL),
            positions=True,
        ),
        _classifier(
            "ConfusionMatrix",
            "How often each class, by row, was taken for each, by column; of several labels, a table for each.",
            (_THRESHOLD, shares, _IGNORE_INDEX),
            is_matrix=True,
        ),
    )


def _of_scores() -> tuple[Metric, ...]:
    """What looks at the scores themselves."""
    auroc = Param("max_fpr", optional(PROBABILITY), None, "only the part of the curve up to this false-positive rate")
    over_classes = _average("macro", "macro", "weighted")
    fpr = Param(
        "fpr_range", list_of(PROBABILITY, 2), (0.001, 0.1), "the false-positive rates between which it is taken"
    )
    hinge = Param(
        "multiclass_mode", choice("crammer-singer"), "crammer-singer", "against the best wrong class; one number"
    )
    both = (BINARY, MULTICLASS)
    return (
        _classifier(
            "AUROC",
            "The area under the curve of true against false positives.",
            (_THRESHOLDS, over_classes, auroc, _IGNORE_INDEX),
        ),
        _classifier(
            "AveragePrecision",
            "The area under the curve of precision against recall.",
            (_THRESHOLDS, over_classes, _IGNORE_INDEX),
        ),
        _classifier(
            "LogAUC",
            "The area under the start of the curve of true against false positives, the latter on a logarithmic axis.",
            (_THRESHOLDS, fpr, _IGNORE_INDEX),
            tasks=(BINARY,),
        ),
        _classifier(
            "EER",
            "The rate at which false positives and false negatives are equally frequent.",
            (_THRESHOLDS, _IGNORE_INDEX),
            tasks=(BINARY,),
            higher_is_better=False,
        ),
        _classifier(
            "CalibrationError",
            "How far the scores are from how often they are right.",
            (
                Param("n_bins", POSITIVE, 15, "how many classes of scores there are"),
                Param("norm", choice("l1", "l2", "max"), "l1", "how the distances are put together"),
                _IGNORE_INDEX,
            ),
            tasks=both,
            higher_is_better=False,
        ),
        _classifier(
            "HingeLoss",
            "How far scores are from a margin of 1.",
            (Param("squared", BOOL, False, "square the distances"), hinge, _IGNORE_INDEX),
            tasks=both,
            higher_is_better=False,
        ),
    )


def _of_rankings() -> tuple[Metric, ...]:
    """What looks at the order of the labels of a sample."""
    return (
        _ranking("MultilabelCoverageError", "How far down the ranking the last right label stands.", higher=False),
        _ranking("MultilabelRankingAveragePrecision", "How many labels above a right one are right too.", higher=True),
        _ranking("MultilabelRankingLoss", "The share of pairs of labels in the wrong order.", higher=False),
    )


def _ranking(name: str, doc: str, *, higher: bool) -> Metric:
    count = Param("num_labels", POSITIVE, REQUIRED, "follows from the output", inferred=True)

    def accepts(output: TensorType, target: TensorType) -> str | None:
        fault = _scores_fault(output)
        if fault is None and task_of(output, target) != MULTILABEL:
            return f"output and target must be [N, labels], but are {output} and {target}"
        return fault

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:  # noqa: ARG001
        return f"classification.{name}", {"num_labels": output.dims[1], "ignore_index": values.get("ignore_index")}

    return Metric(name, doc, (count, _IGNORE_INDEX), accepts, complete, higher, name)


def _classifier(
    name: str,
    doc: str,
    settings: tuple[Param, ...],
    *,
    tasks: tuple[str, ...] = TASKS,
    higher_is_better: bool = True,
    positions: bool = False,
    is_matrix: bool = False,
) -> Metric:
    """A metric with a class for each task; `positions`: it needs several classes at each of several positions."""

    def accepts(output: TensorType, target: TensorType) -> str | None:
        fault = _classification_fault(output, target)
        if fault is not None:
            return fault
        task = task_of(output, target)
        if task not in tasks:
            return f"it is not defined for {task.lower()} outputs such as {output} with the target {target}"
        if positions and task == MULTICLASS and target.rank < 2:
            return f"it compares whole rows of classes, and the target {target} has one for each sample: use `Accuracy`"
        return None

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:
        task = task_of(output, target)
        given = {
            param.name: values.get(param.name, param.default)
            for param in settings
            if param.name not in _NOT_FOR[task] or (name == "CohenKappa" and task == BINARY)
        }
        count = {MULTICLASS: "num_classes", MULTILABEL: "num_labels"}.get(task)
        if count is not None:
            given[count] = output.dims[1]
        return f"classification.{task}{name}", given

    inferred = _INFERRED if MULTILABEL in tasks else _INFERRED[:2]
    direction = None if is_matrix else higher_is_better
    return Metric(name, doc, (*inferred, *settings), accepts, complete, direction, name, is_matrix=is_matrix)


def task_of(output: TensorType, target: TensorType) -> str:
    """Which of torchmetrics' tasks the types are: one yes or no, one of several classes, or several yes or no."""
    if not _is_binary(output, target):
        return MULTICLASS
    labels = output.dims[1] if output.rank == 2 and target.rank == 2 else 1
    return MULTILABEL if isinstance(labels, int) and labels > 1 else BINARY


def contradicted(settings: Settings, completed: Completed) -> str | None:
    """What was written and follows from the types, where they differ; none where all is well."""
    path, arguments = completed
    facts = {name: arguments.get(name) for name in ("num_classes", "num_labels")}
    facts["task"] = next((task.lower() for task in TASKS if f".{task}" in path), None)
    for name, fact in facts.items():
        written = settings.get(name)
        if written is not None and written is not REQUIRED and written != fact:
            found = "nothing of the kind" if fact is None else repr(fact).replace("'", '"')
            return f"`{name}` follows from the types, and is {found}"
    return None


def _scores_fault(output: TensorType) -> str | None:
    return None if output.dtype in FLOATING else f"the output must be floating-point scores, but is {output}"


def _classification_fault(output: TensorType, target: TensorType) -> str | None:
    if output.dtype not in FLOATING:
        return _scores_fault(output)
    if _is_binary(output, target):
        return None
    if target.classes is None:
        return f"the target must be a class, or 0 and 1 in the shape of the output {output}, but is {target}"
    if output.rank != target.rank + 1:
        return f"the output must have one dimension of scores more than the target {target}, but is {output}"
    if (output.dims[0], *output.dims[2:]) != target.dims:
        return f"the scores of the classes must be the second dimension of the output; it is {output} for {target}"
    if output.dims[1] == 1:
        return f"the output has one score for {target.classes} classes"
    return None


def _is_binary(output: TensorType, target: TensorType) -> bool:
    """One score for each 0 or 1 of the target; the output may have a last dimension of 1 that the target lacks."""
    if target.classes is not None and target.classes != 2:
        return False
    return output.dims in (target.dims, (*target.dims, 1))
