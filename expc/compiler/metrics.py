"""The metrics of torchmetrics: settings by its names and defaults, and which class measures given types.

torchmetrics asks for the task, the number of classes and the number of outputs; here they follow from the types of the
output and the target, and are never written.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from expc.compiler.ops.declare import Param
from expc.compiler.ops.kinds import BOOL, INT, NATURAL, POSITIVE, PROBABILITY, choice, optional
from expc.compiler.program import Metric
from expc.compiler.types import FLOATING, TensorType

Settings = Mapping[str, Any]
Completed = tuple[str, dict[str, Any]]
Complete = Callable[[Settings, TensorType, TensorType], Completed]

AVERAGE: Final = Param(
    "average",
    choice("micro", "macro", "weighted"),
    "micro",
    "over all samples, over classes, or over classes weighted by how often they occur",
)
THRESHOLD: Final = Param("threshold", PROBABILITY, 0.5, "from which score on a binary output says yes")
TOP_K: Final = Param("top_k", POSITIVE, 1, "right if the target is among this many highest scores")
IGNORE_INDEX: Final = Param("ignore_index", optional(INT), None, "a target that is not counted")


@cache
def metrics() -> Mapping[str, Metric]:
    """Every metric by its name."""
    declared = (*_classification(), *_regression(), _perplexity())
    return MappingProxyType({metric.name: metric for metric in declared})


# --------------------------------------------------------------------------------------------- classification


def _classification() -> tuple[Metric, ...]:
    settings = (THRESHOLD, AVERAGE, TOP_K, IGNORE_INDEX)
    auroc = (
        Param("thresholds", optional(POSITIVE), None, "how many thresholds to try; none for the exact curve"),
        Param("average", choice("macro", "weighted"), "macro", "over classes, or weighted by how often they occur"),
        Param("max_fpr", optional(PROBABILITY), None, "only the part of the curve up to this false-positive rate"),
        IGNORE_INDEX,
    )
    return (
        _classifier("Accuracy", "The share of samples whose highest score is the right class.", settings),
        _classifier("Precision", "Of what was said to be of a class, the share that is.", settings),
        _classifier("Recall", "Of what is of a class, the share that was found.", settings),
        _classifier("F1Score", "The harmonic mean of precision and recall.", settings),
        _classifier("AUROC", "The area under the curve of true against false positives.", auroc),
    )


def _classifier(name: str, doc: str, settings: tuple[Param, ...]) -> Metric:
    return Metric(name, doc, settings, _classification_fault, _classification_class(name, settings), True, name)


def _classification_fault(output: TensorType, target: TensorType) -> str | None:
    if output.dtype not in FLOATING:
        return f"the output must be floating-point scores, but is {output}"
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


def _classification_class(
    name: str, settings: tuple[Param, ...]
) -> Callable[[Settings, TensorType, TensorType], Completed]:
    not_for_binary = {"average", "top_k"}
    not_for_classes = {"threshold", "max_fpr"}

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:
        given = {param.name: values.get(param.name, param.default) for param in settings}
        if _is_binary(output, target):
            return f"classification.Binary{name}", {k: v for k, v in given.items() if k not in not_for_binary}
        arguments = {k: v for k, v in given.items() if k not in not_for_classes}
        return f"classification.Multiclass{name}", {"num_classes": output.dims[1], **arguments}

    return complete


# ------------------------------------------------------------------------------------------------- regression


def _regression() -> tuple[Metric, ...]:
    squared = Param("squared", BOOL, True, "false for the root of the mean squared error")
    adjusted = Param("adjusted", NATURAL, 0, "the number of independent variables to adjust for")
    multioutput = Param(
        "multioutput", choice("uniform_average", "variance_weighted"), "uniform_average", "how outputs are averaged"
    )
    return (
        _regressor("MeanSquaredError", "The mean of the squared differences.", (squared,), higher_is_better=False),
        _regressor("MeanAbsoluteError", "The mean of the absolute differences.", (), higher_is_better=False),
        _regressor(
            "R2Score",
            "The share of the target's variance that the output explains.",
            (adjusted, multioutput),
            higher_is_better=True,
        ),
    )


def _regressor(name: str, doc: str, settings: tuple[Param, ...], *, higher_is_better: bool) -> Metric:
    def accepts(output: TensorType, target: TensorType) -> str | None:
        fault = _regression_fault(output, target)
        if fault is None and name == "R2Score" and output.rank > 2:
            return f"the output must have one or two dimensions, but is {output}"
        return fault

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:  # noqa: ARG001
        return f"regression.{name}", {param.name: values.get(param.name, param.default) for param in settings}

    return Metric(name, doc, settings, accepts, complete, higher_is_better, name)


def _regression_fault(output: TensorType, target: TensorType) -> str | None:
    for what, found in (("output", output), ("target", target)):
        if found.dtype not in FLOATING:
            return f"the {what} must be floating-point numbers, but is {found}"
    if output.dims not in (target.dims, (*target.dims, 1)):
        return f"the output must have the shape of the target {target}, but is {output}"
    return None


# --------------------------------------------------------------------------------------------------- language


def _perplexity() -> Metric:
    def accepts(output: TensorType, target: TensorType) -> str | None:
        if output.dtype not in FLOATING:
            return f"the output must be floating-point scores, but is {output}"
        if target.classes is None:
            return f"the target must be a token, but is {target}"
        if target.rank != 2 or output.dims[:-1] != target.dims:
            return f"the output must be [N, T, vocabulary] and the target [N, T], but they are {output} and {target}"
        return None

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:  # noqa: ARG001
        return "text.Perplexity", {"ignore_index": values.get("ignore_index")}

    return Metric(
        "Perplexity",
        "The exponential of the mean cross entropy per token.",
        (IGNORE_INDEX,),
        accepts,
        complete,
        False,
        "Perplexity",
    )
