"""Which parameters a loss depends on, as far as gradients go, and which never learn since none does.

Parameters of Python code are not known here.
"""

from typing import Final

from expc.compiler.graph import Apply, Cast, Container, Invoke, Leaf, Model, Read, Step, Value
from expc.compiler.lints.wires import Wires
from expc.compiler.model.body import arguments, tensors
from expc.compiler.program import LossPlan, Program
from expc.compiler.types import FLOATING, TensorType
from expc.diagnostics import Span

_CUT: Final = frozenset({"detach", "floor", "ceil", "round", "trunc", "sign", "sgn", "zeros_like", "ones_like"})
"""Functions with a result of floating point that no gradient passes. What is not floating point has none either."""


def unreached(program: Program) -> tuple[str, ...]:
    """The keys of the parameters that are to learn and have no gradient: the loss that moves them does not reach them.

    `ddp` waits for the gradient of every parameter, unless `find_unused_parameters` is said.
    """
    return tuple(unreached_at(program))


def unreached_at(program: Program) -> dict[str, Span]:
    """The same, each with the place of the layer that has it."""
    train = program.train
    if train is None or program.model is None:
        return {}
    found = {} if train.loss is None or train.turns else _untouched(program, program.model, train.loss)
    for turn in train.turns:
        found |= {key: span for key, span in _untouched(program, program.model, turn.loss).items() if key in turn.keys}
    frozen = train.freeze.keys if train.freeze is not None and train.freeze.duration is None else ()
    return {key: span for key, span in found.items() if key not in frozen}


def _untouched(program: Program, model: Model, loss: LossPlan) -> dict[str, Span]:
    reached = _reached(program.wires, list(tensors(loss.body.result)))
    alive: set[str] = set(loss.weights.values())
    dead: dict[str, Span] = {}
    _walk(model.body, "", reached, alive, dead)
    return {key: span for key, span in dead.items() if key not in alive}


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
