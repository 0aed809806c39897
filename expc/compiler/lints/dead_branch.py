"""`dead-branch`: parameters that no loss reaches."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from expc.compiler.graph import Apply, Cast, Container, Invoke, Leaf, Read, Step, Value
from expc.compiler.lints.wires import Wires
from expc.compiler.model.body import arguments, tensors
from expc.compiler.program import Program
from expc.compiler.types import FLOATING, TensorType
from expc.diagnostics import Problem, Severity, Span
from expc.frozen import dataclass

_CUT: Final = frozenset({"detach", "floor", "ceil", "round", "trunc", "sign", "sgn", "zeros_like", "ones_like"})
"""Functions with a result of floating point that no gradient passes. What is not floating point has none either."""


@dataclass(frozen=True, kw_only=True)
class DeadBranch(Problem):
    """No loss depends on these parameters, so that they never learn.

    An output that the loss does not use, a result that only decides by `argmax`, or `detach` on the only way to the
    loss. torch says nothing, except under `ddp`, where it stops in the second step. Freeze what is not to learn.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> (scores: f32[N, 10], extra: f32[N, 4]) {
      hidden = Flatten -> Linear(16) -> ReLU
      scores = hidden -> Linear(10)
      extra  = hidden -> Linear(4)
    }
    train { epochs = 1, loss = cross_entropy(scores, label), optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> (scores: f32[N, 10], extra: f32[N, 4]) {
      hidden = Flatten -> Linear(16) -> ReLU
      scores = hidden -> Linear(10)
      extra  = hidden -> Linear(4)
    }
    train { epochs = 1, loss = cross_entropy(scores, label) + 0.1 * mean(extra ** 2), optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0505"
    name: ClassVar[str] = "dead-branch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "the loss does not depend on `{key}`{more}: it never learns"

    key: str
    more: str


def check(program: Program) -> Iterator[Problem]:
    """Layers with parameters that no loss reaches, each place of the text once."""
    train, model = program.train, program.model
    if train is None or model is None or not train.losses:
        return
    reached = _reached(program.wires, [value for plan in train.losses for value in tensors(plan.body.result)])
    alive: set[str] = {key for plan in train.losses for key in plan.weights.values()}
    dead: dict[str, Span] = {}
    _walk(model.body, "", reached, alive, dead)
    frozen = frozenset(train.freeze.keys if train.freeze is not None else ())
    found: dict[Span, list[str]] = {}
    for key, span in dead.items():
        if key not in alive and key not in frozen:
            found.setdefault(span, []).append(key)
    distributed = program.experiment.distributed
    stops = distributed is not None and distributed.strategy == "ddp" and not distributed.find_unused_parameters
    kind: Any = DeadBranch
    if stops and found:
        from expc.compiler.lints.dead_branch_under_ddp import DeadBranchUnderDdp

        kind = DeadBranchUnderDdp
    for span, keys in found.items():
        yield kind(span=span, key=keys[0], more=f" and {len(keys) - 1} more like it" if keys[1:] else "")


def _reached(wires: Wires, wanted: list[Value]) -> set[int]:
    """The steps that the values depend on, by `id`, as far as gradients go."""
    steps: set[int] = set()
    seen: set[int] = set()
    while wanted:
        value = wires.origin(wanted.pop())
        if id(value) in seen or not _has_gradient(value):
            continue
        seen.add(id(value))
        if (first := wires.first(value)) is not None:
            wanted.append(first)
        step = wires.step(value)
        if step is None or id(step) in steps:
            continue
        if isinstance(step, Apply) and step.operator.name in _CUT:
            continue
        if isinstance(step, Cast) and step.dtype not in FLOATING:
            continue
        steps.add(id(step))
        wanted += (part for part in arguments(step) if isinstance(part, Value))
        if isinstance(step, Invoke):
            wanted += wires.inside(step)
    return steps


def _has_gradient(value: Value) -> bool:
    return not isinstance(value.type, TensorType) or value.type.dtype in FLOATING


def _walk(container: Container, prefix: str, reached: set[int], alive: set[str], dead: dict[str, Span]) -> None:
    """Sort the parameters under a container, by their keys, into those that some reached step uses and the others."""
    for step in container.steps:
        child = container.children.get(_module(step) or "")
        if isinstance(step, Invoke) and step.again is not None:
            child = step.again
        if isinstance(step, Read):
            key = prefix + ".".join(step.path)
            _sort(key, step.span, step, reached, alive, dead)
        elif isinstance(child, Leaf):
            for name in child.weights:
                key = prefix + (".".join(child.tied[name]) if name in child.tied else f"{_module(step)}.{name}")
                _sort(key, child.span, step, reached, alive, dead)
        elif isinstance(child, Container):
            _walk(child, f"{prefix}{_module(step)}.", reached, alive, dead)


def _sort(key: str, span: Span, step: Step, reached: set[int], alive: set[str], dead: dict[str, Span]) -> None:
    if id(step) in reached:
        alive.add(key)
    else:
        dead.setdefault(key, span)


def _module(step: Step) -> str | None:
    return step.module if isinstance(step, Apply | Invoke) else None
