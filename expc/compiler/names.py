"""Names that a body binds and nothing uses. Found in the text, so that a branch that is not taken counts as a use."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from expc.compiler.errors.names import UnusedName
from expc.diagnostics import Report, Span
from expc.spec import syntax
from expc.spec.suggest import nearest


def check_unused(tree: syntax.File, report: Report) -> None:
    """Report every name that a body binds and that nothing in the body mentions."""
    for statement in tree.statements:
        if isinstance(statement, syntax.Block):
            _check(statement, statement.inside, report)


def _check(block: syntax.Block, body: Sequence[syntax.Node], report: Report) -> None:
    if any(isinstance(node, syntax.Missing) for node in body):
        return
    bound = list(_bound(body))
    if not bound:
        return
    used = {node.id for node in body if isinstance(node, syntax.Name)}
    if isinstance(block.result, syntax.RecordTypeExpr):
        used |= _results(block.result, {name for name, _ in bound})
    used |= set(names_in((block.result, block.conditions)))
    for name, span in bound:
        if name not in used and name != "_":
            report.add(UnusedName(span=span, word=name))


def _results(declared: syntax.RecordTypeExpr, bound: set[str]) -> set[str]:
    """The names that are results, or were surely meant to be."""
    names = {field.name for field in declared.fields}
    return names | {near for name in names - bound if (near := nearest(name, bound)) is not None}


def names_in(node: Any) -> Iterator[str]:
    """Every name that an expression, statement or body mentions."""
    return (part.id for part in syntax.walk(node) if type(part) is syntax.Name)


def labels_in(node: Any) -> Iterator[syntax.Constant]:
    """The labels in an expression or statement, as far as they are plain text."""
    for part in syntax.walk(node):
        if isinstance(part, syntax.Labelled) and isinstance(part.label, syntax.Constant):
            yield part.label


def _bound(parts: Iterable[syntax.Node]) -> Iterator[tuple[str, Span]]:
    """The names that nodes bind, each with its place."""
    for node in parts:
        match node:
            case syntax.Bind() | syntax.For():
                yield from _pattern(node.target)
            case syntax.Repeat() if node.variable is not None:
                yield node.variable, _round_name(node, node.variable)
            case syntax.Declare():
                yield node.name, node.name_span


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
    return any(isinstance(part, syntax.Missing) for part in syntax.walk(node))
