"""From the graph to `nn.Module`s: each container becomes a `Block`, each leaf the module of torch that it names.

The names of parameters and buffers, and their order, are exactly those of `graph.weights`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType

import torch
from torch import nn

from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Container, Declared, InitRule, Leaf, Model
from expc.compiler.lower.block import Block, build_failure
from expc.compiler.lower.externs import extern_module
from expc.compiler.lower.init import apply_inits
from expc.compiler.lower.init import start as fill
from expc.compiler.lower.parts import Parts, Whole
from expc.compiler.lower.steps import plan
from expc.compiler.lower.values import fixed_value, made, torch_dtype
from expc.compiler.ops.building import make_loss


def lower(
    model: Model,
    *,
    device: str | torch.device = "cpu",
    seed: int | None = None,
    inits: Sequence[InitRule] = (),
    start: bool = True,
) -> nn.Module:
    """The network as a module, with its parameters initialised; `inits` are the rules that come last (`train`'s).

    With a `seed`, the parameters are the same each time and on every device, and torch's generator stays where it was.
    `start` is whether to follow rules at all, and to read the files that they name: weights that are loaded next need
    neither. Raises `ExecutionError` where torch refuses to make a module.
    """
    return lower_container(model.body, device=device, seed=seed, inits=inits, start=start)


def lower_container(
    container: Container,
    *,
    device: str | torch.device = "cpu",
    seed: int | None = None,
    inits: Sequence[InitRule] = (),
    start: bool = True,
) -> nn.Module:
    """As `lower`, for any container: a loss is one too."""
    device = torch.device(device)
    # Built on the CPU, whatever the device: the same seed then gives the same numbers everywhere.
    return _started(container, Whole(), device if device.type == "meta" else "cpu", seed, inits, start).to(device)


def lower_in_parts(
    model: Model,
    part: Callable[[torch.Tensor], torch.Tensor],
    *,
    seed: int | None = None,
    inits: Sequence[InitRule] = (),
    start: bool = True,
) -> tuple[nn.Module, Mapping[torch.Tensor, torch.Tensor]]:
    """As `lower`, on the CPU, of a model that is too large to be anywhere as a whole: one layer is, at a time.

    `part` makes of each parameter what is kept of it, in memory of its own. The parameters of the module have their
    shapes, and no numbers; what is kept of each is given beside it. The numbers are those that `lower` gives.
    """
    parts = Parts(part)
    return _started(model.body, parts, "cpu", seed, inits, start), parts.kept


def _started(
    container: Container,
    whole: Whole,
    device: str | torch.device,
    seed: int | None,
    inits: Sequence[InitRule],
    start: bool,
) -> nn.Module:
    with torch.random.fork_rng(devices=[]) if seed is not None else nullcontext():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        with torch.device(device):
            module = _block(container, whole)
            if start:
                apply_inits(module, container, whole, inits)
    return module


def _block(container: Container, whole: Whole, held: Mapping[str, torch.Tensor] = MappingProxyType({})) -> Block:
    """The module of a container; `held` are buffers that are there already, which a start may read."""
    params = {name: _parameter(declared) for name, declared in container.params.items()}
    buffers = dict(held)
    for name, declared in container.buffers.items():
        buffers[name] = _tensor(declared, buffers)
    whole.made(params.values())
    children = {name: _child(name, child, whole) for name, child in container.children.items()}
    block = Block(plan(container), params, buffers, children)
    for name, child in container.children.items():
        if isinstance(child, Leaf):
            _tie(block, name, child.tied)
    return block


def _child(name: str, child: Leaf | Container, whole: Whole) -> nn.Module:
    try:
        if isinstance(child, Container):
            return _block(child, whole)
        leaf = _leaf(child)
    except ExecutionError as error:
        raise ExecutionError(error.problem, (name, *error.modules)) from error.__cause__
    whole.made(leaf.parameters())
    return leaf


def _parameter(declared: Declared) -> nn.Parameter:
    tensor = _tensor(declared)
    return nn.Parameter(tensor, requires_grad=tensor.is_floating_point())


def _leaf(leaf: Leaf) -> nn.Module:
    operator = leaf.operator
    if operator.python is not None:
        return extern_module(leaf)
    try:
        if operator.kind == "loss":
            settings = {name: fixed_value(value) for name, value in leaf.settings.items()}
            module = make_loss(torch, operator, settings)
        else:
            module = made(operator, leaf.settings)
    except Exception as error:
        raise build_failure(error, leaf.span) from error
    assert isinstance(module, nn.Module)  # noqa: S101 - what the table declares is a module
    return module


def _tensor(declared: Declared, held: Mapping[str, torch.Tensor] = MappingProxyType({})) -> torch.Tensor:
    """A declared tensor as it starts; `held` are the buffers declared before it."""
    tensor = torch.empty([int(str(size)) for size in declared.type.dims], dtype=torch_dtype(declared.type.dtype))
    if isinstance(declared.start, Container):
        return tensor if tensor.is_meta else _computed(declared.start, tensor, held)
    try:
        fill(tensor, declared.start)
    except Exception as error:
        raise build_failure(error, declared.span) from error
    return tensor


def _computed(container: Container, tensor: torch.Tensor, held: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Fills a tensor with what an expression gives: a copy, so that what is a view shares nothing."""
    with torch.no_grad():
        made = _block(container, Whole(), held).eval()()
        if (made.dtype, made.shape) != (tensor.dtype, tensor.shape):
            found, expected = (f"{each.dtype} of {list(each.shape)}" for each in (made, tensor))
            raise build_failure(TypeError(f"it gives {found}, not {expected}"), container.span)
        return tensor.copy_(made)


def _tie(block: Block, name: str, tied: Mapping[str, tuple[str, ...]]) -> None:
    """Makes parameters of the child called `name` the ones found along paths from `block`."""
    if not tied:
        return
    modules, parameters = dict(block.named_modules()), dict(block.named_parameters(remove_duplicate=False))
    for weight, path in tied.items():
        owner, _, last = f"{name}.{weight}".rpartition(".")
        setattr(modules[owner], last, parameters[".".join(path)])
