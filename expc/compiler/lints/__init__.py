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
    "batchnorm_batch_of_one": _BATCH_NORM,
    "monitor_direction": ("min", "max"),
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
    "unshuffled_train": ("shuffle",),
    "unshuffled_class_split": ("split",),
    "unnormalised_input": _FROM_BYTES,
    "odd_resolution": ("Resize", "RandomResizedCrop"),
    "ddp_small_batchnorm": ("strategy",),
}
"""The modules beside this one that hold rules, and the words of which a file must have one for the rule to say
anything: operators, data sets, optimizers, schedules, sections, keys. A rule without words looks at every file.
"""


_TEXT_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "unused_let": (),
    "conditional_piped": (),
}
"""The rules about the text, which see the syntax tree of each file, the experiment's own first."""

OFF: Final = frozenset({"norm-after-activation", "decayed-norm-and-bias"})
"""Rules that are matters of taste: they run where they are asked for."""


def findings(program: "Program", trees: Sequence["syntax.File"], on: AbstractSet[str]) -> Iterator[Problem]:
    """What the rules say of a program and the files that it was read from; `on` are those of `OFF` that run too."""
    from expc.compiler.names import words_in

    words = words_in(trees)
    for name in _about(_RULES, words, on):
        yield from import_module(f"expc.compiler.lints.{name}").check(program)
    for name in _about(_TEXT_RULES, words, on):
        yield from import_module(f"expc.compiler.lints.{name}").check(trees)


def names() -> frozenset[str]:
    """The name of every rule that a comment may allow: that of its module."""
    return frozenset(name.replace("_", "-") for name in (*_RULES, *_TEXT_RULES, *_ELSEWHERE))


_ELSEWHERE: Final = ("unfixed_size", "unknown_rule", "unused_allow")
"""Rules that the checker itself, or the reading of comments, follows."""


def _about(rules: Mapping[str, tuple[str, ...]], words: AbstractSet[str], on: AbstractSet[str]) -> Iterator[str]:
    for name, about in rules.items():
        rule = name.replace("_", "-")
        if (not about or not words.isdisjoint(about)) and (rule not in OFF or rule in on):
            yield name
