"""`constant-init`: layers that start with equal weights stay equal."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from expc.compiler.graph import Container, InitRule, Leaf, weights
from expc.compiler.lints.wires import AFFINE, SAME
from expc.compiler.plans.selectors import matching
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem
from expc.frozen import dataclass

_CONSTANT: Final = ("zeros", "ones", "constant")
_BETWEEN: Final = frozenset(name for name in SAME if "ropout" not in name) | {
    *("ReLU", "LeakyReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "ELU", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
    *(
        "LayerNorm",
        "GroupNorm",
        "MaxPool2d",
        "AvgPool2d",
        "AdaptiveAvgPool2d",
        "relu",
        "gelu",
        "silu",
        "tanh",
        "sigmoid",
    ),
}


@dataclass(frozen=True, kw_only=True)
class ConstantInit(Problem):
    """Two layers in a row start with weights that are all the same.

    All units of the first layer then compute the same, get the same gradient, and stay the same for ever; with zeros,
    none gets a gradient at all. Random numbers tell them apart: those of one of both layers, of the biases of the
    first, or of a dropout between them. So one such layer alone may be meant: a head that begins with zeros learns.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      Linear(16) -> ReLU -> Linear(2)
      init Linear.weight = zeros
      init Linear.bias   = zeros
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      Linear(16) -> ReLU -> Linear(2)
      init Linear.weight = xavier_uniform
      init Linear.bias   = zeros
    }
    ```
    """

    code: ClassVar[str] = "E0314"
    name: ClassVar[str] = "constant-init"
    template: ClassVar[str] = (
        "`{first}` and the `{second}` after it start with weights that are all the same: their units never differ"
    )

    first: str
    second: str


def check(program: Program) -> Iterator[Problem]:
    """Pairs of layers, one fed by the other only, both of whose weights a rule makes constant."""
    if program.model is None:
        return
    starts: dict[tuple[int, str], InitRule] = {}
    outer = program.train.inits if program.train is not None else ()
    _collect(program.model.body, outer, starts)
    constant = {key for key, rule in starts.items() if rule.initialiser.name in _CONSTANT}
    if len(constant) < 2:
        return
    wires = program.wires
    for node in wires.nodes:
        if node.leaf is None or (id(node.leaf), "weight") not in constant:
            continue
        before = wires.source(node.input, _BETWEEN)
        if before is None or before.leaf is None or before.leaf is node.leaf:
            continue
        own = {(id(before.leaf), name) for name in before.leaf.weights}
        if before.name in AFFINE and own <= constant and wires.feeds_only(before, node, _BETWEEN):
            rule = starts[id(node.leaf), "weight"]
            labels = (Label(before.span, f"this `{before.name}`"), Label(node.span, f"this `{node.name}`"))
            yield ConstantInit(span=rule.span, first=before.name, second=node.name, labels=labels)


def _collect(container: Container, outer: tuple[InitRule, ...], starts: dict[tuple[int, str], InitRule]) -> None:
    """The rule that each parameter of a layer follows, inner ones first, so that outer ones have the last word."""
    for child in container.children.values():
        if isinstance(child, Container):
            _collect(child, (), starts)
    rules = (*container.inits, *outer)
    if not rules:
        return
    entries = [weight for weight in weights(container) if not weight.is_buffer]
    leaves = dict(_leaves(container))
    for rule in rules:
        for weight in matching(rule.selector, rule.is_glob, container, entries):
            owner, _, name = weight.key.rpartition(".")
            if owner in leaves:
                starts[id(leaves[owner]), name] = rule


def _leaves(container: Container, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    children: Mapping[str, Leaf | Container] = container.children
    for name, child in children.items():
        if isinstance(child, Leaf):
            yield prefix + name, child
        else:
            yield from _leaves(child, f"{prefix}{name}.")
