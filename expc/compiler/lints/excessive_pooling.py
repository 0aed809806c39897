"""`excessive-pooling`: so little is left that parts of a kernel never see it."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.stride_drops_border import sides
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class ExcessivePooling(Problem):
    """The input was pooled so far that parts of this kernel only ever see padding.

    A kernel of 3 with a padding of 1 over one single position multiplies it by its centre; the other eight weights
    never learn. Pool or stride less, or begin with a larger input. torch says nothing.

    ```exp wrong
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 8, 1, 1] {
      repeat 3 { Conv2d(8, 3, padding=1) -> ReLU -> MaxPool2d(2) }
      Conv2d(8, 3, padding=1)
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 8, 2, 2] {
      repeat 2 { Conv2d(8, 3, padding=1) -> ReLU -> MaxPool2d(2) }
      Conv2d(8, 3, padding=1)
    }
    ```
    """

    code: ClassVar[str] = "W0312"
    name: ClassVar[str] = "excessive-pooling"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = (
        "only {seen} of {kernel} positions of this kernel ever see the input, which is {size} wide in dimension {axis}"
    )

    seen: int
    kernel: int
    size: int
    axis: int


_LARGEST: Final = 1000
"""Of kernels and paddings beyond this size nothing is said: the positions are counted one by one."""


def check(program: Program) -> Iterator[Problem]:
    """Convolutions whose kernel reaches over both ends of their input, after something made it smaller."""
    smaller = False
    for node in program.wires.nodes:
        for axis, size, kernel, stride, padding, dilation in sides(node):
            reach = dilation * (kernel - 1) + 1
            if smaller and size < reach <= _LARGEST and padding <= _LARGEST and node.name.lower().startswith("conv"):
                steps = (size + 2 * padding - reach) // stride + 1
                starts = range(-padding, -padding + steps * stride, stride)
                seen = sum(any(0 <= start + tap * dilation < size for start in starts) for tap in range(kernel))
                if seen < kernel:
                    yield ExcessivePooling(span=node.span, seen=seen, kernel=kernel, size=size, axis=axis)
                    break
            smaller = smaller or stride > 1
