"""Every value of an experiment and who set it, as YAML: what a run directory keeps as `resolved.yaml`.

Comes in: an experiment, or the text of such a file. Goes out: the text, or what it says. Always true: what is written
can be read again, value by value, as text of the language; the file is data alone, and whatever else stands in it is
refused at its line.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from expc.diagnostics import ProblemError, Source, Span
from expc.frozen import dataclass
from expc.spec.errors.resolved import ResolvedUnusable
from expc.spec.experiment import Experiment
from expc.spec.fields import choices
from expc.spec.sections import SECTIONS, keys
from expc.spec.suggest import advice, nearest
from expc.spec.values import Setting, Table, show

_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = ("null", "bool", "int", "float", "str")
_DEEPEST: Final = 20
_ORIGIN: Final = ("name", "file", "home", "data_root", "precision", "set")


@dataclass(frozen=True)
class Origin:
    """What an experiment was made from: what it takes, besides the values, to make it once more."""

    file: str
    """The copy of the `.exp` file, as a path from the folder of `resolved.yaml`."""
    home: str
    """Where the file itself was: relative paths of weights start beside it."""
    data: str
    """Where relative paths of data start."""
    precision: str
    """What `precision = auto` was, which another measurement could find to be something else."""
    overrides: tuple[str, ...] = ()
    """What was given with `--set`, in this order."""


@dataclass(frozen=True)
class Entry:
    """One value in the file: as text of the language, or none for a table of several; and where it stands."""

    text: str | None
    span: Span


@dataclass(frozen=True)
class Resolved:
    """What a `resolved.yaml` says."""

    name: Entry
    origin: Origin
    values: Mapping[str, Entry]
    """By name: `let.width`, `train.epochs`, `train.loss.kl`."""


class _Entry(dict[str, Any]):
    """A value and its origin, on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes entries in braces, and everything else line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_Dumper.add_representer(
    _Entry, lambda dumper, entry: dumper.represent_mapping("tag:yaml.org,2002:map", entry.items(), flow_style=True)
)


def resolved_yaml(experiment: Experiment, lets: Iterable[Setting] = (), origin: Origin | None = None) -> str:
    """The settings of `experiment`, the values of its `let`s, and its `origin` if it is to be run again.

    Numbers, truth values and words are YAML's own; everything else stands as the language writes it.
    """
    document: dict[str, Any] = {"name": experiment.name}
    if origin is not None:
        document |= {"file": origin.file, "home": origin.home, "data_root": origin.data}
        document |= {"precision": origin.precision, "set": list(origin.overrides)}
    constants = {item.key: _entry(_plain(item.value), item.origin) for item in lets}
    if constants:
        document["let"] = constants
    for name, model in SECTIONS.items():
        section = getattr(experiment, name)
        if section is not None:
            document[name] = {
                key: _resolved(
                    getattr(section, field),
                    experiment.origins.get(f"{name}.{key}", "default"),
                    is_word=bool(choices(model.model_fields[field])),
                )
                for key, field in keys(model).items()
            }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _resolved(value: Any, origin: str, *, is_word: bool) -> Any:
    if isinstance(value, Table):
        return _table(value, origin)
    if isinstance(value, tuple) and any(isinstance(item, Table) for item in value):
        return [{_heading(item): _table(item, origin)} for item in value]
    return _entry(value if is_word else _plain(value), origin)


def _table(table: Table, origin: str) -> Mapping[str, Any]:
    return {
        _heading(item) if isinstance(item, Table) else item.key: _table(item, origin)
        if isinstance(item, Table)
        else _entry(_plain(item.value), item.origin or origin)
        for item in table.settings
    }


def _heading(table: Table) -> str:
    return table.name if table.selector is None else f"{table.name} {show(table.selector)}"


def _entry(value: Any, origin: str) -> _Entry:
    return _Entry({"value": value, "from": origin})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return show(value)


# ------------------------------------------------------------------------------------------------------------ reading


def read_resolved(source: Source) -> Resolved:
    """What a `resolved.yaml` says. Raises `ProblemError` (E0850) where it is none, or was damaged."""
    return _Reader(source).read()


class _Reader:
    """One file, while it is read."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self) -> Resolved:
        """Everything that it says."""
        known = {name: node for name, node in self._mapping(self._tree(), "this").items() if self._is_known(name, node)}
        for name in _ORIGIN:
            if name not in known:
                raise self._refused(f"it does not say `{name}`: it was not written by this version of expc")
        overrides = known["set"]
        if not isinstance(overrides, yaml.SequenceNode):
            raise self._refused("`set` is a list of what was given with `--set`", overrides)
        origin = Origin(
            self._string(known["file"], "file"),
            self._string(known["home"], "home"),
            self._string(known["data_root"], "data_root"),
            self._string(known["precision"], "precision"),
            tuple(self._string(item, "set") for item in overrides.value),
        )
        values: dict[str, Entry] = {}
        for name in ("let", *SECTIONS):
            if name in known:
                for key, node in self._mapping(known[name], name).items():
                    values |= self._entries(f"{name}.{key}", node)
        return Resolved(Entry(self._string(known["name"], "name"), self._span(known["name"])), origin, values)

    def _is_known(self, name: str, node: yaml.Node) -> bool:
        names = (*_ORIGIN, "let", *SECTIONS)
        if name not in names:
            raise self._refused(f"there is no `{name}` in such a file{advice(nearest(name, names))}", node)
        return True

    def _tree(self) -> yaml.Node:
        text = self._source.text
        try:
            foreign = _foreign(text)
            tree = None if foreign is not None else yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._refused(f"it is not YAML: {error.problem or error.context}", mark) from None
        except yaml.reader.ReaderError as error:
            raise self._refused(f"it is not YAML: {error.reason}", error.position) from None
        except (yaml.YAMLError, ValueError) as error:
            raise self._refused(f"it is not YAML: {str(error).splitlines()[0]}") from None
        if foreign is not None:
            raise self._refused(*foreign)
        if tree is None:
            raise self._refused("it is empty")
        return tree

    def _mapping(self, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode) or node.tag != f"{_TAG}map":
            raise self._refused(f"{'it' if what == 'this' else f'`{what}`'} is no list of names with values", node)
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._string(key, "a name")
            if name in found:
                raise self._refused(f"`{name}` is there twice", key)
            found[name] = value
        return found

    def _string(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            raise self._refused(f"{what if what == 'a name' else f'`{what}`'} must be text", node)
        return str(node.value)

    def _entries(self, name: str, node: yaml.Node, *, inner: bool = False) -> dict[str, Entry]:
        """The values under a name: its own, or those of the table that stands there."""
        if isinstance(node, yaml.SequenceNode):
            found: dict[str, Entry] = {name: Entry(None, self._span(node))}
            for number, item in enumerate(node.value):
                for heading, part in self._mapping(item, name).items():
                    found |= self._entries(f"{name}.{number}.{heading}", part, inner=True)
            return found
        parts = self._mapping(node, name)
        if "value" in parts and parts.keys() <= {"value", "from"}:
            return {name: Entry(self._text(parts["value"], name), self._span(parts["value"]))}
        if not inner and not any(isinstance(part, yaml.MappingNode | yaml.SequenceNode) for part in parts.values()):
            form = "`{value: ..., from: ...}`, a value with commas in quotes"
            raise self._refused(f"`{name}` is written {form}", node)
        found = {name: Entry(None, self._span(node))}
        for key, part in parts.items():
            found |= self._entries(f"{name}.{key}", part, inner=True)
        return found

    def _text(self, node: yaml.Node, name: str) -> str:
        """A value as the language writes it."""
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return f"[{', '.join(self._text(item, name) for item in node.value)}]"
        kind = node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or kind not in _KINDS:
            raise self._refused(f"`{name}` must be a number, a truth value, text, or a list of them", node)
        if kind == "str":
            return str(node.value)
        loader = yaml.SafeLoader("")
        try:
            return show(loader.construct_object(node))
        except (ValueError, yaml.YAMLError):
            raise self._refused(f"`{name}` is no number", node) from None
        finally:
            loader.dispose()

    # -------------------------------------------------------------------------------------------------------- places

    def _span(self, node: yaml.Node) -> Span:
        return Span(self._source, node.start_mark.index, max(node.start_mark.index, node.end_mark.index))

    def _refused(self, reason: str, at: yaml.Node | yaml.Mark | int | None = 0) -> ProblemError:
        if isinstance(at, yaml.Node):
            span = first_line(self._span(at))
        else:
            start = min(at.index if isinstance(at, yaml.Mark) else at or 0, len(self._source.text))
            span = Span(self._source, start, start)
        return ProblemError(ResolvedUnusable(span=span, reason=reason))


def first_line(span: Span) -> Span:
    """As much of a place as is on its first line."""
    return Span(span.source, span.start, span.start + len(span.text.partition("\n")[0].rstrip("\r")))


def _foreign(text: str) -> tuple[str, int] | None:
    """What we never write, and what could take all memory or time in a few bytes: why it is refused, and its place."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        at = 0 if event.start_mark is None else event.start_mark.index
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            return "names of YAML's own (`&a`, `*a`) have no place in it", at
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return "it is nested too deep", at
    return None
