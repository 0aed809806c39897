"""Layers that the language has and torch has not, as modules: those whose `home` is "expc".

They take their settings as torch's own modules do, so that lowering treats both alike.
"""

import torch
from torch import Tensor, nn


class Swish(nn.Module):
    """`x * sigmoid(beta * x)`; a learnable `beta` is a parameter of that name and of shape []."""

    beta: Tensor | float

    def __init__(self, beta: float = 1.0, learnable: bool = False) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta))) if learnable else float(beta)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Each element times the sigmoid of `beta` times itself."""
        return input * torch.sigmoid(self.beta * input)

    def extra_repr(self) -> str:
        """The settings, as torch's own modules show theirs."""
        return "learnable=True" if isinstance(self.beta, nn.Parameter) else f"beta={self.beta}"
