"""Lint rules: each in its own file, with its page, its check and its fix.

A rule is the function `check(program) -> Iterator[Problem]` of its module, or `check(trees)` for one about the text.
Rules run on a program that has no errors, and read the graph and the plans only. Each is imported only for files that
have one of the words it is about, because most files are not about most rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib import import_module
from typing import TYPE_CHECKING, Final

from expc.diagnostics import Problem

if TYPE_CHECKING:
    from expc.compiler.program import Program
    from expc.spec import syntax

_CLASSES: Final = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")
_BATCH_NORM: Final = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "batch_norm")
_NORMS: Final = (
    *(*_BATCH_NORM, "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    *("LayerNorm", "GroupNorm", "RMSNorm"),
)
_CROSS_ENTROPY: Final = ("CrossEntropyLoss", "cross_entropy")
_BCE: Final = ("BCELoss", "binary_cross_entropy")
_LOGITS: Final = (
    *("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
    *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
)
_REGRESSION: Final = (
    *("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"),
)
_DROPOUTS: Final = (
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
)
_SOFTMAX: Final = (*("Softmax", "softmax", "LogSoftmax", "log_softmax", "Softmin", "softmin", "Softmax2d"),)
_ACTIVATIONS: Final = (
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish", "Sigmoid"),
    *("Hardsigmoid", "Tanh", "Softplus", "Softsign", *_SOFTMAX, "relu", "relu6", "leaky_relu", "prelu", "elu", "selu"),
    *("celu", "gelu", "silu", "mish", "hardswish", "sigmoid", "hardsigmoid", "tanh", "softplus", "softsign"),
)
_BOUNDED: Final = (
    *("Sigmoid", "sigmoid", "Hardsigmoid", "hardsigmoid", "Tanh", "tanh", "Hardtanh", "hardtanh"),
    *("Softsign", "softsign"),
)
_RELU: Final = ("ReLU", "ReLU6", "relu", "relu6")
_AFFINE: Final = (*("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),)
_CONVOLUTIONS: Final = ("Conv1d", "Conv2d", "Conv3d", "conv1d", "conv2d", "conv3d")
_POOLS: Final = tuple(
    f"{name}{count}d" for name in ("MaxPool", "max_pool", "AvgPool", "avg_pool", "LPPool", "lp_pool") for count in "123"
)
_GLOBAL_POOLS: Final = tuple(
    f"{name}{count}d"
    for name in ("AdaptiveMaxPool", "adaptive_max_pool", "AdaptiveAvgPool", "adaptive_avg_pool")
    for count in "123"
)
_SEQUENCES: Final = (
    *("RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerEncoderLayer"),
    *("TransformerDecoder", "TransformerDecoderLayer"),
)

_SETTLED: Final = (
    *("CosineAnnealingLR", "PolynomialLR", "OneCycleLR", "CosineAnnealingWarmRestarts", "CyclicLR", "LinearLR"),
    *("StepLR", "MultiStepLR"),
)
"""The schedules with a setting that says how long."""
_OWN_RATES: Final = ("OneCycleLR", "CyclicLR")
_OPTIMIZERS: Final = (
    *("SGD", "ASGD", "RMSprop", "Rprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta"),
    *("Adafactor", "Muon", "LBFGS", "SparseAdam"),
)
_RANDOM: Final = (
    *("RandomHorizontalFlip", "RandomVerticalFlip", "RandomZoomOut", "RandomCrop", "RandomResizedCrop", "RandomResize"),
    *("RandomShortestSize", "ScaleJitter", "RandomRotation", "RandomAffine", "RandomPerspective", "ElasticTransform"),
    *("RandomGrayscale", "ColorJitter", "RandomPhotometricDistort", "RandomChannelPermutation", "RandomInvert"),
    *("RandomEqualize", "RandomAutocontrast", "RandomPosterize", "RandomSolarize", "RandomAdjustSharpness"),
    *("GaussianBlur", "GaussianNoise", "JPEG", "RandomErasing", "RandAugment", "TrivialAugmentWide", "AutoAugment"),
    *("AugMix", "RandomApply", "RandomChoice", "RandomOrder", "MixUp", "CutMix"),
)
_FROM_BYTES: Final = ("f16", "bf16", "f32", "f64", "ToDtype")

_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "softmax_before_cross_entropy": ("CrossEntropyLoss", "cross_entropy"),
    "surplus_outputs": _CLASSES,
    "bias_before_batchnorm": _BATCH_NORM,
    "batch_axis_mismatch": _SEQUENCES,
    "batchnorm_batch_of_one": (*_BATCH_NORM, "Conv2dNormActivation", "Conv3dNormActivation"),
    "monitor_direction": ("min", "max"),
    "norm_after_activation": _NORMS,
    "missing_nonlinearity": ("Linear", "Conv1d", "Conv2d", "Conv3d"),
    "duplicate_activation": _ACTIVATIONS,
    "dropout_before_batchnorm": _DROPOUTS,
    "dropout_before_pooling": (*_POOLS, *_GLOBAL_POOLS),
    "excessive_dropout": _DROPOUTS,
    "rnn_dropout_one_layer": ("RNN", "LSTM", "GRU"),
    "softmax_over_one": _SOFTMAX,
    "stride_drops_border": (*_CONVOLUTIONS, *_POOLS),
    "excessive_pooling": _CONVOLUTIONS,
    "shrinking_filters": ("Conv1d", "Conv2d", "Conv3d"),
    "channel_order_mismatch": ("Conv2d", "BatchNorm2d", "InstanceNorm2d", *_POOLS),
    "unintended_broadcast": ("Linear", "Conv1d", "Conv2d", "Conv3d", "linear"),
    "constant_init": ("zeros", "ones", "constant"),
    "log_of_softmax": ("log",),
    "dead_branch": ("train",),
    "nearly_all_frozen": ("freeze",),
    "sigmoid_before_bce_logits": _LOGITS,
    "sigmoid_before_cross_entropy": _CROSS_ENTROPY,
    "softmax_before_mse_or_bce": (*_BCE, *_REGRESSION),
    "logits_into_bce": _BCE,
    "nll_without_logsoftmax": ("NLLLoss", "nll_loss"),
    "cross_entropy_one_output": _CROSS_ENTROPY,
    "class_axis_misplaced": _CLASSES,
    "bounded_regression_output": _REGRESSION,
    "loss_task_mismatch": _REGRESSION,
    "relu_before_loss": _RELU,
    "not_run_yet": (),
    "t_max_mismatch": _SETTLED,
    "schedule_unit_mismatch": _SETTLED,
    "onecycle_overrun": ("OneCycleLR",),
    "onecycle_ignores_lr": _OWN_RATES,
    "milestone_out_of_range": ("MultiStepLR", "StepLR"),
    "warmup_exceeds_training": ("LinearLR", "ConstantLR"),
    "patience_never_fires": ("early_stop", "ReduceLROnPlateau"),
    "adam_eps_underflow": ("param",),
    "implausible_lr": _OPTIMIZERS,
    "decayed_norm_and_bias": (),
    "augmented_validation": _RANDOM,
    "unshuffled_train": ("shuffle", "SequentialSampler"),
    "unshuffled_class_split": ("split",),
    "unnormalised_input": _FROM_BYTES,
    "odd_resolution": ("Resize", "RandomResizedCrop"),
    "statistics_of_parts": ("accumulate",),
    "parts_run_twice": ("accumulate",),
    "refused_when_deterministic": ("deterministic",),
    "ddp_small_batchnorm": ("strategy",),
    "needless_find_unused": ("find_unused_parameters",),
}
"""The modules beside this one that hold rules, and the words of which a file must have one for the rule to say
anything: operators, data sets, optimizers, schedules, sections, keys. A rule without words looks at every file.
"""

_TOO: Final[Mapping[str, tuple[str, ...]]] = {
    "softmax_before_cross_entropy": _SOFTMAX,
    "sigmoid_before_cross_entropy": _BOUNDED,
    "sigmoid_before_bce_logits": (*_BOUNDED, *_SOFTMAX),
    "softmax_before_mse_or_bce": ("Softmax", "softmax"),
    "bounded_regression_output": (*_BOUNDED, *_RELU),
    "relu_before_loss": (*_CLASSES, *_LOGITS, "MultiMarginLoss", "multi_margin_loss"),
    "log_of_softmax": (*_BOUNDED, *_SOFTMAX),
    "class_axis_misplaced": ("Linear", "linear"),
    "shrinking_filters": _CLASSES,
    "dropout_before_batchnorm": _BATCH_NORM,
    "dropout_before_pooling": ("Dropout", "dropout"),
    "bias_before_batchnorm": _AFFINE,
    "loss_task_mismatch": ("OneHot", "metrics"),
    "batchnorm_batch_of_one": ("data",),
    "monitor_direction": ("checkpoint", "early_stop"),
    "augmented_validation": ("val", "test", "predict"),
    "odd_resolution": ("train",),
    "adam_eps_underflow": ("train",),
}
"""Words of which a file must have one too."""

_TEXT_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "unused_let": (),
}
"""The rules about the text, which see the syntax tree of each file, the experiment's own first."""

OFF: Final = frozenset({"norm-after-activation", "decayed-norm-and-bias"})
"""Rules that are matters of taste: they run where they are asked for."""


def findings(program: "Program", trees: Sequence["syntax.File"], on: AbstractSet[str]) -> Iterator[Problem]:
    """What the rules say of a program and the files that it was read from; `on` are those of `OFF` that run too."""
    words = frozenset().union(*(tree.words for tree in trees))
    for name in _about(_RULES, words, on):
        yield from import_module(f"expc.compiler.lints.{name}").check(program)
    for name in _about(_TEXT_RULES, words, on):
        yield from import_module(f"expc.compiler.lints.{name}").check(trees)


def names() -> frozenset[str]:
    """The name of every rule that a comment may allow: that of its module."""
    return frozenset(name.replace("_", "-") for name in (*_RULES, *_TEXT_RULES, *_ELSEWHERE))


_ELSEWHERE: Final = ("unchecked_branch", "unfixed_size", "unknown_rule", "unused_allow")
"""Rules that the checker itself, or the reading of comments, follows."""


def _about(rules: Mapping[str, tuple[str, ...]], words: AbstractSet[str], on: AbstractSet[str]) -> Iterator[str]:
    for name, about in rules.items():
        rule = name.replace("_", "-")
        needed = (some for some in (about, _TOO.get(name, ())) if some)
        if (rule not in OFF or rule in on) and not any(words.isdisjoint(some) for some in needed):
            yield name
