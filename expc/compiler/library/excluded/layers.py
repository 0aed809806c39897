"""The classes of `torch.nn` and `torchvision.ops`, and the functions of `torch.nn.init`, that the language leaves out.

A reason is a sentence: it stands in the message for a name that is not known, and in the reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_GROUPS: Final = (
    (
        "Every layer takes its sizes from its input here: write the class without `Lazy`.",
        """LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d
        LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear""",
    ),
    (
        "A body is a sequence already: write `a -> b -> c`, or one stage on each line.",
        "Sequential",
    ),
    (
        "Modules of a body are its labels: write `repeat n { ... }`, or `for`, and label the stages.",
        "ModuleList ModuleDict Container",
    ),
    (
        "A free tensor of a module is declared: write `param name: f32[...] = normal(0.0, 0.02)`.",
        "Parameter ParameterList ParameterDict UninitializedParameter",
    ),
    (
        "A tensor that is stored and not trained is declared: write `buffer name: f32[...] = zeros`.",
        "Buffer UninitializedBuffer",
    ),
    ("A module of one's own is a `block`, or a `model`.", "Module"),
    ("It is the base of other classes and runs nothing: write RNN, LSTM or GRU.", "RNNBase"),
    ("It is the base of other classes and runs nothing: write RNNCell, LSTMCell or GRUCell.", "RNNCellBase"),
    (
        "How a run uses several devices is no part of the network: write `distributed { }`, and `--gpus` at its start.",
        "DataParallel",
    ),
    (
        "Write BatchNorm1d, BatchNorm2d or BatchNorm3d, and `distributed { sync_batchnorm = true }`.",
        "SyncBatchNorm",
    ),
    ("torch calls it deprecated: write NLLLoss, which takes images too.", "NLLLoss2d"),
    (
        "It has weights, which belong to the model: end the model with Linear, and write CrossEntropyLoss.",
        "LinearCrossEntropyLoss LinearCrossEntropyOptions",
    ),
    # ------------------------------------------------------------------------------------------ torchvision.ops
    (
        "The name is left to blocks of one's own: write `Linear(4 * C) -> GELU -> Linear(C)`, or a block MLP of that.",
        "MLP",
    ),
    (
        "It takes and gives dictionaries of tensors, which do not flow here: write its convolutions and `interpolate`.",
        "FeaturePyramidNetwork",
    ),
    (
        "It takes dictionaries of tensors and lists of boxes, which do not flow here: declare an `extern layer`.",
        "MultiScaleRoIAlign",
    ),
    (
        "It needs operators compiled for torchvision, which many installations lack: declare an `extern layer`.",
        "DeformConv2d PSRoIAlign PSRoIPool RoIAlign RoIPool",
    ),
    # ------------------------------------------------------------------------------------------ torch.nn.init
    (
        "It gives a number and fills nothing: write it as `gain=`; torch's is sqrt(2) for relu and 5/3 for tanh.",
        "calculate_gain",
    ),
)

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {name: reason for reason, names in _GROUPS for name in names.split()}
)
"""The reason for each name."""
