"""What becomes of parameters as soon as they have numbers: they stay, or a part of each does."""

from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor, nn


class Whole:
    """All of them stay."""

    def made(self, parameters: Iterable[nn.Parameter]) -> None:
        """These were made, and have the numbers that they are made with."""

    def fill(self, tensor: Tensor, how: Callable[[Tensor], object]) -> None:
        """Give a parameter or a buffer other numbers: `how` writes into the tensor that it is given."""
        how(tensor)


class Parts(Whole):
    """A part of each parameter is kept; the parameter itself goes on as a tensor of its shape without memory."""

    def __init__(self, part: Callable[[Tensor], Tensor]) -> None:
        self._part: Final = part
        self.kept: Final[dict[Tensor, Tensor]] = {}
        """What is kept, by parameter."""

    def made(self, parameters: Iterable[nn.Parameter]) -> None:
        """As `Whole` says."""
        for parameter in parameters:
            if parameter not in self.kept:
                self.kept[parameter] = self._part(parameter.detach())
                # The same object goes on: others that share it do so still.
                parameter.data = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)

    def fill(self, tensor: Tensor, how: Callable[[Tensor], object]) -> None:
        """As `Whole` says."""
        if tensor not in self.kept:
            how(tensor)
            return
        whole = torch.empty(tensor.shape, dtype=tensor.dtype)
        how(whole)
        self.kept[tensor] = self._part(whole)
