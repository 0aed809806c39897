"""Where the samples of a batch lie in what the steps of a network read and make.

Along the dimension that grows with the batch a tensor has rows: `[outer, samples, inner]`, joined. Mostly there is one
row for each sample; `flatten` makes several of each (`inner`), `cat` along the batch puts batches one after the other
(`outer`).
"""

from collections.abc import Iterator
from math import prod
from typing import Final

from expc.compiler.dimensions import Size, as_symbol, symbols
from expc.compiler.graph import Apply, Cast, Container, Invoke, Result, Step, Subscript, Value
from expc.compiler.lower.block import Block
from expc.compiler.model.body import tensors
from expc.compiler.plans.rows import axis_of, setting, values_of
from expc.compiler.types import TensorType, at
from expc.frozen import dataclass

_ROW_MAJOR: Final = frozenset(("flatten", "unflatten", "reshape", "view"))
_JOINING: Final = frozenset(("cat", "concat", "concatenate"))


@dataclass(frozen=True, eq=False)
class Place:
    """A step, the block that runs it, and how many batches lie one after the other in what it reads and makes.

    That is none where it is not known.
    """

    block: Block
    container: Container
    step: Step
    outer: int | None


class Placing:
    """The steps of a network, or of a loss, in the order in which they run, and their samples."""

    def __init__(self, root: Block) -> None:
        inputs = [value for value in root.plan.container.inputs if isinstance(value, Value)]
        leading = [size for value in inputs if isinstance(value.type, TensorType) for size in value.type.dims[:1]]
        batches = [size for size in leading if as_symbol(size) is not None]
        self._batch: Final = as_symbol(batches[0]) if batches else None
        # A batch has one length, whatever the inputs call it.
        self._renamed: Final[dict[str, Size]] = {str(size): batches[0] for size in batches}
        self._outers: Final[dict[Value, int | None]] = {}
        """Of each value that grows with the batch."""
        for value in inputs:
            self._take(value, None)
        self.places: Final = list(self._visited(root, root.plan.container))

    @property
    def names(self) -> frozenset[str]:
        """The symbols that stand for the number of samples."""
        return frozenset(self._renamed)

    def growing(self, value: Value) -> list[int]:
        """The dimensions of a tensor that grow with the batch."""
        return [number for number, size in enumerate(self._dims(value)) if self._batch in symbols(size)]

    def _dims(self, value: Value) -> tuple[Size, ...]:
        return at(value.type, self._renamed).dims if isinstance(value.type, TensorType) else ()

    def _visited(self, block: Block, container: Container) -> Iterator[Place]:
        for step in container.steps:
            if isinstance(step, Invoke):
                yield from self._inside(block, container, step)
            for value in tensors(step.result):
                if value not in self._outers:
                    self._take(value, step)
            yield Place(block, container, step, self._outer(step))

    def _inside(self, block: Block, container: Container, step: Invoke) -> Iterator[Place]:
        child, inside = block._modules[step.module], step.again or container.children[step.module]  # noqa: SLF001
        if not isinstance(child, Block) or not isinstance(inside, Container):
            return
        self._alike(step.arguments, inside.inputs)
        yield from self._visited(child, inside)
        self._alike(tuple(tensors(inside.result)), tuple(tensors(step.result)))

    def _alike(self, known: Result | tuple[object, ...], new: Result | tuple[object, ...]) -> None:
        assert isinstance(known, tuple) and isinstance(new, tuple)  # noqa: S101, PT018
        for one, other in zip(known, new, strict=False):
            if isinstance(one, Value) and isinstance(other, Value) and one in self._outers:
                self._outers[other] = self._outers[one]

    def _outer(self, step: Step) -> int | None:
        values = [value for value in (*values_of(step), *tensors(step.result)) if self.growing(value)]
        found = {self._outers.get(value) for value in values}
        return found.pop() if len(found) == 1 else None if found else 1

    def _take(self, value: Value, step: Step | None) -> None:
        if self.growing(value):
            self._outers[value] = self._found(value, step)

    def _axis(self, value: Value) -> int | None:
        if self._batch is None or not isinstance(value.type, TensorType):
            return None
        return axis_of(at(value.type, self._renamed), self._batch)

    def _found(self, value: Value, step: Step | None) -> int | None:
        axis, dims = self._axis(value), self._dims(value)
        if axis is None or as_symbol(dims[axis]) == self._batch:
            return None if axis is None else 1
        if not isinstance(step, Apply | Cast | Subscript):
            return None
        given = [each for each in values_of(step) if self.growing(each)]
        outers = {self._outers.get(each) for each in given}
        outer = outers.pop() if len(outers) == 1 else None
        if outer is None:
            return None
        # What has an `outer` has an axis.
        axes = [self._axis(each) or 0 for each in given]
        sizes = [self._dims(each)[number] for each, number in zip(given, axes, strict=True)]
        if set(sizes) == {dims[axis]}:
            return outer
        if not isinstance(step, Apply) or step.module is not None:
            return None
        name = step.operator.name
        if name in _JOINING and len(set(sizes)) == 1:
            return outer * len(sizes)
        if name == "repeat_interleave":
            return outer
        if name in _ROW_MAJOR:
            before, after = prod(self._dims(given[0])[: axes[0]]) * outer, prod(dims[:axis])
            return before // after if isinstance(before, int) and isinstance(after, int) else None
        if name == "rearrange" and as_symbol(sizes[0]) == self._batch:
            return _first_in_its_group(str(setting(step, None, "pattern")), axes[0])
        return None


def _first_in_its_group(pattern: str, axis: int) -> int | None:
    """Whether `rearrange` leaves the rows of each sample together: 1, or none."""
    left, _, right = pattern.partition("->")
    names = left.split()
    if "(" in left or axis >= len(names):
        return None
    return 1 if f"({names[axis]} " in right.replace("( ", "(") else None
