"""Batch norm whose statistics are those of the global batch, whichever rank holds which samples.

Torch's `nn.SyncBatchNorm` refuses tensors of the CPU, so there the sums go over the ranks here. Each rank counts for as
many samples as it has. One that must not be heard, as it only keeps company in a batch with fewer samples than ranks,
takes part with none (`counting`). Gradients of parameters are each rank's own part: their sum over ranks is that of the
global batch. The function `batch_norm` of the language is left as it is: each rank's own statistics.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from expc.frozen import dataclass


@dataclass
class _Among:
    """The ranks that the layers of a model share, and whether this one's samples count."""

    group: dist.ProcessGroup
    counts: bool = True

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Among":
        return self


def synchronise(model: nn.Module, group: dist.ProcessGroup) -> int:
    """Let `BatchNorm1d`, `2d` and `3d` in `model` take their statistics over all ranks of `group`; gives how many do.

    The modules stay the same objects, with the same keys. In evaluation they are as ever.
    """
    among, found = _Among(group), 0
    on_cpu = all(tensor.device.type == "cpu" for tensor in (*model.parameters(), *model.buffers()))
    for module in model.modules():
        across = _ON_CPU.get(type(module))
        if across is not None:
            module.__class__ = across if on_cpu else _OnDevice
            module.among = among  # type: ignore[assignment]
            found += 1
    return found


@contextmanager
def counting(model: nn.Module, counts: bool) -> Iterator[None]:
    """Inside, whether this rank's samples count. It must last until the backward pass is done.

    Without, neither statistics nor gradients feel them; what batch norm makes of them counts nowhere, but is finite.
    """
    with ExitStack() as after:
        layers = [module for module in model.modules() if isinstance(module, _Across)]
        for among in {id(layer.among): layer.among for layer in layers}.values():
            after.callback(setattr, among, "counts", among.counts)
            among.counts = counts
        yield


class _Across(_BatchNorm):
    """Comes before the class that normalises: who takes part."""

    among: _Among

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Input and result are `[N, C, *]`."""
        if self.among.counts or not self.training:
            result: Tensor = super().forward(input)
            return result
        # The ranks wait for each other, on the way back too; half precision is summed as f32, which torch forgets here.
        none = super().forward(input[:0].to(_wide(input)))
        return self._likely(input.detach()) + input * 0 + none.sum().to(input.dtype)

    def _likely(self, x: Tensor) -> Tensor:
        """Numbers like those of samples that count. What comes after may have no finite gradient where all are zero."""
        if self.running_mean is None or self.running_var is None:
            return x
        with torch.no_grad():
            statistics = self.running_mean, self.running_var
            wide = nn.functional.batch_norm(x.to(_wide(x)), *statistics, self.weight, self.bias, eps=self.eps)
        return wide.to(x.dtype)


class _OnDevice(_Across, nn.SyncBatchNorm):
    @property
    def process_group(self) -> dist.ProcessGroup:  # type: ignore[override]
        """Where torch looks for the ranks."""
        return self.among.group


class _OnCpu(_BatchNorm):
    """Normalises as `nn.BatchNorm1d` and its like, before which it stands."""

    among: _Among

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Input and result are `[N, C, *]`."""
        if not self.training:
            return _BatchNorm.forward(self, input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        group, x = self.among.group, input.to(_wide(input))
        dims, shape = [0, *range(2, x.dim())], (1, -1, *(1,) * (x.dim() - 2))
        count = x.new_tensor([x.numel() // max(x.shape[1], 1)])
        sums = _summed(torch.cat([x.sum(dims), count]), group)
        mean, total = sums[:-1] / sums[-1], float(sums[-1].detach())
        if total <= 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
        centred = x - mean.view(shape)
        variance = _summed(centred.square().sum(dims), group) / total
        self._track(mean.detach(), variance.detach() * (total / (total - 1)))
        result = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            result = result * self.weight.view(shape)
        if self.bias is not None:
            result = result + self.bias.view(shape)
        return result.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, seen in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None:
                running.copy_((1 - factor) * running + factor * seen)


class _BatchNorm1d(_Across, _OnCpu, nn.BatchNorm1d): ...


class _BatchNorm2d(_Across, _OnCpu, nn.BatchNorm2d): ...


class _BatchNorm3d(_Across, _OnCpu, nn.BatchNorm3d): ...


_ON_CPU: Final[dict[type, type]] = {
    nn.BatchNorm1d: _BatchNorm1d,
    nn.BatchNorm2d: _BatchNorm2d,
    nn.BatchNorm3d: _BatchNorm3d,
}


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class _Summed(Function):
    """The sum over ranks. What each rank makes of it counts, so on the way back too the ranks are summed."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        result = tensor.clone()
        dist.all_reduce(result, group=group)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _summed(grad, ctx.group), None


def _summed(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    result: Tensor = _Summed.apply(tensor, group)  # type: ignore[no-untyped-call]
    return result
