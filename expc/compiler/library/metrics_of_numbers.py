"""The metrics of torchmetrics that compare numbers, distributions or tokens."""

from collections.abc import Callable, Mapping
from typing import Any

from expc.compiler.ops.declare import REQUIRED, Param
from expc.compiler.ops.kinds import BOOL, INT, NATURAL, choice, number, optional
from expc.compiler.program import Metric
from expc.compiler.types import FLOATING, TensorType

Settings = Mapping[str, Any]
Completed = tuple[str, dict[str, Any]]
Accepts = Callable[[TensorType, TensorType], str | None]


def metrics_of_numbers() -> tuple[Metric, ...]:
    """Metrics of regression, of distributions and of language models."""
    return (*_of_numbers(), *_of_distributions(), _perplexity())


# ------------------------------------------------------------------------------------------------- regression


def _of_numbers() -> tuple[Metric, ...]:
    """What compares numbers."""
    adjusted = Param("adjusted", NATURAL, 0, "the number of independent variables to adjust for")
    multioutput = Param(
        "multioutput", choice("uniform_average", "variance_weighted"), "uniform_average", "how outputs are averaged"
    )
    rooted = Param("squared", BOOL, True, "false for the root of it")
    variant = Param("variant", choice("a", "b", "c"), "b", "how ties are counted")
    normalization = Param("normalization", choice("mean", "range", "std", "l2"), "mean", "what it is divided by")
    threshold = Param("threshold", number(), REQUIRED, "from which value on an event has happened")
    power = Param("p", number(1), REQUIRED, "the power of the differences")
    tweedie = Param("power", number(), 0.0, "which distribution: 0 normal, 1 Poisson, 2 gamma")
    cosine = Param("reduction", choice("mean", "sum"), "sum", "how samples are put together")
    return (
        _regressor("MeanSquaredError", "The mean of the squared differences.", rooted),
        _regressor("MeanAbsoluteError", "The mean of the absolute differences."),
        _regressor("MeanAbsolutePercentageError", "The mean of the differences as shares of the target."),
        _regressor("SymmetricMeanAbsolutePercentageError", "The mean of the differences as shares of both."),
        _regressor("WeightedMeanAbsolutePercentageError", "The sum of the differences as a share of all targets."),
        _regressor("MeanSquaredLogError", "The mean of the squared differences of logarithms."),
        _regressor("LogCoshError", "The mean of log(cosh(difference)).", ranks=(1,)),
        _regressor("MinkowskiDistance", "The p-norm of all differences.", power),
        _regressor(
            "NormalizedRootMeanSquaredError", "The root of the mean squared error, divided.", normalization, ranks=(1,)
        ),
        _regressor(
            "RelativeSquaredError", "The squared error as a share of the target's variance.", rooted, ranks=(1,)
        ),
        _regressor("TweedieDevianceScore", "The deviance of a Tweedie distribution.", tweedie),
        _regressor(
            "CriticalSuccessIndex", "Events that were foretold, of all that were or should be.", threshold, higher=True
        ),
        _regressor(
            "R2Score",
            "The share of the target's variance that the output explains.",
            adjusted,
            multioutput,
            higher=True,
            ranks=(1, 2),
        ),
        _regressor(
            "ExplainedVariance", "R2Score that forgives a constant error.", multioutput, higher=True, ranks=(1, 2)
        ),
        _regressor("PearsonCorrCoef", "The linear correlation.", higher=True, ranks=(1,)),
        _regressor("SpearmanCorrCoef", "The correlation of ranks.", higher=True, ranks=(1,)),
        _regressor("ConcordanceCorrCoef", "The correlation with the line of equality.", higher=True, ranks=(1,)),
        _regressor("KendallRankCorrCoef", "The agreement of the order of pairs.", variant, higher=True, ranks=(1,)),
        _regressor("CosineSimilarity", "The cosine between output and target.", cosine, higher=True, ranks=(2,)),
    )


def _regressor(
    name: str, doc: str, *settings: Param, higher: bool = False, ranks: tuple[int, ...] | None = None
) -> Metric:
    """A metric of numbers; `ranks` are the numbers of dimensions that the target may have, where not any will do."""

    def accepts(output: TensorType, target: TensorType) -> str | None:
        fault = _regression_fault(output, target)
        rank = 1 if target.rank == 2 and target.dims[1] == 1 else target.rank
        if fault is None and ranks is not None and rank not in ranks:
            wanted = " or ".join(f"one {'number' if rank == 1 else 'row'}" for rank in ranks) + " for each sample"
            return f"output and target must be {wanted}, but are {output} and {target}"
        if fault is None and 2 in (ranks or ()) and 1 not in (ranks or ()) and output.dims != target.dims:
            return f"the output must have the shape of the target {target}, but is {output}"
        return fault

    def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:  # noqa: ARG001
        return f"regression.{name}", {param.name: values.get(param.name, param.default) for param in settings}

    example = f"{name}({settings[0].name}=1)" if settings and settings[0].default is REQUIRED else name
    return Metric(name, doc, settings, accepts, complete, higher, example)


def _regression_fault(output: TensorType, target: TensorType) -> str | None:
    for what, found in (("output", output), ("target", target)):
        if found.dtype not in FLOATING:
            return f"the {what} must be floating-point numbers, but is {found}"
    if output.dims not in (target.dims, (*target.dims, 1)):
        return f"the output must have the shape of the target {target}, but is {output}"
    return None


def _of_distributions() -> tuple[Metric, ...]:
    """What compares distributions, or a number with several guesses of it."""
    settings = (
        Param("log_prob", BOOL, False, "whether both are logarithms of probabilities"),
        Param("reduction", choice("mean", "sum"), "mean", "how samples are put together"),
    )

    def rows(output: TensorType, target: TensorType) -> str | None:
        fault = _regression_fault(output, target)
        if fault is None and (output.rank != 2 or output.dims != target.dims or output.dims[1] == 1):
            return f"output and target must be [N, probabilities], but are {output} and {target}"
        return fault

    def ensemble(output: TensorType, target: TensorType) -> str | None:
        if output.dtype not in FLOATING or target.dtype not in FLOATING:
            return f"output and target must be floating-point numbers, but are {output} and {target}"
        if target.rank != 1 or output.rank != 2 or output.dims[0] != target.dims[0] or output.dims[1] == 1:
            return f"the output must be [N, guesses] and the target [N], but they are {output} and {target}"
        return None

    def metric(name: str, doc: str, accepts: Accepts, *settings: Param) -> Metric:
        def complete(values: Settings, output: TensorType, target: TensorType) -> Completed:  # noqa: ARG001
            return f"regression.{name}", {param.name: values.get(param.name, param.default) for param in settings}

        return Metric(name, doc, settings, accepts, complete, False, name)

    return (
        metric("KLDivergence", "The Kullback-Leibler divergence of the target from the output.", rows, *settings),
        metric("JensenShannonDivergence", "The symmetric divergence of output and target.", rows, *settings),
        metric("ContinuousRankedProbabilityScore", "How far several guesses are from the target.", ensemble),
    )


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
        (Param("ignore_index", optional(INT), None, "a target that is not counted"),),
        accepts,
        complete,
        False,
        "Perplexity",
    )
