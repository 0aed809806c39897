"""Lint rules: each in its own file, with its page, its check and its fix.

A rule is the function `check(program) -> Iterator[Problem]` of its module. Rules run on a program that has no errors,
and read the graph and the plans only. Each is imported only for files that have one of the words it is about, because
most files are not about most rules.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from importlib import import_module
from typing import Any, Final

from expc.diagnostics import Problem

_CLASSES: Final = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")
_BATCH_NORM: Final = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "batch_norm")
_SEQUENCES: Final = (
    *("RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerEncoderLayer"),
    *("TransformerDecoder", "TransformerDecoderLayer"),
)

_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "softmax_before_cross_entropy": ("CrossEntropyLoss", "cross_entropy"),
    "surplus_outputs": _CLASSES,
    "bias_before_batchnorm": _BATCH_NORM,
    "batch_axis_mismatch": _SEQUENCES,
    "batchnorm_batch_of_one": _BATCH_NORM,
    "monitor_direction": ("min", "max"),
    "not_run_yet": (),
}
"""The modules beside this one that hold rules, and the words of which a file must have one for the rule to say
anything: operators, data sets, optimizers, schedules, sections, keys. A rule without words looks at every file.
"""


def rules(words: AbstractSet[str]) -> Iterator[Callable[[Any], Iterator[Problem]]]:
    """Every rule that may have something to say about files with these `words`."""
    for name, about in _RULES.items():
        if not about or not words.isdisjoint(about):
            yield import_module(f"expc.compiler.lints.{name}").check
