"""The layers that take statistics over the samples of a batch in training."""

from collections.abc import Collection, Iterator

from expc.compiler.graph import Apply, Container, Invoke, Leaf
from expc.compiler.model.body import tensors
from expc.compiler.ops.inner import Inner
from expc.compiler.program import Program
from expc.compiler.types import TensorType


def batch_statistics(program: Program) -> Iterator[tuple[Apply, TensorType]]:
    """Every use of such a layer, with the type of what it normalises. What is frozen for the whole run takes none."""
    if program.model is None or program.train is None:
        return
    freeze = program.train.freeze
    frozen = frozenset(freeze.keys if freeze is not None and freeze.duration is None else ())
    for step, leaf, prefix in _applications(program.model.body, ""):
        type_ = next((value.type for value in tensors(step.result)), None)
        if step.operator.batch_statistics and isinstance(type_, TensorType) and _takes(leaf, prefix, frozen):
            yield step, type_


def is_batch_norm(leaf: Leaf) -> bool:
    """Whether a layer takes such statistics, be it by a layer inside."""
    norm = leaf.settings.get("norm_layer", leaf)
    return leaf.operator.batch_statistics and isinstance(norm, Inner | Leaf) and norm.operator.batch_statistics


def _applications(container: Container, prefix: str) -> Iterator[tuple[Apply, Leaf | None, str]]:
    for step in container.steps:
        if isinstance(step, Apply):
            leaf = container.children.get(step.module) if step.module is not None else None
            yield step, leaf if isinstance(leaf, Leaf) else None, f"{prefix}{step.module}."
        elif isinstance(step, Invoke):
            child = container.children[step.module]
            if isinstance(child, Container):
                yield from _applications(child, f"{prefix}{step.module}.")


def _takes(leaf: Leaf | None, prefix: str, frozen: Collection[str]) -> bool:
    if leaf is None:
        return True
    if not is_batch_norm(leaf):
        return False
    entries = [prefix + name for name in (*leaf.weights, *leaf.buffers)]
    return not entries or any(entry not in frozen for entry in entries)
