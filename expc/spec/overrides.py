"""Options `--set NAME=VALUE` and `--set SECTION.KEY=VALUE`, and a file as they change it.

An option becomes part of the tree before anything is evaluated, so that its value is checked like one in the file. The
value keeps its place in the option's own text: an error about it names the option.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from expc.diagnostics import Report, Source, Span
from expc.frozen import dataclass
from expc.spec import syntax
from expc.spec.errors.names import BadOverride, UnknownSection
from expc.spec.parser import parse_value
from expc.spec.sections import SECTIONS, keys
from expc.spec.suggest import advice, nearest

_OPTION = re.compile(r"\s*(?P<path>[^=]*?)\s*=(?P<value>.*)", re.DOTALL)
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Override:
    """One option, read: the names on its left side, where they stand, and the value on its right."""

    path: tuple[str, ...]
    span: Span
    value: syntax.Expr


def parse_override(text: str, report: Report) -> Override | None:
    """The option `--set text`; none after a complaint."""
    name = f"--set {text}"
    whole = Source(name, text)
    found = _OPTION.fullmatch(text)
    if found is None or not found["path"] or not found["value"].strip():
        span = Span(whole, 0, len(text))
        report.add(BadOverride(span=span, reason=f"`{name}` sets nothing: write `--set NAME=VALUE`"))
        return None
    span = Span(whole, *found.span("path"))
    path = tuple(found["path"].split("."))
    if len(path) > 2 or not all(_NAME.fullmatch(part) for part in path):
        reason = f"`{found['path']}` cannot be set: the left side is the NAME of a `let`, or SECTION.KEY"
        report.add(BadOverride(span=span, reason=reason))
        return None
    value = parse_value(Source(name, found["value"].strip()), report)
    return None if isinstance(value, syntax.Missing) else Override(path, span, value)


def apply_overrides(file: syntax.File, overrides: Sequence[Override], report: Report) -> syntax.File:
    """The file with the values of `overrides` in place of its own; the last of several for one target counts."""
    for override in overrides:
        apply = _with_let if len(override.path) == 1 else _with_setting
        file = apply(file, override, report)
    return file


def _with_let(file: syntax.File, override: Override, report: Report) -> syntax.File:
    (name,) = override.path
    lets = [statement.name for statement in file.statements if isinstance(statement, syntax.Let)]
    if name not in lets:
        report.add(BadOverride(span=override.span, reason=_why_no_let(name), advice=_advice(name, lets)))
        return file
    return _changed(
        file,
        lambda statement: isinstance(statement, syntax.Let) and statement.name == name,
        lambda statement: replace(statement, value=override.value),
    )


def _why_no_let(name: str) -> str:
    if name in SECTIONS:
        return f"`{name}` is a section: write `--set {name}.KEY=VALUE`"
    return f"the file has no `let {name}`"


def _advice(name: str, lets: Sequence[str]) -> str:
    if name in SECTIONS:
        return ""
    homes = [f"{section}.{name}" for section, model in SECTIONS.items() if name in keys(model)]
    return advice(homes[0] if homes else nearest(name, lets))


def _with_setting(file: syntax.File, override: Override, report: Report) -> syntax.File:
    section, key = override.path
    if section not in SECTIONS:
        near = nearest(section, SECTIONS)
        report.add(UnknownSection(span=_part(override, 0), section=section, advice=advice(near)))
        return file
    pattern = syntax.Pattern(key, span=_part(override, 1))
    setting = syntax.Bind(pattern, override.value, span=override.span)
    present = any(_is_section(statement, section) for statement in file.statements)
    if not present:
        added = syntax.Section(section, None, (setting,), span=override.span, name_span=_part(override, 0))
        return replace(file, statements=(*file.statements, added))
    joined = _joined_names(file, section, key)
    if joined:
        reason = f"`{key}` is bound together with {joined}, so it cannot be set alone"
        report.add(BadOverride(span=override.span, reason=reason))
        return file
    return _changed(
        file, lambda statement: _is_section(statement, section), lambda statement: _with_key(statement, key, setting)
    )


def _part(override: Override, index: int) -> Span:
    """The place of one name of the option's left side."""
    start = override.span.start + sum(len(part) + 1 for part in override.path[:index])
    return Span(override.span.source, start, start + len(override.path[index]))


def _changed(
    file: syntax.File, chosen: Callable[[syntax.Statement], bool], change: Callable[[Any], syntax.Statement]
) -> syntax.File:
    return replace(file, statements=tuple(change(item) if chosen(item) else item for item in file.statements))


def _is_section(statement: syntax.Statement, name: str) -> bool:
    return isinstance(statement, syntax.Section) and statement.name == name


def _joined_names(file: syntax.File, section: str, key: str) -> str:
    """The names that `key` shares one binding with, as in `fit, held = ...`; empty where it stands alone."""
    for statement in file.statements:
        if isinstance(statement, syntax.Section) and statement.name == section:
            for line in statement.statements:
                names = [item.name for item in line.target.items] if isinstance(line, syntax.Bind) else []
                if key in names:
                    return " and ".join(f"`{name}`" for name in names if name != key)
    return ""


def _with_key(section: syntax.Section, key: str, setting: syntax.Bind) -> syntax.Section:
    """The section with the value of `setting` wherever it sets `key`, or with one more line."""
    if not any(_sets(line, key) for line in section.statements):
        return replace(section, statements=(*section.statements, setting))
    return replace(section, statements=tuple(_line(line, key, setting) for line in section.statements))


def _sets(line: syntax.Statement, key: str) -> bool:
    match line:
        case syntax.Bind():
            return line.target.name == key
        case syntax.Section():
            return line.name == key and line.selector is None
        case syntax.If():
            bodies = [line.then, *([line.orelse] if line.orelse else [])]
            return any(_sets(inner, key) for body in bodies for inner in body.statements)
        case syntax.For():
            return any(_sets(inner, key) for inner in line.body.statements)
    return False


def _line(line: syntax.Statement, key: str, setting: syntax.Bind) -> syntax.Statement:
    """A line of a section, changed where it sets `key`."""

    def body(inner: syntax.Body) -> syntax.Body:
        return replace(inner, statements=tuple(_line(statement, key, setting) for statement in inner.statements))

    match line:
        case syntax.Bind() if line.target.name == key:
            return replace(line, value=setting.value)
        case syntax.Section() if line.name == key and line.selector is None:
            return syntax.Bind(syntax.Pattern(key, span=line.name_span), setting.value, span=line.span)
        case syntax.If():
            return replace(line, then=body(line.then), orelse=body(line.orelse) if line.orelse else None)
        case syntax.For():
            return replace(line, body=body(line.body))
    return line
