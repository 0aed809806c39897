"""Which names mean something without being declared: torch's, torchvision's, torchmetrics'."""

from functools import cache

import torch

from oracle.functions import function
from oracle.layers import layer_class

DATASETS = frozenset({"MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "FakeData", "ImageFolder", "Text"})
TRANSFORMS = frozenset(
    {"ToTensor", "Normalize", "RandomCrop", "CenterCrop", "Resize", "Pad", "RandomHorizontalFlip", "RandomVerticalFlip"}
)
METRICS = frozenset(
    {
        "Accuracy",
        "AUROC",
        "F1Score",
        "MeanAbsoluteError",
        "MeanSquaredError",
        "Perplexity",
        "Precision",
        "R2Score",
        "Recall",
    }
)
WORDS = frozenset({"split", "norm", "value"})


def optimizer_class(name: str) -> type | None:
    """The class of torch.optim."""
    found = getattr(torch.optim, name, None)
    return found if isinstance(found, type) and name not in ("Optimizer", "SparseAdam") else None


def schedule_class(name: str) -> type | None:
    """The class of torch.optim.lr_scheduler."""
    found = getattr(torch.optim.lr_scheduler, name, None)
    return found if isinstance(found, type) and name.endswith(("LR", "Restarts", "Plateau")) else None


@cache
def knows(name: str) -> bool:
    """Whether the name stands for something."""
    if name in DATASETS | TRANSFORMS | METRICS | WORDS:
        return True
    if name[:1].isupper():
        return bool(layer_class(name) or optimizer_class(name) or schedule_class(name))
    return bool(function(name)) or hasattr(torch.nn.init, f"{name}_")
