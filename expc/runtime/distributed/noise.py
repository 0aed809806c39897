"""The random numbers of a network, the same whatever the number of processes.

Every process holds the same generators, draws for the whole batch of all of them, and takes the rows of its samples:
`with whole.drawing(start, stop, total): ...` around forward and backward pass of the rows `start` to `stop`. A process
without samples runs one row that is thrown away, `drawing(0, 0, total)`: its generators move as those of the others.

How: each step that draws is first run without numbers (torch's fake tensors), once with this process's rows and once
with all rows. That tells how large each of its draws is here, and in one process. When the step runs, each operation
of torch that draws is carried out in the large size, and its rows are cut out. So the masks inside of attention and
between the layers of an LSTM are right too, while all that follows is computed on this process's rows only.

What holds: where a batch goes through the network at once, each row gets, bit for bit, the noise that it gets in one
process. Where a process takes its rows in parts (`accumulate`), it does so if the k-th part's `drawing` has the rows
and the total of the k-th part of one process. (Torch fills a tensor in the order of its memory, which a single row does
not show. So with one row the whole network is run without numbers first; Python code that this cannot see through may
hide that order.) `not_repeatable` names what is not so: what draws as often as the values
of other rows make it, or scales by what they have drawn; what has its rows where they cannot be followed; Python code,
which may draw; and on a GPU what draws inside of a kernel (attention and recurrent layers with dropout). A compiled
network draws in its compiler's way, but for the steps that draw here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from expc.compiler.errors.python import ExecutionError
from expc.compiler.graph import Apply, Container
from expc.compiler.lower.block import Block
from expc.compiler.lower.steps import Origin, Plan, Run
from expc.compiler.lower.values import Getter
from expc.compiler.model.body import tensors
from expc.frozen import dataclass
from expc.runtime.distributed.placing import Place, Placing

_BY_VALUE: Final = frozenset(("rrelu", "RReLU", "poisson", "binomial"))
"""How many numbers they draw depends on the values of all rows."""
_TOGETHER: Final = frozenset(("DropBlock2d", "DropBlock3d"))
"""They scale by what all rows have drawn."""
_FUSED: Final = (nn.MultiheadAttention, nn.RNNBase)
"""Layers that draw inside of a kernel on a GPU."""


@dataclass(frozen=True)
class Rows:
    """The rows of this process: `count` from `start`, of `total`."""

    start: int
    count: int
    total: int


class WholeDraws:
    """Lets a network, and losses, draw for the whole batch of all processes."""

    def __init__(self, model: nn.Module, losses: Sequence[nn.Module] = ()) -> None:
        self._drawers: Final[dict[Block, dict[Container, _Drawer]]] = {}
        self._looks: Final[dict[Block, _Look]] = {}
        for root in (model, *losses):
            assert isinstance(root, Block)  # noqa: S101 - what is lowered is one
            placing = Placing(root)
            drawing, look = list(filter(_draws, placing.places)), _Look(placing)
            for place in drawing:
                drawers = self._drawers.setdefault(place.block, {})
                drawers.setdefault(place.container, _Drawer(placing, look)).add(place)
            if drawing:
                self._looks[root] = look

    @contextmanager
    def drawing(self, start: int, stop: int, total: int) -> Iterator[None]:
        """Inside, the rows `start` to `stop` of `total` go through the network, and draw as they would among all."""
        rows = Rows(start, max(stop - start, 1), total)
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
        for place in placing.places:
            python = isinstance(place.step, Apply) and place.step.operator.python is not None
            if python or (_draws(place) and not _repeatable(place, placing)):
                span = place.step.span
                found.append(f"`{' '.join(span.text.split())}` in line {span.line}")
    return tuple(dict.fromkeys(found))


def _draws(place: Place) -> bool:
    return isinstance(place.step, Apply) and place.step.operator.random


def _repeatable(place: Place, placing: Placing) -> bool:
    step = place.step
    assert isinstance(step, Apply)  # noqa: S101 - it draws
    name = step.operator.name
    if name == "randperm" and any(map(placing.growing, tensors(step.result))):
        return False
    return name not in _BY_VALUE | _TOGETHER and place.outer is not None and not _fused(place)


def _fused(place: Place) -> bool:
    """Whether a step draws inside of a kernel: on a GPU, and with some dropout."""
    step = place.step
    device = next((tensor.device.type for tensor in (*place.block.parameters(), *place.block.buffers())), "cpu")
    if device == "cpu" or not isinstance(step, Apply):
        return False
    if step.module is None:
        return step.operator.name == "scaled_dot_product_attention" and step.arguments.get("dropout_p", 0.0) != 0
    module = place.block._modules[step.module]  # noqa: SLF001 - a name may also be a method
    assert module is not None  # noqa: S101 - the step runs it
    return any(isinstance(inner, _FUSED) and inner.dropout > 0 for inner in module.modules())


# ---------------------------------------------------------------------------------------------------------- each step


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
        self._outers: Final[dict[Any, int]] = {}
        self._known: Final[dict[Any, list[_Draw]]] = {}

    def add(self, place: Place) -> None:
        """One more step. Where its samples lie must be known, and its numbers be drawn outside of kernels."""
        if place.outer is not None and not _fused(place):
            self._outers[place.step] = place.outer

    def planned(self, plan: Plan, rows: Rows, runs: Sequence[Run]) -> tuple[Plan, list[Run]]:
        """The plan, and some of its runs, with steps that draw for all rows."""
        slots = self._slots(plan)
        origins, changed = dict(plan.origins), []
        for get, slot in runs:
            origin = plan.origins.get(get)
            if origin is None or origin.step not in self._outers:
                changed.append((get, slot))
                continue
            drawn = partial(self._drawn, get, origin, slots, rows)
            origins[drawn] = origin
            changed.append((drawn, slot))
        return Plan(plan.container, plan.in_training, plan.in_evaluation, plan.added, plan.result, origins), changed

    def _slots(self, plan: Plan) -> list[int]:
        """Where the environment has the number of samples."""
        entry = (slot for _, slot in plan.in_training)
        at = {name: given if axis is None else next(entry) for name, (given, axis) in plan.container.sizes.items()}
        return [slot for name, slot in at.items() if name in self._placing.names]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _drawn(
        self, get: Getter, origin: Origin, slots: list[int], rows: Rows, module: nn.Module, env: list[Any]
    ) -> Any:
        if self._look.looking:
            return self._look.noted(get, module, env)
        draws = self._draws(get, origin, slots, rows, module, env)
        if not draws:
            return get(module, env)
        with _Drawing(draws, rows, self._outers[origin.step]):
            return get(module, env)

    def _draws(
        self, get: Getter, origin: Origin, slots: list[int], rows: Rows, module: nn.Module, env: list[Any]
    ) -> "list[_Draw]":
        step = origin.step
        assert isinstance(step, Apply)  # noqa: S101 - it draws
        inner = [] if step.module is None else module._modules[step.module].modules()  # type: ignore[union-attr]  # noqa: SLF001
        read = [(slot, value, env[slot]) for _, value, slot in origin.reads if isinstance(env[slot], Tensor)]
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for _, _, tensor in read)
        autocast = any(map(torch.is_autocast_enabled, {tensor.device.type for _, _, tensor in read}))
        key = (get, rows.count, rows.total, shapes, autocast, tuple(each.training for each in inner))
        if key not in self._known:
            mine = _recorded(get, module, self._faked(env, read, slots, rows, rows.count))
            whole = self._look.seen(get) or _recorded(get, module, self._faked(env, read, slots, rows, rows.total))
            self._known[key] = [_Draw(*pair) for pair in zip(mine, whole, strict=True)]
        return self._known[key]

    def _faked(
        self, env: list[Any], read: Sequence[tuple[int, Any, Tensor]], slots: list[int], rows: Rows, count: int
    ) -> "Callable[[], list[Any]]":
        """The environment as it is with `count` rows, made where tensors are fake."""

        def make() -> list[Any]:
            faked = list(env)
            for slot, value, tensor in read:
                faked[slot] = _faked(tensor, self._placing.growing(value), rows.count, count)
            for slot in slots:
                faked[slot] = count
            return faked

        return make


class _Look:
    """At what all steps of a network draw with all rows, without numbers."""

    def __init__(self, placing: Placing) -> None:
        self._placing: Final = placing
        self._over: Final[set[Any]] = set()
        self._seen: Final[dict[Getter, list[list[_Call]]]] = {}
        self.looking = False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def over(self, rows: Rows, root: Block, inputs: tuple[Any, ...]) -> None:
        """Look, where `inputs` of these sizes are new."""
        values = root.plan.container.inputs
        key = (rows.total, tuple(given.shape if isinstance(given, Tensor) else given for given in inputs))
        if key in self._over or len(inputs) != len(values):
            return
        self._over.add(key)
        self._seen.clear()
        norms = [each for each in root.modules() if each.training and hasattr(each, "running_mean")]
        self.looking = True
        try:
            for norm in norms:
                norm.training = False
            # What cannot do without numbers says so; then each step is looked at by itself.
            with _without_numbers(), suppress(ExecutionError):
                Block.forward(root, *(self._whole(*each, rows) for each in zip(values, inputs, strict=True)))
        finally:
            self.looking = False
            for norm in norms:
                norm.training = True

    def _whole(self, value: Any, given: Any, rows: Rows) -> Any:
        if isinstance(given, Tensor):
            return _faked(given, self._placing.growing(value), rows.count, rows.total)
        return rows.total if str(value) in self._placing.names else given

    def noted(self, get: Getter, module: nn.Module, env: list[Any]) -> Any:
        """What a step makes; what it draws is remembered."""
        with _Recording() as recording:
            made = get(module, env)
        self._seen.setdefault(get, []).append(recording.calls)
        return made

    def seen(self, get: Getter) -> "list[_Call] | None":
        """What a step draws when it runs next; none where nobody has looked."""
        calls = self._seen.get(get)
        return calls.pop(0) if calls else None


def _faked(tensor: Tensor, growing: Sequence[int], rows: int, count: int) -> Tensor:
    """A tensor like one of `rows` rows, with `count`."""
    size, stride = list(tensor.shape), list(tensor.stride())
    for axis in growing:
        size[axis] = size[axis] // rows * count
        for number, each in enumerate(stride):
            # What encloses the rows is further apart.
            if stride[axis] and (each, -number) > (stride[axis], -axis):
                stride[number] = each // rows * count
    return torch.empty_strided(size, stride, dtype=tensor.dtype, device=tensor.device)


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Inside, tensors have sizes, and no numbers."""
    # What is cast for autocast must not be kept: it would have no numbers.
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.set_autocast_cache_enabled(kept)


# --------------------------------------------------------------------------------------------------------- each draw


@dataclass(frozen=True)
class _Call:
    """An operation that draws, the tensors that it gets as (sizes, strides), and the sizes of what it gives."""

    called: Any
    given: tuple[Any, ...]
    made: tuple[Any, ...]


@dataclass(frozen=True)
class _Draw:
    """An operation that draws, with this process's rows and with all."""

    mine: _Call
    whole: _Call


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers what draws."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            given = tree_flatten((args, kwargs or {}))[0]
            results = tree_flatten(made)[0]
            self.calls.append(_Call(func, tuple(map(_shape, given)), tuple(map(_shape, results))))
        return made


def _shape(value: Any) -> Any:
    return (tuple(value.shape), value.stride()) if isinstance(value, Tensor) else value


def _recorded(get: Getter, module: nn.Module, make: "Callable[[], list[Any]]") -> list[_Call]:
    with _without_numbers(), _Recording() as recording:
        get(module, make())
    calls: list[_Call] = recording.calls
    return calls


class _Drawing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries out what draws for all rows, and takes this process's."""

    def __init__(self, draws: Sequence[_Draw], rows: Rows, outer: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._draws, self._rows, self._outer = iter(draws), rows, outer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        draw = next(self._draws)
        if draw.mine.called is not func:
            raise RuntimeError(f"{func} draws where {draw.mine.called} was expected")
        if draw.mine.given == draw.whole.given:
            return func(*args, **(kwargs or {}))
        mine, spec = tree_flatten((args, kwargs or {}))
        whole = [self._widened(*each) for each in zip(mine, draw.mine.given, draw.whole.given, strict=True)]
        wide_args, wide_kwargs = tree_unflatten(whole, spec)
        results, made = tree_flatten(func(*wide_args, **wide_kwargs))
        changed = {id(wide): own for wide, own in zip(whole, mine, strict=True) if wide is not own}
        if func._schema.is_mutable:  # noqa: SLF001 - torch has no other name
            for wide, own in zip(whole, mine, strict=True):
                if isinstance(own, Tensor) and wide is not own:
                    own.copy_(self._cut(wide, own.shape))
        cut = [
            changed[id(result)] if id(result) in changed else self._cut(result, shape[0]).clone()
            for result, shape in zip(results, draw.mine.made, strict=True)
        ]
        return tree_unflatten(cut, made)

    def _widened(self, own: Any, mine: Any, whole: Any) -> Any:
        """An argument as it is with all rows; for the others it has copies of this process's first."""
        if mine == whole:
            return own
        if not isinstance(own, Tensor):
            return whole
        size, stride = whole
        # What is the same along a dimension (`expand`) stays so.
        flat = [1 if step == 0 else length for length, step in zip(size, stride, strict=True)]
        base = torch.empty_strided(flat, stride, dtype=own.dtype, device=own.device)
        seen = own[tuple(slice(0, 1) if step == 0 else slice(None) for step in stride)]
        axis = next(number for number, pair in enumerate(zip(mine[0], size, strict=True)) if pair[0] != pair[1])
        if stride[axis] == 0:
            base.copy_(seen)
        else:
            base.copy_(seen.narrow(axis, 0, 1).expand(flat))
            rows = self._split(seen, axis, self._rows.count)
            self._split(base, axis, self._rows.total).narrow(axis + 1, self._rows.start, self._rows.count).copy_(rows)
        return base if list(size) == flat else base.expand(size)

    def _split(self, tensor: Tensor, axis: int, count: int) -> Tensor:
        rows: Tensor = tensor.unflatten(axis, (self._outer, count, -1))  # type: ignore[no-untyped-call]
        return rows

    def _cut(self, tensor: Any, size: Sequence[int]) -> Any:
        """The rows of this process."""
        axes = [number for number, pair in enumerate(zip(tensor.shape, size, strict=True)) if pair[0] != pair[1]]
        for axis in axes:
            rows = self._split(tensor, axis, self._rows.total).narrow(axis + 1, self._rows.start, self._rows.count)
            tensor = rows.flatten(axis, axis + 2)
        return tensor
