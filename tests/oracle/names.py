"""Rules about names that are decided in the text, whatever runs: what is bound must be used."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from expc.diagnostics import Span
from expc.spec import syntax
from oracle.errors import LanguageRefused


@cache
def _parts(cls: type) -> tuple[str, ...]:
    if not is_dataclass(cls) or cls is Span:
        return ()
    return tuple(field.name for field in fields(cls) if not field.name.endswith("span"))


def children(node: Any) -> Iterator[Any]:
    """What a node consists of."""
    if isinstance(node, tuple | list):
        yield from node
    else:
        for name in _parts(type(node)):
            yield getattr(node, name)


_NAMES: dict[int, tuple[Any, set[str]]] = {}
"""What was asked before, by the identity of the node, which is kept so that no other gets it."""


def names(node: Any) -> set[str]:
    """Every name that a piece of the program mentions."""
    if id(node) in _NAMES:
        return _NAMES[id(node)][1]
    found = {node.id} if isinstance(node, syntax.Name) else set()
    found = found.union(*(names(child) for child in children(node) if not isinstance(child, str)))
    if isinstance(node, syntax.Node):
        if len(_NAMES) > 20_000:
            _NAMES.clear()
        _NAMES[id(node)] = node, found
    return found


def names_used(node: Any) -> set[str]:
    """Every name that a piece of the program mentions outside of types."""
    if isinstance(node, syntax.TypeExpr):
        return set()
    found = {node.id} if isinstance(node, syntax.Name) else set()
    return found.union(*(names_used(child) for child in children(node) if not isinstance(child, str)))


def bound(node: Any) -> Iterator[str]:
    """Every name that a piece of the program binds, labels not counted."""
    match node:
        case syntax.Pattern():
            if node.name is not None:
                yield node.name
        case syntax.Repeat():
            if node.variable is not None:
                yield node.variable
        case syntax.Declare():
            yield node.name
    for child in children(node):
        if not isinstance(child, str):
            yield from bound(child)


def check(tree: syntax.File) -> None:
    """Raise `LanguageRefused` where a body binds what nothing in it uses."""
    for block in tree.statements:
        if not isinstance(block, syntax.Block):
            continue
        used = names(block.body) | names(block.result) | names(block.conditions)
        if isinstance(block.result, syntax.RecordTypeExpr):
            used |= {field.name for field in block.result.fields}
        for name in bound(block.body):
            if name not in used and name != "_":
                raise LanguageRefused("unused", name)
