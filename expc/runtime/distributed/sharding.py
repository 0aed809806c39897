"""`fsdp`: each process holds a part of every parameter, and of what the optimizer knows of it (`fully_shard` of torch).

Parameters are split along their first dimension. A unit of the network, such as one of its blocks, gathers those of its
own before it runs and lets go of them after, and once more on the way back; then each process has its part of the mean
of all processes' gradients, so that losses are multiplied by the number of processes before.

No device ever has the whole network: its layers are built one after the other on the CPU, of each parameter this
process keeps its part, and the network is on the meta device until it is split. The numbers are those of one process.

In bf16 and f16, parameters are gathered in that precision: half the bytes to send and to hold. autocast stays, so that
operators compute in the precision that they compute in elsewhere. It finds the matrices in its own precision and casts
none: what it casts of f32 ones it would hold until the way back, the whole network. Inputs are not cast for the same
reason, gradients are added up in f32, and vectors stay f32, as norms want them.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from expc.compiler.graph import InitRule, Model
from expc.compiler.lower import lower_in_parts
from expc.compiler.lower.block import Block
from expc.runtime.checkpoint.saving import copied
from expc.runtime.checkpoint.shards import Together
from expc.runtime.distributed.parts import alike, gathered, is_split, local, part_of, spread
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.precision import DTYPES
from expc.runtime.task import Task


class Sharded(Strategy):
    """`fsdp`: every process has a part of the model."""

    name = "fsdp"
    in_step = True

    def __init__(self, task: Task, mesh: DeviceMesh, together: Together | None = None) -> None:
        self._task: Final = task
        self._mesh: Final = mesh
        self._device: Final = device_of(mesh)
        # Units give no views (`_owning`), and it warns of those that the network itself gives.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")
        self.together = together or Together(dist.new_group(backend="gloo"))

    @contextmanager
    def passing(self, turn: int | None, *, last: bool) -> Iterator[None]:  # noqa: ARG002 - every turn is alike
        """As `Strategy` says."""
        network = self._task.model
        assert isinstance(network, FSDPModule)  # noqa: S101 - `shard` made it
        resharded(network)
        network.set_requires_gradient_sync(last)
        yield
        if last:
            _average([each.grad for each in network.parameters() if not is_split(each)], self._mesh)

    def clip_norm(self, parameters: Sequence[Tensor], limit: float) -> None:
        """As `Strategy` says, of parameters in parts and whole ones; all processes call it."""
        groups = [[each for each in parameters if is_split(each) == split] for split in (True, False)]
        norms = [gathered(get_total_norm([each.grad for each in group if each.grad is not None])) for group in groups]
        total = torch.linalg.vector_norm(torch.stack([norm.to(self._device) for norm in norms]))
        for group in groups:
            clip_grads_with_norm_(group, limit, total)

    def whole(self, model: nn.Module) -> Mapping[str, Tensor]:
        """As `Strategy` says; all processes call it."""
        return merged(model)

    def load(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """As `Strategy` says."""
        load_whole(model, weights)

    def settle(self, model: nn.Module) -> None:
        """As `Strategy` says."""
        resharded(model)

    def moved_by(self, optimizers: Sequence[Optimizer]) -> None:
        """As `Strategy` says."""
        for optimizer in optimizers:
            _step_by_kind(optimizer)


def shard(
    model: Model,
    units: Sequence[str],
    mesh: DeviceMesh,
    *,
    precision: str = "f32",
    seed: int | None = None,
    inits: Sequence[InitRule] = (),
    start: bool = True,
) -> nn.Module:
    """The network as `lower` makes it, in parts on the devices of `mesh`, whose processes all call this alike.

    `units` are the paths of the modules that are gathered one by one, inner ones first. Some things are whole in every
    process: buffers, parameters without dimensions or of whole numbers, and but for f32 vectors. Raises
    `ExecutionError` as `lower` does.
    """
    device = device_of(mesh)
    least = 1 if precision == "f32" else 2

    def part(parameter: Tensor) -> Tensor:
        split = parameter.is_floating_point() and parameter.dim() >= least
        return (part_of(parameter, mesh) if split else parameter).clone()

    network, parts = lower_in_parts(model, part, seed=seed, inits=inits, start=start)
    homes = _homes(network)
    main = _main_dtype([each for each in homes if each.is_floating_point()])
    placed: dict[nn.Parameter, nn.Parameter] = {}
    whole: set[nn.Parameter] = set()
    for parameter, found in homes.items():
        split = parameter.is_floating_point() and parameter.dim() >= least
        # torch splits parameters of one precision only, and none that is called as a method is.
        if split and parameter.dtype == main and all(getattr(module, name) is parameter for module, name in found):
            made = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
        else:
            numbers = parts[parameter]
            made = (gathered(spread(numbers, parameter.shape, mesh)) if split else numbers).to(device)
        placed[parameter] = nn.Parameter(made, requires_grad=parameter.requires_grad)
        if not made.is_meta:
            whole.add(placed[parameter])
        for module, name in found:
            _put(module, name, placed[parameter])
    policy = MixedPrecisionPolicy()
    if precision != "f32":
        policy = MixedPrecisionPolicy(DTYPES[precision], torch.float32, cast_forward_inputs=False)
    fitting = _apart(network, units)
    for path in [*fitting, ""]:
        module = network.get_submodule(path)
        if path or not fitting:
            module.register_forward_hook(_owning)  # before torch's own
        fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=whole)
    # As `to_empty` does, but what has numbers keeps them.
    network._apply(  # type: ignore[no-untyped-call]  # noqa: SLF001
        lambda tensor: torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(device)
    )
    for parameter, found in homes.items():
        module, name = found[0]
        if placed[parameter] not in whole:
            _fill(getattr(module, name), parts[parameter])
    return network


def mesh_on(device: torch.device) -> DeviceMesh:
    """All processes, each with a device of this kind. All processes call it."""
    return init_device_mesh(device.type, (dist.get_world_size(),))


def device_of(mesh: DeviceMesh) -> torch.device:
    """The device of this process."""
    return torch.device("cpu") if mesh.device_type == "cpu" else torch.device("cuda", torch.cuda.current_device())


def resharded(network: nn.Module) -> None:
    """Let go of what is gathered still: after a pass without a way back, the network itself holds what is in no unit.

    Parameters are then what optimizers know, and what can be saved.
    """
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def merged(network: nn.Module) -> dict[str, Tensor]:
    """The whole `state_dict`, copied to the CPU of the first process; of a network in parts, others get nothing.

    Parameter by parameter: no device has more than one of them whole. All processes call it.
    """
    resharded(network)
    meshes = {each.device_mesh for each in network.parameters() if is_split(each)}
    if not meshes:
        return copied(network.state_dict())
    is_first = meshes.pop().get_local_rank() == 0
    seen: dict[Tensor, Tensor] = {}
    found: dict[str, Tensor] = {}
    for key, tensor in network.state_dict(keep_vars=True).items():
        if tensor not in seen:
            # All processes give their parts, and get the whole: only the first one keeps it.
            whole = gathered(tensor)
            seen[tensor] = whole.to("cpu", copy=True) if is_first else tensor
        found[key] = seen[tensor]
    return found if is_first else {}


def load_whole(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """As `load_state_dict`, of whole tensors: of those that the network has in parts, it takes its parts."""
    resharded(network)
    now = network.state_dict()
    network.load_state_dict({key: alike(each, now[key]) if key in now else each for key, each in weights.items()})


def _homes(network: nn.Module) -> dict[nn.Parameter, list[tuple[nn.Module, str]]]:
    """The modules that have each parameter, and what they call it."""
    homes: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():  # noqa: SLF001 - those of the module itself, tied ones too
            if parameter is not None:
                homes.setdefault(parameter, []).append((module, name))
    return homes


def _main_dtype(parameters: Sequence[nn.Parameter]) -> torch.dtype | None:
    """The precision that most numbers are in."""
    counts: dict[torch.dtype, int] = {}
    for parameter in parameters:
        counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    return max(counts, key=lambda dtype: counts[dtype], default=None)


def _put(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    if isinstance(module, Block):
        module._parameters[name] = parameter  # noqa: SLF001 - it may be called as a method is
    else:
        setattr(module, name, parameter)  # recurrent layers take note of it


def _apart(network: nn.Module, units: Sequence[str]) -> list[str]:
    """The units that share no parameter with what is outside of them: Python code may do so, and nobody can see it."""
    homes = _homes(network).values()
    fitting = []
    for path in units:
        inside = set(network.get_submodule(path).modules())
        if not any(0 < sum(module in inside for module, _ in found) < len(found) for found in homes):
            fitting.append(path)
    return fitting


def _owning(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    """What a unit gives, copied where it is a view: what changes a view in place would undo what torch has tied to it.

    That is the gathering on the way back. The network itself stays gathered, so what it gives need not be copied.
    """
    if isinstance(output, Tensor):
        is_view = output._base is not None  # noqa: SLF001 - torch itself asks so
        return output.clone() if output.requires_grad and is_view else output
    if isinstance(output, Mapping):
        return {name: _owning(_module, _inputs, each) for name, each in output.items()}
    if isinstance(output, tuple):
        return tuple(_owning(_module, _inputs, each) for each in output)
    return output


def _fill(parameter: Tensor, part: Tensor) -> None:
    place = local(parameter.detach())
    assert place.shape == part.shape  # noqa: S101 - or `copy_` would repeat it
    place.copy_(part)


def _average(gradients: Sequence[Tensor | None], mesh: DeviceMesh) -> None:
    """Make gradients of what is whole everywhere the mean over processes: one exchange for each precision."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        if gradient is not None:
            kinds.setdefault(gradient.dtype, []).append(gradient)
    for kind in kinds.values():
        together = torch.cat([gradient.reshape(-1) for gradient in kind])
        dist.all_reduce(together, group=mesh.get_group())
        means = torch.split(together / mesh.size(), [gradient.numel() for gradient in kind])
        for gradient, mean in zip(kind, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


def _step_by_kind(optimizer: Optimizer) -> None:
    """Let an optimizer move what is in parts and what is whole one after the other: torch refuses them in one call."""
    if len({is_split(each) for group in optimizer.param_groups for each in group["params"]}) < 2:
        return
    step = optimizer.step

    def by_kind(self: Optimizer, closure: Callable[[], float] | None = None) -> float | None:
        everything = [group["params"] for group in self.param_groups]
        result = None
        try:
            for split in (True, False):
                for group, parameters in zip(self.param_groups, everything, strict=True):
                    group["params"] = [each for each in parameters if is_split(each) == split]
                result = step(closure)
        finally:
            for group, parameters in zip(self.param_groups, everything, strict=True):
                group["params"] = parameters
        return result

    optimizer.step = MethodType(by_kind, optimizer)  # type: ignore[method-assign]
