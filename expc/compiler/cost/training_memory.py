"""The memory that training takes, by what it is for: an estimate that is read off the file.

What is counted: parameters and buffers, a gradient for each parameter that learns, what the optimizer and the running
average of the weights keep, and what the network and its loss keep between the forward and the backward pass, all in
f32 and of one part of a batch (`accumulate`). What is not: the allocator's gaps, torch's own libraries, what a single
operator needs while it computes, what lower precision saves or `recompute` computes anew, and Python code.
"""

from collections.abc import Callable, Mapping
from math import ceil, prod
from typing import Final

from expc.compiler.cost.activations import Activations, Env
from expc.compiler.dimensions import Size, as_symbol
from expc.compiler.graph import Container, Invoke, Record, Value, Weight, weights
from expc.compiler.library.optimizer_state import state_bytes
from expc.compiler.program import LossPlan, Program, TrainPlan
from expc.compiler.types import is_known
from expc.frozen import dataclass

F32_BYTES: Final = 4

Dims = tuple[int, ...]


@dataclass(frozen=True)
class Memory:
    """Bytes, and how many parameters there are. What depends on sizes that nobody knows is symbolic."""

    parameters: int
    trainable: int
    weights: int
    """Parameters and buffers."""
    gradients: int
    optimizer: int | None
    """What the optimizers keep; none where one of them is Python code, 0 where nothing is trained."""
    average: int
    """A second set of weights, where `ema` asks for it."""
    activations: Size
    """What the network keeps for the backward pass."""
    loss: Size
    """What the loss keeps besides."""

    @property
    def total(self) -> Size:
        """All of it."""
        fixed = self.weights + self.gradients + (self.optimizer or 0) + self.average
        return fixed + self.activations + self.loss


def training_memory(
    program: Program, sizes: Mapping[str, Size] | None = None, held: Callable[[Dims], Dims] | None = None
) -> Memory:
    """The memory that training `program` takes on one device: `training_memory(program).total` is a number of bytes
    where every size is known, which `known_sizes` and the file's data see to in most files.

    `sizes` gives numbers to symbols, over those that the file tells. `held` makes of a parameter's dimensions those of
    the part that the device has of it. Raises ValueError without a model.
    """
    if program.model is None:
        raise ValueError("there is no model")
    body = program.model.body
    still = frozen(program.train)
    counts = [weight for weight in weights(body) if weight.tied_to is None]
    shapes = {weight.key: numbers(weight.dims) for weight in counts if not weight.is_buffer}
    if held is not None:
        shapes = {key: held(dims) for key, dims in shapes.items()}
    learning = {key: dims for key, dims in shapes.items() if key not in still}
    buffers = sum(_width(weight) * prod(numbers(weight.dims)) for weight in counts if weight.is_buffer)
    everything = F32_BYTES * sum(map(prod, shapes.values())) + buffers
    gradients = F32_BYTES * sum(map(prod, learning.values()))
    average = program.experiment.train is not None and program.experiment.train.ema is not None
    kept, loss = _kept(program, {**known_sizes(program), **(sizes or {})})
    return Memory(
        sum(map(prod, shapes.values())),
        sum(map(prod, learning.values())),
        everything,
        gradients,
        _optimizer(program.train, learning),
        everything if average else 0,
        kept,
        loss,
    )


def known_sizes(program: Program) -> dict[str, Size]:
    """The sizes of the model's inputs that the file tells: from the batch and the fields of its data.

    The batch is what goes through the network at once, so a part of it with `accumulate`; 1 without data.
    """
    sizes: dict[str, Size] = {}
    model = program.model
    if model is None:
        return sizes
    data = program.data.get("train")
    fields = {field.name: field.type for field in data.fields} if data is not None else {}
    for name, value in zip(model.body.input_names, model.body.inputs, strict=False):
        if not isinstance(value, Value) or not is_known(value.type) or not value.type.dims:
            continue
        batch = as_symbol(value.type.dims[0])
        if batch is not None and not sizes:
            sizes[batch.name] = batch_size(program)
        sample = fields.get(program.inputs.get(name, ""))
        if sample is not None and sample.rank + 1 == value.type.rank:
            for size, found in zip(value.type.dims[1:], sample.dims, strict=True):
                unknown = as_symbol(size)
                if unknown is not None and isinstance(found, int):
                    sizes.setdefault(unknown.name, found)
    return sizes


def batch_size(program: Program) -> int:
    """How many samples go through the network at once; 1 where the file has no data."""
    if not program.data or program.experiment.data is None:
        return 1
    parts = 1 if program.experiment.train is None else program.experiment.train.accumulate
    return ceil(program.experiment.data.batch / parts)


def _width(weight: Weight) -> int:
    """The bytes of a number: batch norms count their batches in i64."""
    return 8 if weight.key.endswith("num_batches_tracked") else F32_BYTES


def numbers(dims: tuple[Size, ...]) -> Dims:
    """The dimensions of a parameter, all of which are known."""
    return tuple(size for size in dims if isinstance(size, int))


def frozen(train: TrainPlan | None) -> frozenset[str]:
    """What does not learn in the whole run."""
    if train is None or train.freeze is None or train.freeze.duration is not None:
        return frozenset()
    return frozenset(train.freeze.keys)


def _optimizer(train: TrainPlan | None, learning: Mapping[str, Dims]) -> int | None:
    if train is None:
        return 0
    total = 0
    for key, dims in learning.items():
        use = train.optimizer
        settings = {} if use is None else dict(use.settings)
        for group in train.groups:
            if key in group.keys:
                if group.optimizer is not None:
                    use, settings = group.optimizer, dict(group.optimizer.settings)
                settings.update(group.settings)
        if use is None:
            continue
        bytes_ = None if use.declaration.python is not None else state_bytes(use.name, settings, dims)
        if bytes_ is None:
            return None
        total += bytes_
    return total


def _kept(program: Program, sizes: Mapping[str, Size]) -> tuple[Size, Size]:
    """The bytes that the network keeps, and those that the loss keeps besides: of several, the one that keeps most."""
    assert program.model is not None  # noqa: S101 - the caller has looked
    body = program.model.body
    losses: tuple[LossPlan | None, ...] = (None,) if program.train is None else program.train.losses or (None,)
    found = [_kept_by(body, loss, sizes) for loss in losses]
    return max(found, key=lambda pair: pair[1] if isinstance(pair[1], int) else 0)


def _kept_by(body: Container, loss: LossPlan | None, sizes: Mapping[str, Size]) -> tuple[Size, Size]:
    """The bytes that the network keeps, and those that this loss keeps besides."""
    activations = Activations(sizes)
    env = activations.given(body.inputs)
    kept = run(activations, body, env)
    if loss is None:
        return kept, 0
    return kept, run(activations, loss.body, _entering(loss, body, env, activations))


def run(activations: Activations, container: Container, env: Env) -> Size:
    """The bytes that all steps of a container keep."""
    total: Size = 0
    for step in container.steps:
        if isinstance(step, Invoke):
            child = step.again or container.children[step.module]
            assert isinstance(child, Container), step.module  # noqa: S101 - what `Invoke` says
            inside = activations.entering(child, step.arguments, env)
            total = total + run(activations, child, inside)
            activations.leaving(child, step.result, inside, env)
        else:
            total = total + activations.step(step, container, env)
    return total


def _entering(loss: LossPlan, body: Container, env: Env, activations: Activations) -> Env:
    """The inputs of a loss: outputs of the network by name, and tensors that are there anyway."""
    result = body.result
    outputs = dict(result.fields) if isinstance(result, Record) else {"output": result}
    given = activations.given(loss.body.inputs)
    for name, value in zip(loss.body.input_names, loss.body.inputs, strict=False):
        output = outputs.get(name)
        if isinstance(value, Value) and isinstance(output, Value) and output in env:
            given[value] = env[output]
    return given
