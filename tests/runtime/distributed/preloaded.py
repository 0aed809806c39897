"""What processes of tests would import, each for itself: they are copies of one that has imported this."""

import together  # noqa: F401
import torch.distributed.tensor  # noqa: F401

import expc.runtime.distributed.sharding  # noqa: F401
from expc.compiler.lower.torchvision import import_torchvision

import_torchvision()
import torchmetrics.classification  # noqa: E402, F401
