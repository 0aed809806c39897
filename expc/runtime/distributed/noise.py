"""The random numbers of a network, the same whatever the number of processes.

Every process holds the same generators, draws for the whole batch of all of them, and takes the rows of its samples:
`with whole.drawing(start, stop, total): ...` around forward and backward pass of the rows `start` to `stop`. A process
without samples (`start` equals `stop`) runs one row that is thrown away: its generators move as those of the others.

How: each step that draws is first run without numbers (torch's fake tensors), once with this process's rows and once
with all rows. That tells how large each of its draws is here, and in one process. When the step runs, each operation
of torch that draws is carried out in the large size, and its rows are cut out. So the masks inside of attention and
between the layers of an LSTM are right too, while all that follows is computed on this process's rows only.

What holds: where a batch goes through the network at once, each row gets, bit for bit, the noise that it gets in one
process. Where a process takes its rows in parts (`accumulate`), it does so if the k-th part's `drawing` has the rows
and the total of the k-th part of one process. `not_repeatable` names what is not so: what draws as often as the values
of other rows make it, or scales by what they have drawn; what has its rows where they cannot be followed; Python code,
which may draw; on a GPU what draws inside of a kernel (attention and recurrent layers with dropout); layers of torch
that `fsdp` gathers by themselves. There each process draws numbers of its own, and the generators stay alike. Where a
network is compiled, its blocks that draw run uncompiled meanwhile, and draw as an uncompiled network does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final
from zlib import crc32

import torch
from torch import Tensor, nn

from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Apply, Container, Step
from expc.compiler.lower.block import Block
from expc.compiler.lower.steps import Origin, Plan, Run
from expc.compiler.lower.values import Getter
from expc.compiler.model.body import tensors
from expc.runtime.distributed.drawn_large import Call, Draw, DrawnLarge, Recording, Rows, faked, without_numbers
from expc.runtime.distributed.placing import Place, Placing
from expc.runtime.seeds import drawing_from, generator_state

_BY_VALUE: Final = frozenset(("rrelu", "RReLU", "poisson", "binomial"))
"""How many numbers they draw depends on the values of all rows."""
_TOGETHER: Final = frozenset(("DropBlock2d", "DropBlock3d"))
"""They scale by what all rows have drawn."""
_FUSED: Final = (nn.MultiheadAttention, nn.RNNBase)
"""Layers that draw inside of a kernel on a GPU."""


class WholeDraws:
    """Lets a network, and losses, draw for the whole batch of all processes."""

    def __init__(self, model: nn.Module, losses: Sequence[nn.Module] = ()) -> None:
        self._drawers: Final[dict[Block, dict[Container, _Drawer]]] = {}
        self._looks: Final[dict[Block, _Look]] = {}
        for root in (model, *losses):
            assert isinstance(root, Block)  # noqa: S101 - what is lowered is one
            placing = Placing(root)
            drawing, look = list(filter(_draws, placing.places)), _Look(root, placing)
            for place in drawing:
                drawers = self._drawers.setdefault(place.block, {})
                drawers.setdefault(place.container, _Drawer(placing, look)).add(place)
            if drawing:
                self._looks[root] = look

    @contextmanager
    def drawing(self, start: int, stop: int, total: int) -> Iterator[None]:
        """Inside, the rows `start` to `stop` of `total` go through the network, and draw as they would among all.

        Where these are none, one row goes through it, and draws as any does.
        """
        rows = Rows(min(start, total - 1), max(stop - start, 1), total)
        if rows.count == total:
            yield
            return
        for block, drawers in self._drawers.items():
            # An attribute of the instance: the tree of modules, and with it every key, stays as it is.
            block.walk = partial(_walk, block, drawers, rows)  # type: ignore[method-assign]
        looks = self._looks.items() if rows.count == 1 else ()
        hooks = [root.register_forward_pre_hook(partial(look.over, rows)) for root, look in looks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for block in self._drawers:
                del block.walk


def not_repeatable(model: nn.Module, losses: Sequence[nn.Module] = ()) -> tuple[str, ...]:
    """The steps whose noise is not that of one process, as the file writes them, with their lines."""
    found = []
    for root in (model, *losses):
        assert isinstance(root, Block)  # noqa: S101 - what is lowered is one
        placing = Placing(root)
        for place in filter(_draws, placing.places):
            if not _repeatable(place, placing):
                span = place.step.span
                found.append(f"`{' '.join(span.text.split())}` in line {span.line}")
    return tuple(dict.fromkeys(found))


def _draws(place: Place) -> bool:
    """Whether a step draws, or may."""
    return isinstance(place.step, Apply) and (place.step.operator.random or place.step.operator.python is not None)


def _repeatable(place: Place, placing: Placing) -> bool:
    step = place.step
    assert isinstance(step, Apply)  # noqa: S101 - it draws
    name = step.operator.name
    if step.operator.python is not None or name in _BY_VALUE | _TOGETHER:
        return False
    if name == "randperm" and any(map(placing.growing, tensors(step.result))):
        return False
    return place.outer is not None and not _closed(place)


def _closed(place: Place) -> bool:
    """Whether a step draws where nobody can look: inside of a kernel of a GPU, or in a layer gathered by itself."""
    step = place.step
    assert isinstance(step, Apply)  # noqa: S101 - it draws
    on_cpu = all(tensor.device.type == "cpu" for tensor in (*place.block.parameters(), *place.block.buffers()))
    if step.module is None:
        name, drops = step.operator.name, step.arguments.get("dropout_p", 0.0) != 0
        return name == "scaled_dot_product_attention" and drops and not on_cpu
    module = place.block._modules[step.module]  # noqa: SLF001 - a name may also be a method
    assert module is not None  # noqa: S101 - the step runs it
    fused = any(isinstance(inner, _FUSED) and inner.dropout > 0 for inner in module.modules())
    return _gathers(module) or (fused and not on_cpu)


def _gathers(module: nn.Module) -> bool:
    """Whether parameters are gathered from other processes when they are used."""
    # Importing the class of what is split takes a second, which most runs need not spend.
    return any(hasattr(inner, "set_requires_gradient_sync") for inner in module.modules())


# ---------------------------------------------------------------------------------------------------------- each step


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _walk(
    block: Block,
    drawers: "Mapping[Container, _Drawer]",
    rows: Rows,
    plan: Plan,
    runs: Sequence[Run],
    env: list[Any],
) -> None:
    drawer = drawers.get(plan.container)
    if drawer is not None:
        plan, runs = drawer.planned(plan, rows, runs)
    Block.walk(block, plan, runs, env)


class _Drawer:
    """The steps of one container that draw."""

    def __init__(self, placing: Placing, look: "_Look") -> None:
        self._placing: Final = placing
        self._look: Final = look
        self._outers: Final[dict[Step, int | None]] = {}
        self._known: Final[dict[Any, list[Draw]]] = {}

    def add(self, place: Place) -> None:
        """One more step: how many batches it has one after the other; none where each process draws its own."""
        self._outers[place.step] = place.outer if _repeatable(place, self._placing) else None

    def planned(self, plan: Plan, rows: Rows, runs: Sequence[Run]) -> tuple[Plan, list[Run]]:
        """The plan, and some of its runs, with steps that draw for all rows."""
        slots = self._slots(plan)
        origins, changed = dict(plan.origins), []
        for get, slot in runs:
            origin = plan.origins.get(get)
            if origin is None or origin.step not in self._outers:
                changed.append((get, slot))
                continue
            outer = self._outers[origin.step]
            apart = partial(self._drawn_apart, get, rows)
            drawn = apart if outer is None else partial(self._drawn, get, origin, slots, rows, outer)
            origins[drawn] = origin
            changed.append((drawn, slot))
        return Plan(plan.container, plan.in_training, plan.in_evaluation, plan.added, plan.result, origins), changed

    def _slots(self, plan: Plan) -> list[int]:
        """Where the environment has the number of samples."""
        entry = (slot for _, slot in plan.in_training)
        at = {name: given if axis is None else next(entry) for name, (given, axis) in plan.container.sizes.items()}
        return [slot for name, slot in at.items() if name in self._placing.names]

    def _drawn_apart(self, get: Getter, rows: Rows, module: nn.Module, env: list[Any]) -> Any:
        """What a step makes that draws numbers of its own in each process. The generators go on alike in all."""
        if self._look.looking:
            return get(module, env)
        tensors = (value for value in (*env, *module.parameters(), *module.buffers()) if isinstance(value, Tensor))
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        before = b"".join(state.numpy().tobytes() for state in generator_state(device).values())
        with drawing_from(crc32(before) + rows.start, device):
            begun = generator_state(device)
            made = get(module, env)
            ended = generator_state(device)
        for name, state in ended.items():
            if not torch.equal(state, begun[name]):
                torch.rand((), device=name)
        return made

    def _drawn(
        self, get: Getter, origin: Origin, slots: list[int], rows: Rows, outer: int, module: nn.Module, env: list[Any]
    ) -> Any:
        if self._look.looking:
            return self._look.noted(get, module, env)
        draws = self._draws(get, origin, slots, rows, module, env)
        if not draws:
            return get(module, env)
        with DrawnLarge(draws, rows, outer):
            return get(module, env)

    def _draws(
        self, get: Getter, origin: Origin, slots: list[int], rows: Rows, module: nn.Module, env: list[Any]
    ) -> "list[Draw]":
        step = origin.step
        assert isinstance(step, Apply)  # noqa: S101 - it draws
        inner = [] if step.module is None else module._modules[step.module].modules()  # type: ignore[union-attr]  # noqa: SLF001
        read = [(slot, value, env[slot]) for _, value, slot in origin.reads if isinstance(env[slot], Tensor)]
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for _, _, tensor in read)
        autocast = any(map(torch.is_autocast_enabled, {tensor.device.type for _, _, tensor in read}))
        key = (get, rows.count, rows.total, shapes, autocast, tuple(each.training for each in inner))
        if key not in self._known:
            mine = _recorded(get, module, self._with_rows(env, read, slots, rows, rows.count))
            whole = self._look.seen(get) or _recorded(get, module, self._with_rows(env, read, slots, rows, rows.total))
            self._known[key] = [Draw(*pair) for pair in zip(mine, whole, strict=True)]
        return self._known[key]

    def _with_rows(
        self, env: list[Any], read: Sequence[tuple[int, Any, Tensor]], slots: list[int], rows: Rows, count: int
    ) -> "Callable[[], list[Any]]":
        """The environment as it is with `count` rows, made where tensors are fake."""

        def make() -> list[Any]:
            made = list(env)
            for slot, value, tensor in read:
                made[slot] = faked(tensor, self._placing.growing(value), rows.count, count)
            for slot in slots:
                made[slot] = count
            return made

        return make


class _Look:
    """What the steps of a network draw with all rows, found by running all of it without numbers.

    Torch fills a tensor in the order of its memory, and a tensor of one row does not show which dimension is the outer
    one. So a process with one row cannot tell from a step's inputs how they lie in memory with all rows. It must guess
    where parameters are gathered (`fsdp`), where there is Python code, and where a step cannot do without numbers.
    """

    def __init__(self, root: Block, placing: Placing) -> None:
        self._placing: Final = placing
        steps = [place.step for place in placing.places]
        python = any(isinstance(step, Apply) and step.operator.python is not None for step in steps)
        self._blind: Final = python or _gathers(root)
        self._over: Final[set[Any]] = set()
        self._seen: Final[dict[Getter, list[list[Call]]]] = {}
        self.looking = False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def over(self, rows: Rows, root: Block, inputs: tuple[Any, ...]) -> None:
        """Look, where `inputs` of these sizes are new."""
        values = root.plan.container.inputs
        key = (rows.total, tuple(given.shape if isinstance(given, Tensor) else given for given in inputs))
        if key in self._over or len(inputs) != len(values) or self._blind:
            return
        self._over.add(key)
        self._seen.clear()
        norms = [each for each in root.modules() if each.training and hasattr(each, "running_mean")]
        self.looking = True
        try:
            for norm in norms:
                norm.training = False
            # What cannot do without numbers says so; then each step is looked at by itself.
            with without_numbers(), suppress(ExecutionError):
                Block.forward(root, *(self._whole(*each, rows) for each in zip(values, inputs, strict=True)))
        finally:
            self.looking = False
            for norm in norms:
                norm.training = True

    def _whole(self, value: Any, given: Any, rows: Rows) -> Any:
        if isinstance(given, Tensor):
            return faked(given, self._placing.growing(value), rows.count, rows.total)
        return rows.total if str(value) in self._placing.names else given

    def noted(self, get: Getter, module: nn.Module, env: list[Any]) -> Any:
        """What a step makes; what it draws is remembered."""
        with Recording() as recording:
            made = get(module, env)
        self._seen.setdefault(get, []).append(recording.calls)
        return made

    def seen(self, get: Getter) -> "list[Call] | None":
        """What a step draws when it runs next; none where nobody has looked."""
        calls = self._seen.get(get)
        return calls.pop(0) if calls else None


def _recorded(get: Getter, module: nn.Module, make: "Callable[[], list[Any]]") -> list[Call]:
    with without_numbers(), Recording() as recording:
        get(module, make())
    calls: list[Call] = recording.calls
    return calls
