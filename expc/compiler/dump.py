"""What a stage of the compiler made, as text: `expc check --dump syntax|spec|graph`."""

from collections.abc import Iterator
from dataclasses import fields
from textwrap import indent
from typing import Any

from expc.compiler.cost.count import text as type_text
from expc.compiler.graph import Apply, Cast, Container, Invoke, Leaf, Read, Result, SliceOf, Subscript, Value
from expc.compiler.session import Checked
from expc.diagnostics import Report
from expc.spec.values import show


def dump(checked: Checked, stage: str) -> str:
    """The `stage` of a checked file as indented text. Raises LookupError where the file does not get that far."""
    if stage == "syntax":
        from expc.spec.parser import parse

        return "\n".join(_node(parse(checked.sources[0], Report())))
    if checked.program is None:
        raise LookupError(f"there is no {stage}: the file has errors")
    if stage == "spec":
        return "\n".join(_settings(checked.program.experiment))
    if checked.program.model is None:
        raise LookupError("there is no graph: the file declares no model")
    return "\n".join(container_lines(checked.program.model.name, checked.program.model.body))


def _node(node: Any, name: str = "") -> Iterator[str]:
    """A node of the syntax tree: what it is and its words on one line, the nodes in it below."""
    from expc.spec.syntax import Node

    words, below = [], []
    for field in fields(node):
        value = getattr(node, field.name)
        items = value if isinstance(value, tuple) else (value,)
        nodes = [item for item in items if isinstance(item, Node)]
        if nodes:
            below += [(field.name, item) for item in nodes]
        elif field.repr and value not in (None, ()):
            words.append(f"{field.name}={value!r}")
    line, column = node.span.source.position(node.span.start)
    yield " ".join([f"{name}:" if name else "", type(node).__name__, *words, f"@{line}:{column}"]).strip()
    for field_name, item in below:
        yield from (f"  {text}" for text in _node(item, field_name))


def _settings(experiment: Any) -> Iterator[str]:
    """Every setting with its value and who set it."""
    from expc.spec.sections import SECTIONS, keys

    for section, model in SECTIONS.items():
        settings = getattr(experiment, section)
        if settings is None:
            continue
        for key, field in keys(model).items():
            name = f"{section}.{key}"
            yield f"{name} = {show(getattr(settings, field))}  # {experiment.origins.get(name, 'default')}"


def container_lines(name: str, container: Container) -> Iterator[str]:
    """A container: what goes in, steps with the types of their results, inner containers, what comes out."""
    names = _Names()
    inputs = ", ".join(
        f"{names(value)}: {value.type}" if isinstance(value, Value) else str(value) for value in container.inputs
    )
    yield f"{name} = {container.title}({inputs}) {{"
    for kind, declared in (("param", container.params), ("buffer", container.buffers)):
        for key, what in declared.items():
            if isinstance(what.start, Container):
                yield indent("\n".join(container_lines(f"{kind} {key}: {what.type}", what.start)), "  ")
            else:
                yield f"  {kind} {key}: {what.type} = {show(what.start)}"
    for step in container.steps:
        yield f"  {names.result(step.result)} = {_step(step, container, names)}: {type_text(step.result)}"
    for key, child in container.children.items():
        if isinstance(child, Container):
            yield indent("\n".join(container_lines(key, child)), "  ")
    yield f"  return {names.result(container.result)}: {type_text(container.result)}"
    yield "}"


def _step(step: Any, container: Container, names: "_Names") -> str:
    match step:
        case Apply():
            child = container.children.get(step.module) if step.module is not None else None
            settings = child.settings if isinstance(child, Leaf) else {}
            label = f"{step.module}: " if step.module is not None else ""
            given = [f"{key}={show(value)}" for key, value in settings.items()]
            given += [f"{key}={names(value)}" for key, value in step.arguments.items()]
            return f"{label}{step.operator.name}({', '.join(given)})"
        case Invoke():
            return f"{step.module}({', '.join(map(names, step.arguments))})"
        case Read():
            return ".".join(step.path)
        case Subscript():
            return f"{names(step.value)}[{', '.join(map(names, step.items))}]"
        case Cast():
            return f"{names(step.value)} -> {step.dtype}"
    raise TypeError(type(step).__name__)


class _Names:
    """Short names for the values of one container: those of the text where they have one, else numbers."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def __call__(self, argument: Any) -> str:
        """An argument as text."""
        match argument:
            case Value():
                number = len(self._names)
                return self._names.setdefault(id(argument), argument.name or f"%{number}")
            case SliceOf():
                return f"{self(argument.start)}:{self(argument.stop)}:{self(argument.step)}"
            case tuple():
                return f"[{', '.join(map(self, argument))}]"
            case _ if argument is Ellipsis:
                return "..."
            case _:
                return show(argument)

    def result(self, result: Result) -> str:
        """What a step or a container gives, as text."""
        if result is None:
            return "_"
        if isinstance(result, Value):
            return self(result)
        items = result if isinstance(result, tuple) else tuple(result.fields.values())
        return f"({', '.join(map(self.result, items))})"
