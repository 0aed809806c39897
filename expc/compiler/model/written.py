"""The settings of a file as they stand there: where each is, and whether it was written, right or wrong."""

from collections.abc import Iterable, Mapping

from expc.diagnostics import Report, Span
from expc.spec.experiment import ROLES, Experiment
from expc.spec.values import Setting, Table


class Written:
    """The sections of one file, next to the `Experiment` that they were bound to."""

    def __init__(self, tables: Mapping[str, Table], bound: Experiment, report: Report) -> None:
        self._tables, self._bound, self._report = tables, bound, report

    def settings(self, section: str) -> list[Setting]:
        """The settings of a section, without its tables."""
        table = self._tables.get(section)
        return [] if table is None else [item for item in table.settings if isinstance(item, Setting)]

    def span(self, section: str, key: str | None = None) -> Span:
        """Where a section's name, or one of its settings, stands."""
        table = self._tables[section]
        for item in table.settings:
            if isinstance(item, Setting) and item.key == key:
                return item.span
            if isinstance(item, Table) and item.name == key:
                return Span(item.span.source, item.span.start, item.span.start + len(item.name))
        return Span(table.span.source, table.span.start, table.span.start + len(table.name))

    def is_lost(self, section: str, key: str) -> bool:
        """Whether a setting was written, or surely meant, and its value is not known after an error."""
        from expc.spec.binding import strays

        if key in strays(self._tables):
            return True
        return self._stands(section, key) and self._bound.origins[f"{section}.{key}"] == "default"

    def has(self, section: str, key: str) -> bool:
        """Whether a section has a setting, or one that was surely meant, right or wrong."""
        return self.is_lost(section, key) or self._stands(section, key)

    def _stands(self, section: str, key: str) -> bool:
        items = self._tables[section].settings
        return any((item.name if isinstance(item, Table) else item.key) == key for item in items)

    def roles(self, plans: Iterable[str]) -> set[str]:
        """The roles that the run has, or may have: after an error in `data`, that is any of them."""
        table = self._tables.get("data")
        if table is None:
            return set(plans)
        inside = (p for p in self._report.problems if p.severity == "error" and table.span.covers(p.span))
        there = (item.key for item in self.settings("data") if item.value is not None)
        return set(ROLES) if any(inside) else {*plans, *there}
