"""Names that a body binds and nothing uses. Found in the text, so that a branch that is not taken counts as a use."""

from collections.abc import Iterator
from typing import Any

from expc.compiler.errors.names import UnusedName
from expc.diagnostics import Report, Span
from expc.spec import syntax
from expc.spec.suggest import nearest

_NOT_CHILDREN = ("span", "name_span", "operator_span")


def check_unused(tree: syntax.File, report: Report) -> None:
    """Report every name that a body binds and that nothing in the body mentions."""
    for statement in tree.statements:
        if isinstance(statement, syntax.Block) and not is_broken(statement.body):
            _check(statement, report)


def _check(block: syntax.Block, report: Report) -> None:
    used = set(names_in(block.body))
    if isinstance(block.result, syntax.RecordTypeExpr):
        used |= _results(block.result, {name for name, _ in _bound(block.body)})
    if block.result is not None:
        used |= set(names_in(block.result))
    for condition in block.conditions:
        used |= set(names_in(condition))
    for name, span in _bound(block.body):
        if name not in used and name != "_":
            report.add(UnusedName(span=span, word=name))


def _results(declared: syntax.RecordTypeExpr, bound: set[str]) -> set[str]:
    """The names that are results, or were surely meant to be."""
    names = {field.name for field in declared.fields}
    return names | {near for name in names - bound if (near := nearest(name, bound)) is not None}


def names_in(node: Any) -> Iterator[str]:
    """Every name that an expression, statement or body mentions."""
    if isinstance(node, syntax.Name):
        yield node.id
    elif isinstance(node, tuple):
        for part in node:
            yield from names_in(part)
    elif isinstance(node, syntax.Node):
        for name in node.__dataclass_fields__:
            if name not in _NOT_CHILDREN:
                yield from names_in(getattr(node, name))


def labels_in(node: Any) -> Iterator[syntax.Constant]:
    """The labels in an expression or statement, as far as they are plain text."""
    if isinstance(node, syntax.Labelled) and isinstance(node.label, syntax.Constant):
        yield node.label
    if isinstance(node, tuple):
        for part in node:
            yield from labels_in(part)
    elif isinstance(node, syntax.Node):
        for name in node.__dataclass_fields__:
            if name not in _NOT_CHILDREN:
                yield from labels_in(getattr(node, name))


def _bound(node: Any) -> Iterator[tuple[str, Span]]:
    if isinstance(node, syntax.Bind | syntax.For):
        yield from _pattern(node.target)
    if isinstance(node, syntax.Repeat) and node.variable is not None:
        yield node.variable, _round_name(node, node.variable)
    if isinstance(node, syntax.Declare):
        yield node.name, node.name_span
    if isinstance(node, tuple):
        for part in node:
            yield from _bound(part)
    elif isinstance(node, syntax.Node):
        for name in node.__dataclass_fields__:
            if name not in _NOT_CHILDREN:
                yield from _bound(getattr(node, name))


def _round_name(node: syntax.Repeat, name: str) -> Span:
    """Where `repeat n as i` names its rounds."""
    source, end = node.span.source, node.body.span.start
    start = source.text.rindex(name, node.count.span.end, end)
    return Span(source, start, start + len(name))


def _pattern(pattern: syntax.Pattern) -> Iterator[tuple[str, Span]]:
    if pattern.name is not None:
        yield pattern.name, pattern.span
    for item in pattern.items:
        yield from _pattern(item)


def is_broken(node: Any) -> bool:
    """Whether text was cut out of it: what stood there may have used anything."""
    if isinstance(node, syntax.Missing):
        return True
    if isinstance(node, tuple):
        return any(map(is_broken, node))
    if isinstance(node, syntax.Node):
        return any(is_broken(getattr(node, name)) for name in node.__dataclass_fields__ if name not in _NOT_CHILDREN)
    return False
