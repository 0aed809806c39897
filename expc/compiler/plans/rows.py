"""What the values of a loss are to the samples of a batch: which have a row for each, which follow from the data."""

from collections.abc import Iterator
from typing import Any, Final, Literal

from expc.compiler.dimensions import Dim, Size, Symbol, as_symbol, polynomial, symbols
from expc.compiler.graph import Apply, Cast, Leaf, SliceOf, Step, Subscript, Value
from expc.compiler.model.body import arguments, tensors
from expc.compiler.ops.declare import Operator
from expc.compiler.program import LossPlan
from expc.compiler.types import TensorType

Kind = Literal["fixed", "ahead", "rows", "other"]
"""What a value is to the samples: it follows from none; from the data of all; it has a row, or rows, for each; else."""


_POINTWISE: Final = frozenset(
    (
        *("exp", "exp2", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "square", "abs", "absolute"),
        *("neg", "negative", "sign", "reciprocal", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "sigmoid"),
        *("erf", "erfc", "lgamma", "digamma", "floor", "ceil", "round", "trunc", "isnan", "isfinite", "isinf"),
        *("logical_not", "logical_and", "logical_or", "logical_xor", "relu", "relu6", "leaky_relu", "elu", "celu"),
        *("selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "softplus", "softsign"),
        *("tanhshrink", "softshrink", "hardshrink", "logsigmoid", "threshold", "nan_to_num", "clone", "detach"),
        *("add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "rsub", "pow", "float_power"),
        *("eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        *("maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "logaddexp", "xlogy", "where", "clamp", "clip"),
        *("clamp_min", "clamp_max", "masked_fill", "lerp", "addcmul", "addcdiv", "logit", "contiguous"),
        *("zeros_like", "ones_like", "full_like"),
    )
)
_REDUCING: Final = frozenset(
    ("sum", "mean", "prod", "amax", "amin", "argmax", "argmin", "logsumexp", "norm", "std", "var", "all", "any")
)
_ALONG: Final = frozenset(("softmax", "log_softmax", "softmin", "normalize", "cumsum", "cumprod"))
_RESHAPED: Final = frozenset(("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze"))
_MOVED: Final = frozenset(("permute", "transpose", "movedim", "swapaxes", "swapdims"))
"""What leaves each sample's values in its row: of each element; over other dimensions; along one; in the same order."""

BY_ELEMENT: Final = frozenset(
    (
        *("mse_loss", "MSELoss", "l1_loss", "L1Loss", "smooth_l1_loss", "SmoothL1Loss", "huber_loss", "HuberLoss"),
        *("binary_cross_entropy", "BCELoss", "binary_cross_entropy_with_logits", "BCEWithLogitsLoss"),
        *("kl_div", "KLDivLoss", "poisson_nll_loss", "PoissonNLLLoss", "gaussian_nll_loss", "GaussianNLLLoss"),
        *("hinge_embedding_loss", "HingeEmbeddingLoss", "soft_margin_loss", "SoftMarginLoss"),
        *("margin_ranking_loss", "MarginRankingLoss", "multilabel_soft_margin_loss", "MultiLabelSoftMarginLoss"),
        *("multilabel_margin_loss", "MultiLabelMarginLoss"),
    )
)
COUNTING: Final = frozenset(("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss"))
BY_ROW: Final = frozenset(
    (
        *("multi_margin_loss", "MultiMarginLoss", "cosine_embedding_loss", "CosineEmbeddingLoss"),
        *("triplet_margin_loss", "TripletMarginLoss"),
    )
)


class Rows:
    """The values of one loss. What is not known to keep the rows apart is `other`."""

    def __init__(self, loss: LossPlan, data: frozenset[str], batch: Symbol) -> None:
        self.batch = batch
        self.made: dict[Value, Step] = {}
        self.kinds: dict[Value, Kind] = {}
        self.of_data: set[Value] = set()
        """The values that follow from the data alone."""
        self.data = [
            (name, value)
            for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True)
            if name in data and isinstance(value, Value)
        ]
        for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True):
            if isinstance(value, Value):
                self.kinds[value] = "fixed" if name in loss.weights else "rows" if self._has_rows(value) else "other"
        self.of_data.update(value for _, value in self.data)
        for step in loss.body.steps:
            self._take(step)

    def _take(self, step: Step) -> None:
        result = step.result
        if not isinstance(result, Value) or not isinstance(step, Apply | Subscript | Cast):
            for value in tensors(result):
                self.made[value], self.kinds[value] = step, "other"
            return
        self.made[result] = step
        given = list(values_of(step))
        kinds = {self.kinds[value] for value in given}
        sized = any(self.batch in symbols(size) for size in sizes_of(step))
        pure = not isinstance(step, Apply) or not (step.operator.random or step.operator.python)
        if pure and all(value in self.of_data for value in given):
            self.of_data.add(result)
        kind: Kind = "other"
        if pure and not sized and kinds <= {"fixed"}:
            kind = "fixed"
        elif pure and "other" not in kinds and "rows" in kinds and self._keeps_rows(step, result):
            kind = "rows"
        elif result in self.of_data and not self.depending(result):
            kind = "ahead"
        elif pure and not sized and kinds <= {"fixed", "ahead"}:
            kind = "fixed"
        self.kinds[result] = kind

    def depending(self, value: Value) -> list[int]:
        """The dimensions that depend on the number of samples."""
        dims = value.type.dims if isinstance(value.type, TensorType) else ()
        return [at for at, size in enumerate(dims) if self.batch in symbols(size)]

    def _has_rows(self, value: Value) -> bool:
        return isinstance(value.type, TensorType) and axis_of(value.type, self.batch) == 0

    def _keeps_rows(self, step: Step, result: Value) -> bool:
        """Whether each row of the result follows from the same row of what it is made of."""
        if not self._has_rows(result):
            return False
        match step:
            case Cast():
                return True
            case Subscript(items=(SliceOf(start=None, stop=None, step=None), *_)):
                return list(values_of(step)) == [step.value]
            case Apply(operator=Operator(name=name), module=None):
                if name in _RESHAPED:
                    return True
                if any(self.batch in symbols(size) for size in sizes_of(step)):
                    return False
                if name in _POINTWISE:
                    return True
                first = first_of(step)
                if name in _REDUCING or name in _MOVED:
                    return first is not None and self.kinds.get(first) == "rows"
                if name in _ALONG:
                    dim = setting(step, None, "dim")
                    rank = first.type.rank if first is not None and isinstance(first.type, TensorType) else 0
                    return isinstance(dim, int) and dim % max(rank, 1) != 0
                return (name in BY_ELEMENT or name in BY_ROW or name in COUNTING) and self.alike(step)
            case Apply(operator=Operator(name=name)):
                return name in BY_ELEMENT | BY_ROW | COUNTING and self.alike(step)
            case _:
                return False

    def alike(self, step: Apply) -> bool:
        """Whether a loss compares each sample with itself: the same number of dimensions where it goes by elements."""
        given = list(values_of(step))
        if any(self.kinds.get(value) not in ("fixed", "ahead", "rows") for value in given):
            return False
        ranks = {value.type.rank for value in given if self.kinds[value] == "rows"}  # type: ignore[union-attr]
        return bool(ranks) and (step.operator.name not in BY_ELEMENT or len(ranks) == 1)


def axis_of(type_: TensorType, batch: Symbol) -> int | None:
    """The dimension along which samples lie, `[N, ...]` or `[N * T, ...]`; none where there is no such or several."""
    found = [at for at, size in enumerate(type_.dims) if batch in symbols(size)]
    return found[0] if len(found) == 1 and degree_of(type_.dims[found[0]], batch) == 1 else None


def batch_of(loss: LossPlan, data: frozenset[str]) -> Symbol | None:
    """The number of samples, as the types of the loss call it; none where it is fixed."""
    for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True):
        if name in data and isinstance(value, Value) and isinstance(value.type, TensorType) and value.type.dims:
            return as_symbol(value.type.dims[0])
    return None


def values_of(step: Step) -> Iterator[Value]:
    """The tensors that a step is given, those in lists too."""
    return (given for given in arguments(step) if isinstance(given, Value))


def sizes_of(step: Step) -> Iterator[Dim]:
    """The unknown sizes that a step is given."""
    return (given for given in arguments(step) if isinstance(given, Dim))


def first_of(step: Apply) -> Value | None:
    """The first tensor that a step is given."""
    return next(values_of(step), None)


def setting(step: Apply, leaf: Any, name: str) -> Any:
    """A setting of a loss, or an argument of a function, its default included; none where it has no such."""
    if isinstance(leaf, Leaf):
        return leaf.settings.get(name)
    if name in step.arguments:
        return step.arguments[name]
    return next((param.default for param in step.operator.arguments if param.name == name), None)


def degree_of(size: Size, batch: Symbol) -> int | None:
    """The power of the number of samples that `size` grows with; none where it grows otherwise."""
    degrees = {monomial.count(batch) for monomial in polynomial(size)}
    others = {atom for monomial in polynomial(size) for atom in monomial if not isinstance(atom, Symbol)}
    inside = any(batch in symbols(Dim({(atom,): 1})) for atom in others)
    return degrees.pop() if len(degrees) == 1 and not inside else None
