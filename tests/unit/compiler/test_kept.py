"""What networks are said to cost is what torch does: bytes kept for the backward pass, MACs, and optimizer state."""

import warnings
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_programs import programs
from programs import model_of
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import expc
from expc.compiler.cost.activations import Activations
from expc.compiler.cost.count import rows
from expc.compiler.cost.training_memory import run, training_memory
from expc.compiler.dimensions import substitute, symbols
from expc.compiler.graph import Model
from expc.compiler.library.optimizer_state import STATE, state_bytes
from expc.compiler.library.optimizers import optimizers
from expc.compiler.lower import lower
from expc.compiler.ops.declare import Operator
from expc.compiler.ops.kept import APPROXIMATE, KEEPS, NO_GRADIENT, kept
from expc.compiler.ops.table import operators
from expc.compiler.types import TORCH_NAMES, TensorType

EXAMPLES = Path(__file__).parents[3] / "examples"

NO_GRADIENT_OF_SOME = {"batch_norm", "SoftMarginLoss", "soft_margin_loss"}
"""torch refuses a gradient of one of their tensors."""
NEEDS_SENSIBLE_INDICES = {"MaxUnpool2d", "max_unpool2d", "MaxUnpool3d", "max_unpool3d"}
"""Their indices must come from a pool of some sizes only."""


class Box:
    """A tensor that autograd keeps; lives as long as its part of the graph does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def bytes_kept(module: nn.Module, given: Iterable[Tensor]) -> int:
    """The bytes of all storages that one forward pass leaves in the graph, less parameters and buffers."""
    boxes: list[weakref.ref[Box]] = []

    def pack(tensor: Tensor) -> Box:
        box = Box(tensor)
        boxes.append(weakref.ref(box))
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        result = module(*given)
    there = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    alive = [held.tensor.untyped_storage() for box in boxes if (held := box()) is not None]
    del result
    return sum({each.data_ptr(): each.nbytes() for each in alive if each.data_ptr() not in there}.values())


def said(model: Model, sizes: Mapping[str, int], *, gradients: bool) -> Any:
    activations = Activations(sizes)
    return run(activations, model.body, activations.given(model.body.inputs, gradients=gradients))


def inputs_of(model: Model, sizes: Mapping[str, int], *, gradients: bool) -> list[Tensor]:
    given = []
    for value in model.body.inputs:
        assert isinstance(value.type, TensorType)
        dtype = getattr(torch, TORCH_NAMES[value.type.dtype])
        dims = [int(substitute(size, sizes)) for size in value.type.dims]
        tensor = torch.full(dims, 0.5 if dtype.is_floating_point else 1, dtype=dtype)
        given.append(tensor.requires_grad_(gradients and dtype.is_floating_point))
    return given


def sizes_of(model: Model) -> dict[str, int]:
    names = {symbol.name for value in model.body.inputs for size in value.type.dims for symbol in symbols(size)}
    return {name: 6 + number for number, name in enumerate(sorted(names))}


def text_of(operator: Operator) -> str:
    return written(operator.example, operator.example_inputs)


def written(body: str, inputs: Mapping[str, str]) -> str:
    declared = ", ".join(f"{name}: {type_}" for name, type_ in inputs.items())
    return f"model M({declared}) {{\n  {body}\n}}\n"


def both(text: str, *, gradients: bool) -> tuple[Any, int]:
    model = model_of(text)
    sizes = sizes_of(model)
    module = lower(model, seed=0).train()
    found = bytes_kept(module, inputs_of(model, sizes, gradients=gradients))
    return said(model, sizes, gradients=gradients), found


@pytest.mark.parametrize("name", operators())
def test_every_operator_keeps_what_is_said(name: str) -> None:
    assert name in NO_GRADIENT or kept(name) is not None, f"say in ops/kept.py what {name} keeps"
    if name in NEEDS_SENSIBLE_INDICES:
        return
    for gradients in (False,) if name in NO_GRADIENT_OF_SOME else (False, True):
        expected, found = both(text_of(operators()[name]), gradients=gradients)
        if name in APPROXIMATE:
            assert found / 4 <= expected <= found * 4
        else:
            assert expected == found


@pytest.mark.parametrize(("body", "inputs"), [pytest.param(*case, id=case[0]) for case in programs()])
def test_settings_change_what_is_kept(body: str, inputs: dict[str, str]) -> None:
    for gradients in (False, True):
        expected, found = both(written(body, inputs), gradients=gradients)
        assert expected == found


def test_nothing_is_said_twice() -> None:
    names = [name for names in KEEPS.values() for name in names.split()]
    assert len(set(names)) == len(names)
    assert not set(names) & NO_GRADIENT
    assert set(names) | NO_GRADIENT | APPROXIMATE.keys() <= set(operators())


def test_a_tensor_that_several_keep_counts_once() -> None:
    expected, found = both("model M(x: f32[N, 8]) {\n  ReLU -> Linear(8) -> exp\n}\n", gradients=True)
    assert expected == found == 2 * 6 * 8 * 4


SIDES = {"H": 64, "W": 96, "T": 12, "S": 9}
FILES = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.exp"))
COUNTED = {"alexnet": {"H": 96, "W": 96}, "unet": {"H": 32, "W": 48}}


def made(model: Model) -> nn.Module:
    """The network; a large one with whatever numbers are in memory, because to draw them takes seconds."""
    module = lower(model, device="meta")
    large = sum(parameter.numel() for parameter in module.parameters()) > 20_000_000
    return (module.to_empty(device="cpu") if large else lower(model, seed=0)).train()


@pytest.mark.parametrize("example", FILES)
def test_whole_networks_keep_what_is_said(example: str) -> None:
    model = expc.load(EXAMPLES / example).program.model
    assert model is not None
    sizes = dict.fromkeys(model.symbols, 3) | SIDES | COUNTED.get(Path(example).stem, {})
    module = made(model)
    given = inputs_of(model, sizes, gradients=False)
    # Summed at these sizes, or summed as formulas and then evaluated: the same.
    total = rows(model.body, sizes)[0]
    assert total.kept == bytes_kept(module, given)
    if "LSTM(" not in (EXAMPLES / example).read_text("utf-8"):
        assert substitute(rows(model.body, {})[0].kept, sizes) == total.kept
    assert total.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert total.macs == flops(module, given) // 2


# ------------------------------------------------------------------------------------------------------------- MACs

UNCOUNTED = {
    *("Bilinear", "pdist", "mv", "dot", "addmv", "addr", "addbmm", "vdot", "bilinear", "cdist", "conv_tbc"),
}
"""Operators that torch's counter takes for free; `test_what_torch_does_not_count` has their MACs."""


def flops(module: nn.Module, given: Iterable[Tensor]) -> int:
    """What torch counts, through its simple kernels: it knows no fused attention on the CPU, and no oneDNN."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with (
        warnings.catch_warnings(action="ignore"),
        FlopCounterMode(display=False) as counter,
        torch.backends.mkldnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        torch.no_grad(),
    ):
        module(*given)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", operators())
def test_every_operator_multiplies_as_often_as_is_said(name: str) -> None:
    if name in UNCOUNTED | NEEDS_SENSIBLE_INDICES:
        return
    model = model_of(text_of(operators()[name]))
    sizes = sizes_of(model)
    found = flops(lower(model, seed=0).train(), inputs_of(model, sizes, gradients=False))
    assert rows(model.body, sizes)[0].macs == found / 2


@pytest.mark.parametrize(
    ("body", "inputs", "macs"),
    [
        ("(x, y) -> Bilinear(5)", {"x": "f32[N, 8]", "y": "f32[N, 4]"}, 6 * 5 * 8 * 4),
        ("x -> mv(y)", {"x": "f32[N, 8]", "y": "f32[8]"}, 6 * 8),
        ("x -> dot(y)", {"x": "f32[8]", "y": "f32[8]"}, 8),
        ("x -> cdist(y)", {"x": "f32[N, 8]", "y": "f32[5, 8]"}, 6 * 5 * 8),
        ("x -> addbmm(y, z)", {"x": "f32[2, 4]", "y": "f32[N, 2, 8]", "z": "f32[N, 8, 4]"}, 6 * 2 * 8 * 4),
        ("x -> conv_tbc(w, b)", {"x": "f32[10, N, 4]", "w": "f32[3, 4, 5]", "b": "f32[5]"}, 8 * 6 * 5 * 3 * 4),
    ],
)
def test_what_torch_does_not_count(body: str, inputs: dict[str, str], macs: int) -> None:
    model = model_of(written(body, inputs))
    assert rows(model.body, sizes_of(model))[0].macs == macs


# -------------------------------------------------------------------------------------------------------- training


def storages(held: Any) -> dict[int, int]:
    """The storages of all tensors in nested containers."""
    if isinstance(held, Tensor):
        return {held.untyped_storage().data_ptr(): held.untyped_storage().nbytes()}
    if isinstance(held, Mapping):
        held = list(held.values())
    if not isinstance(held, list | tuple):
        return {}
    return {key: size for item in held for key, size in storages(item).items()}


SETTINGS = [
    *((name, {}) for name in STATE),
    *(("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("RMSprop", {"momentum": 0.9, "centered": True})),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_optimizers_keep_what_is_said(name: str, settings: dict[str, Any]) -> None:
    shapes = [(4, 6)] if name == "Muon" else [(4, 6), (5,), (2, 3, 4)]
    parameters = [torch.rand(shape, requires_grad=True) for shape in shapes]
    optimizer = getattr(torch.optim, name)(parameters, **settings)

    def compute() -> Tensor:
        optimizer.zero_grad()
        loss = torch.stack([(parameter**2).sum() for parameter in parameters]).sum()
        loss.backward()
        for parameter in parameters:
            if name == "SparseAdam":
                parameter.grad = parameter.grad.to_sparse()
        return loss

    optimizer.step(compute)
    complete = {param.name: param.default for param in optimizers()[name].settings} | settings
    expected = sum(state_bytes(name, complete, shape) or 0 for shape in shapes)
    found = sum(storages(dict(optimizer.state)).values())
    # LBFGS fills its history as it goes.
    assert found <= expected if name == "LBFGS" else found == expected


def test_every_optimizer_is_known() -> None:
    assert STATE.keys() == optimizers().keys()


def test_memory_of_training_is_that_of_a_step() -> None:
    """Weights, gradients, state, and what the graph of network and loss keeps, all measured after one step."""
    program = expc.load(EXAMPLES / "mnist.exp", set={"data.batch": 4, "train.accumulate": 2}).program
    assert program.model is not None
    memory = training_memory(program)
    module = lower(program.model, seed=0).train()

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, x: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(self.network(x), target, label_smoothing=0.1)

    x, target = torch.rand(2, 1, 28, 28), torch.tensor([1, 2])
    assert memory.activations + memory.loss == bytes_kept(WithLoss(), (x, target))
    optimizer = torch.optim.AdamW(module.parameters())
    WithLoss()(x, target).backward()
    optimizer.step()
    assert memory.weights == sum(storages([*module.parameters(), *module.buffers()]).values())
    assert memory.gradients == sum(storages([parameter.grad for parameter in module.parameters()]).values())
    assert memory.optimizer == sum(storages(dict(optimizer.state)).values())
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.loss)
    assert memory.total == sum(part or 0 for part in parts)


def test_what_is_frozen_has_no_gradient_and_no_state() -> None:
    settings = {"data.batch": 1, "train.freeze": '["0.*"]'}
    memory = training_memory(expc.load(EXAMPLES / "mnist.exp", set=settings).program)
    assert memory.parameters - memory.trainable == 32 * 9
    assert memory.gradients == 4 * memory.trainable
