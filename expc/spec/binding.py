"""From evaluated settings to an `Experiment`.

Comes in: one table per section. Goes out: an experiment, always; a setting that does not fit was reported at its place,
once, and has its default. Always true: nobody else sees a `ValidationError`, and its prose never reaches a user.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from expc.diagnostics import Edit, Fix, Label, Report, Span
from expc.frozen import dataclass
from expc.spec.errors.names import (
    ContradictingKeys,
    DuplicateKey,
    MissingKey,
    OutOfRange,
    UndefinedInSetting,
    UnknownKey,
    UnknownSection,
    WrongChoice,
    WrongType,
    WrongUnit,
)
from expc.spec.experiment import Experiment
from expc.spec.fields import choices, note, words
from expc.spec.repairs import repairs
from expc.spec.sections import SECTIONS, Settings, keys
from expc.spec.suggest import advice, enumeration, nearest
from expc.spec.values import UNEVALUATED, Dtype, Quantity, Table, Word, origin, show

_REPEATED: Final = ("group", "init")
"""What may stand in a section any number of times."""

_OF_THE_OPTIMIZER: Final = ("lr", "weight_decay", "momentum", "betas")
_LONGEST: Final = 60
"""How many characters of a value a message shows."""


def bind(name: str, tables: Mapping[str, Table], report: Report, names: Collection[str] = ()) -> Experiment:
    """The experiment called `name` that `tables` describe, by the names of their sections.

    `names` are those of the file that a setting could mean, for suggestions.
    """
    origins: dict[str, str] = {}
    places: dict[str, Span] = {}
    sections: dict[str, Any] = {}
    stray = set(strays(tables))
    for section, table in tables.items():
        if section in SECTIONS:
            sections[section] = _Section(section, table, report, names).bind(origins, places, stray)
        else:
            near = nearest(section, SECTIONS)
            span = _name_span(table)
            report.add(
                UnknownSection(span=span, section=section, advice=advice(near), fixes=_rename(span, near, "safe"))
            )
    return Experiment(name=name, origins=origins, places=places, **sections)


@dataclass(frozen=True)
class _Written:
    """A setting as it was written."""

    value: Any
    span: Span
    key_span: Span
    origin: str


class _Section:
    """One section on its way to its model."""

    def __init__(self, name: str, table: Table, report: Report, names: Collection[str]) -> None:
        self.name = name
        self.table = table
        self.report = report
        self.names = names
        self.model = SECTIONS[name]
        self.fields = {key: self.model.model_fields[field] for key, field in keys(self.model).items()}

    def bind(self, origins: dict[str, str], places: dict[str, Span], strays: Collection[str]) -> Settings:
        """The section's settings; what was written wrongly is reported and has its default.

        `strays` are keys that were surely meant, and are reported elsewhere: they are not missing too.
        """
        written = self._written()
        values = {key: self._value(key, setting) for key, setting in written.items()}
        usable = {key: value for key, value in values.items() if value is not UNEVALUATED}
        if self.name == "train":
            self._check_train(written, strays)
            if usable.get("epochs") is not None and usable.get("steps") is not None:
                del usable["steps"]
        settings, wrong = self._validated(usable)
        for key, verdict in wrong.items():
            self._complain(key, written[key], verdict)
        for key in self.fields:
            bound = key in usable and key not in wrong
            origins[f"{self.name}.{key}"] = written[key].origin if bound else "default"
            if bound:
                places[f"{self.name}.{key}"] = written[key].span
        return settings

    def _written(self) -> dict[str, _Written]:
        """The settings by key; of those given twice, the first."""
        found: dict[str, _Written] = {}
        for item in self.table.settings:
            if isinstance(item, Table):
                key, setting = item.name, _Written(item, _name_span(item), _name_span(item), origin(item.span))
                if key in _REPEATED:
                    earlier = found.get(key)
                    if earlier is not None and isinstance(earlier.value, tuple):
                        setting = _Written((*earlier.value, item), earlier.span, earlier.key_span, earlier.origin)
                        found[key] = setting
                        continue
                    setting = _Written((item,), setting.span, setting.key_span, setting.origin)
            else:
                key = item.key
                setting = _Written(item.value, item.span, item.key_span, item.origin or origin(item.span))
            if key in found:
                first = Label(found[key].key_span, "set here first")
                self.report.add(DuplicateKey(span=setting.key_span, section=self.name, key=key, labels=(first,)))
            else:
                found[key] = setting
        return found

    def _value(self, key: str, setting: _Written) -> Any:
        """The value as its field takes it: words as strings, lists as tuples. `UNEVALUATED` takes it out."""
        value, field = setting.value, self.fields.get(key)
        if value is UNEVALUATED or field is None:
            return value
        if choices(field):
            if isinstance(value, str):
                self._complain(key, setting, "choice")
                return UNEVALUATED
            return _chosen(value)
        if isinstance(value, list | tuple):
            return tuple(item for item in value if item is not UNEVALUATED)
        return value

    def _validated(self, values: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
        """The settings without those that do not fit, and what is wrong with each of these."""
        try:
            return self.model.model_validate(values), {}
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            wrong = {str(detail["loc"][0]): _VERDICTS.get(detail["type"], "type") for detail in reversed(details)}
            return self.model.model_validate({key: value for key, value in values.items() if key not in wrong}), wrong

    def _fits(self, key: str, value: Any) -> bool:
        return not self._validated({key: value})[1]

    def _complain(self, key: str, setting: _Written, verdict: str) -> None:
        if verdict == "reported":
            return
        if verdict == "unknown":
            self._complain_about_key(key, setting)
            return
        field = self.fields[key]
        span, value = setting.span, setting.value
        fixes = repairs(key, value, span, choices(field), lambda guess: self._fits(key, guess))
        expected, found = words(field), _shown(value, span)
        if verdict == "choice":
            near = None if isinstance(value, str) else _first_text(fixes)
            self.report.add(
                WrongChoice(span=span, key=key, expected=expected, found=found, advice=advice(near), fixes=fixes)
            )
        elif (word := _word(value)) is not None and not fixes:
            self._complain_about_word(key, word, span, field)
        else:
            problem = {"range": OutOfRange, "unit": WrongUnit}.get(verdict, WrongType)
            self.report.add(problem(span=span, key=key, expected=expected, found=found, notes=note(field), fixes=fixes))

    def _complain_about_key(self, key: str, setting: _Written) -> None:
        homes = [f"`{name}`" for name, model in SECTIONS.items() if key in keys(model)]
        notes: tuple[str, ...] = ()
        near = None
        if homes:
            notes = (f"`{key}` is a setting of {enumeration(homes, 'or')}",)
        elif self.name == "train" and key in _OF_THE_OPTIMIZER:
            notes = (f"`{key}` is a setting of the optimizer: `optimizer = AdamW({key}=...)`",)
        else:
            near = nearest(key, self.fields)
            if near is None:
                notes = (f"the settings of `{self.name}` are {_listed(self.fields)}",)
        span = setting.key_span
        fixes = _rename(span, near)
        self.report.add(
            UnknownKey(span=span, section=self.name, key=key, advice=advice(near), notes=notes, fixes=fixes)
        )

    def _complain_about_word(self, key: str, word: str, span: Span, field: FieldInfo) -> None:
        near = nearest(word, (*self.names, "true", "false", "none"))
        fixes = _rename(span, near) if span.text == word else ()
        note = f"`{key}` must be {words(field)}"
        self.report.add(UndefinedInSetting(span=span, word=word, advice=advice(near), notes=(note,), fixes=fixes))

    # ------------------------------------------------------------------------------------------- what train needs

    def _check_train(self, written: Mapping[str, _Written], strays: Collection[str]) -> None:
        given = {key: setting for key, setting in written.items() if setting.value is not None}
        lengths = [given[key] for key in ("epochs", "steps") if key in given]
        if len(lengths) == 2:
            first, second = sorted(lengths, key=lambda setting: setting.key_span.start)
            self.report.add(
                ContradictingKeys(
                    span=second.key_span,
                    key="epochs",
                    other="steps",
                    reason="only one of them says how long the run takes",
                    labels=(Label(first.key_span, "the run's length is set here too"),),
                )
            )
        missing = [
            enumeration([f"`{key}`" for key in wanted], "or")
            for wanted in (("epochs", "steps"), ("loss",), ("optimizer",))
            if not any(key in strays or self._has(key, given) for key in wanted)
        ]
        if missing:
            needs = enumeration(missing, "and")
            self.report.add(MissingKey(span=_name_span(self.table), section=self.name, keys=needs))

    def _has(self, key: str, given: Mapping[str, _Written]) -> bool:
        """Whether `key` is given, or a group has one of its own."""
        groups = given["group"].value if "group" in given and isinstance(given["group"].value, tuple) else ()
        return key in given or any(key in _keys_of(group) for group in groups)


_VERDICTS: Final = {
    "extra_forbidden": "unknown",
    "literal_error": "choice",
    "greater_than_equal": "range",
    "range": "range",
    "unit": "unit",
    "reported": "reported",
}
"""Pydantic's types of errors, and those of `expc.spec.fields`, in the words of this module; all others are `type`."""


def strays(tables: Mapping[str, Table]) -> Iterator[str]:
    """Keys that stand in a section that has no such key, and the keys of the section that they look like."""
    for name, table in tables.items():
        known = keys(SECTIONS[name]) if name in SECTIONS else {}
        for key in _keys_of(table):
            if key not in known:
                yield key
                yield nearest(key, known) or key


def _keys_of(table: Table) -> Iterator[str]:
    return (item.name if isinstance(item, Table) else item.key for item in table.settings)


def _chosen(value: Any) -> Any:
    """A choice as the string that its model knows; `none` and `f32` are words like the others here."""
    if value is None:
        return "none"
    return value.name if isinstance(value, Word | Dtype) else value


def _name_span(table: Table) -> Span:
    """The name at the start of a section."""
    span = table.span
    return Span(span.source, span.start, span.start + len(table.name)) if span.text.startswith(table.name) else span


def _rename(span: Span, name: str | None, safety: Any = "safe") -> tuple[Fix, ...]:
    return () if name is None else (Fix(f"write `{name}`", (Edit(span, name),), safety),)


def _first_text(fixes: tuple[Fix, ...]) -> str | None:
    return fixes[0].edits[0].text if fixes else None


def _listed(items: Collection[str]) -> str:
    return ", ".join(f"`{item}`" for item in items)


def _word(value: Any) -> str | None:
    """The bare word that `value` is, or the first one in a list."""
    items = value if isinstance(value, list | tuple) else [value]
    return next((item.name for item in items if isinstance(item, Word)), None)


def _shown(value: Any, span: Span) -> str:
    """A value in words; where it has none of its own, as it is written."""
    match value:
        case str():
            text = f"the string {show(value)}"
        case list() | tuple():
            text = f"the list `{show(value)}`"
        case Quantity():
            text = f"the quantity `{value}`"
        case Table():
            text = f"a section `{value.name} {{ }}`"
        case None | bool():
            text = f"`{show(value)}`"
        case int() | float():
            text = show(value)
        case _:
            text = f"`{' '.join(span.text.split())}`"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...{'`' if text.endswith('`') else ''}"
