"""The classes of torchmetrics for classification and regression that are left out, each with the reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_COUNTS: Final = "It gives counts whose places have no names: `ConfusionMatrix` has them all."
_CURVE: Final = "It gives a curve, and a run logs single numbers."
_PAIR: Final = "It gives a value and the threshold where it is reached, and a run logs single numbers."
_GROUPS: Final = "It needs the group of each sample besides output and target, and gives several numbers."

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "StatScores": _COUNTS,
        "ROC": _CURVE,
        "PrecisionRecallCurve": _CURVE,
        "PrecisionAtFixedRecall": _PAIR,
        "RecallAtFixedPrecision": _PAIR,
        "SensitivityAtSpecificity": _PAIR,
        "SpecificityAtSensitivity": _PAIR,
        "BinaryFairness": _GROUPS,
        "BinaryGroupStatRates": _GROUPS,
    }
)
"""Name -> why it is left out."""
