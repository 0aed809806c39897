"""Sections of `.exp` text as tables, for tests of what comes after evaluation: no arithmetic, few names."""

from typing import Any

from expc.diagnostics import Report, Source
from expc.spec import syntax, values
from expc.spec.parser import parse

DTYPES = ("f16", "bf16", "f32", "f64")


def tables(text: str, name: str = "net.exp") -> dict[str, values.Table]:
    """The sections of a whole file."""
    report = Report()
    file = parse(Source(name, text), report)
    assert not report.problems
    return tables_of(file)


def tables_of(file: syntax.File) -> dict[str, values.Table]:
    """The sections of a tree."""
    lets = {item.name: value(item.value) for item in file.statements if isinstance(item, syntax.Let)}
    return {item.name: table(item, lets) for item in file.statements if isinstance(item, syntax.Section)}


def table(section: syntax.Section, lets: dict[str, Any]) -> values.Table:
    """One section; a value that is the name of a `let` is that of the `let`."""
    settings: list[Any] = []
    for line in section.statements:
        match line:
            case syntax.Bind():
                assert line.target.name is not None
                named = line.value.id if isinstance(line.value, syntax.Name) else ""
                found = lets[named] if named in lets else value(line.value)
                settings.append(values.Setting(line.target.name, found, line.value.span, line.target.span))
            case syntax.Section():
                settings.append(table(line, lets))
            case _:
                raise AssertionError(line)
    selector = None if section.selector is None else value(section.selector)
    return values.Table(section.name, tuple(settings), section.span, selector)


def value(node: syntax.Expr) -> Any:
    """The value of an expression; a name called `broken` was reported already."""
    match node:
        case syntax.Constant():
            return node.value
        case syntax.Name("broken"):
            return values.UNEVALUATED
        case syntax.Name():
            if node.id in DTYPES:
                return values.Dtype(node.id)
            return values.Recipe(node.id) if node.id[0].isupper() else values.Word(node.id)
        case syntax.Quantity():
            return values.Quantity(node.number, node.unit)
        case syntax.ListExpr():
            return tuple(map(value, node.items))
        case syntax.Attribute():
            assert isinstance(node.value, syntax.Name)
            return values.Watched(f"{node.value.id}.{node.name}")
        case syntax.Call():
            assert isinstance(node.function, syntax.Name)
            given = tuple(values.Given(item.name, value(item.value), item.span) for item in node.arguments)
            return values.Recipe(node.function.id, given)
        case syntax.Chain():
            return values.Pipeline(tuple(map(value, node.stages)))
        case syntax.Lasting():
            return values.Lasting(value(node.stage), value(node.duration))
        case syntax.Unary("-", operand):
            return -value(operand)
        case syntax.Binary():
            return values.Closure(node, None)
    raise AssertionError(node)
