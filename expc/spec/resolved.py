"""Every value of an experiment and who set it, as YAML: what a run directory keeps as `resolved.yaml`."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from expc.spec.experiment import Experiment
from expc.spec.sections import SECTIONS, keys
from expc.spec.values import Setting, Table, show


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


def resolved_yaml(experiment: Experiment, lets: Iterable[Setting] = ()) -> str:
    """The settings of `experiment`, and the values of its `let`s with their origins.

    Numbers, truth values and strings are YAML's own; recipes stand as the text that makes them.
    """
    document: dict[str, Any] = {"name": experiment.name}
    constants = {item.key: _entry(item.value, item.origin) for item in lets}
    if constants:
        document["let"] = constants
    for name, model in SECTIONS.items():
        section = getattr(experiment, name)
        if section is not None:
            document[name] = {
                key: _resolved(getattr(section, field), experiment.origins.get(f"{name}.{key}", "default"))
                for key, field in keys(model).items()
            }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _resolved(value: Any, origin: str) -> Any:
    if isinstance(value, Table):
        return _table(value, origin)
    if isinstance(value, tuple) and any(isinstance(item, Table) for item in value):
        return [{_heading(item): _table(item, origin)} for item in value]
    return _entry(value, origin)


def _table(table: Table, origin: str) -> Mapping[str, Any]:
    return {
        _heading(item) if isinstance(item, Table) else item.key: _table(item, origin)
        if isinstance(item, Table)
        else _entry(item.value, item.origin or origin)
        for item in table.settings
    }


def _heading(table: Table) -> str:
    return table.name if table.selector is None else f"{table.name} {show(table.selector)}"


def _entry(value: Any, origin: str) -> _Entry:
    return _Entry({"value": _plain(value), "from": origin})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return show(value)
