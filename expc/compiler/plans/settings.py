"""The settings sections of a file, evaluated: what binding turns into an `Experiment`."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from expc.compiler.errors.data import SplitParts
from expc.compiler.errors.names import BadExpression, DuplicateName, UnusedName
from expc.compiler.errors.stages import Misplaced
from expc.compiler.library.datasets import split_fractions
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.scope import MISSING, Context, Scope
from expc.compiler.names import names_in
from expc.compiler.ops.declare import Fault
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.spec import syntax
from expc.spec.experiment import ROLES
from expc.spec.fields import choices
from expc.spec.sections import SECTIONS, keys
from expc.spec.suggest import nearest
from expc.spec.values import (
    UNEVALUATED,
    Closure,
    Lasting,
    Part,
    Pipeline,
    Quantity,
    Recipe,
    Setting,
    Table,
    Word,
    origin,
)

_DEFERRED: Final = {"train": ("loss",), "group": ("loss",)}
"""Settings whose names are those of fields and outputs, which are known only when the model is."""

_DEFERRED_TABLES: Final = ("loss", "metrics")

_SELECTORS: Final = {"train": ("freeze", "recompute"), "distributed": ("shard",)} | dict.fromkeys(
    ("quantize", "prune"), ("targets",)
)
"""Settings that are lists of selectors, in which a class or a block is no recipe."""


class Settings:
    """Evaluates the sections of one file."""

    def __init__(self, evaluator: Evaluator, scope: Scope) -> None:
        self.evaluator, self.scope = evaluator, scope
        self.report = evaluator.report

    def tables(self, statements: Iterable[syntax.Statement]) -> dict[str, Table]:
        """Every section by its name; of two with one name the second is reported."""
        tables: dict[str, Table] = {}
        for statement in statements:
            if not isinstance(statement, syntax.Section):
                continue
            if statement.name in tables:
                first = Label(tables[statement.name].span, "the first is here")
                problem = DuplicateName(
                    span=statement.name_span, word=statement.name, reason="stands twice", labels=(first,)
                )
                self.report.add(problem)
                continue
            if statement.selector is not None:
                self.report.add(Misplaced(span=statement.selector.span, what=f"`{statement.name}` takes no selector"))
            tables[statement.name] = self._table(statement)
        return tables

    def _table(self, section: syntax.Section) -> Table:
        context = Context(Scope(self.scope))
        settings: list[Setting | Table] = []
        if section.name in SECTIONS:
            self._lines(section.name, section.statements, context, settings)
        if section.name == "data":
            settings = self._roles(settings, section)
        return Table(section.name, tuple(settings), section.span)

    def _lines(
        self,
        section: str,
        statements: Iterable[syntax.Statement],
        context: Context,
        settings: list[Setting | Table],
    ) -> None:
        for statement in statements:
            try:
                self._line(section, statement, context, settings)
            except ProblemError as error:
                self.report.add(error.problem)

    def _line(
        self, section: str, statement: syntax.Statement, context: Context, settings: list[Setting | Table]
    ) -> None:
        match statement:
            case syntax.Bind() if section in _DEFERRED_TABLES and statement.target.name is not None:
                value = (
                    UNEVALUATED if isinstance(statement.value, syntax.Missing) else Closure(statement.value, context)
                )
                settings.append(Setting(statement.target.name, value, statement.value.span, statement.target.span))
            case syntax.Bind() if section not in _DEFERRED_TABLES:
                self._bind(section, statement, context, settings)
            case syntax.If():
                chosen = self.evaluator.condition(statement.condition, context)
                body = statement.then if chosen else statement.orelse
                if chosen is not None and body is not None:
                    self._lines(section, body.statements, context.inner(), settings)
            case syntax.For():
                self._loop(section, statement, context, settings)
            case syntax.Flow(value=syntax.Missing()):
                return
            case _ if section in _DEFERRED_TABLES:
                raise ProblemError(Misplaced(span=statement.span, what=f"each line of `{section}` is `name = ...`"))
            case syntax.Section() if _is_unknown(section, statement.name):
                settings.append(Table(statement.name, (), statement.span))
            case syntax.Section():
                settings.append(self._inner(statement, context))
            case syntax.Init():
                selector = self._selector(statement.selector, context)
                value = self._evaluate(statement.value, context)
                setting = Setting("init", value, statement.value.span, statement.selector.span)
                settings.append(Table("init", (setting,), statement.span, selector))
            case _:
                raise ProblemError(Misplaced(span=statement.span, what="only settings can stand in a section"))

    def _bind(self, section: str, statement: syntax.Bind, context: Context, settings: list[Setting | Table]) -> None:
        key = statement.target.name
        if key in _DEFERRED_TABLES and isinstance(statement.value, syntax.Body):
            self.report.add(_table_with_sign(statement))
            value: Any = UNEVALUATED
        elif key is not None and (key in _DEFERRED.get(section, ()) or _is_unknown(section, key)):
            value = UNEVALUATED if isinstance(statement.value, syntax.Missing) else Closure(statement.value, context)
        elif key in _SELECTORS.get(section, ()):
            value = self._selectors(statement.value, context)
        elif isinstance(statement.value, syntax.Name) and statement.value.id in _choices(section, key):
            value = Word(statement.value.id)  # whatever else has that name, such as an earlier setting: `workers`
        else:
            value = self._evaluate(statement.value, context)
        if key is None:
            try:
                value = _parts(value, len(statement.target.items))
            except ProblemError as error:
                self.report.add(error.problem)
                value = UNEVALUATED

        def bind(pattern: syntax.Pattern, part: Any) -> None:
            name = str(pattern.name)
            if name == "_":
                return
            place = origin(statement.value.span)
            settings.append(Setting(name, part, statement.value.span, pattern.span, place))
            if section == "data":
                first = context.scope.places.get(name)
                if first is not None and name not in keys(SECTIONS[section]):
                    labels = (Label(first, "the first is here"),)
                    raise ProblemError(DuplicateName(span=pattern.span, word=name, labels=labels))
                context.scope.bind(name, part, pattern.span)

        self.evaluator.unpack(statement.target, value, bind)

    def _evaluate(self, node: syntax.Expr, context: Context) -> Any:
        """A setting's value. A bare word that names nothing is one of the setting's choices, or binding's to report."""
        try:
            if isinstance(node, syntax.Name) and not node.id[0].isupper():
                value = self.evaluator.meaning(node, context)
                return Word(node.id) if value is MISSING else value
            return self.evaluator.evaluate(node, context)
        except ProblemError as error:
            self.report.add(error.problem)
            return UNEVALUATED

    def _inner(self, section: syntax.Section, context: Context) -> Table:
        """A section inside a section."""
        selector = None if section.selector is None else self._selector(section.selector, context)
        settings: list[Setting | Table] = []
        if section.name in _DEFERRED_TABLES:
            self._lines(section.name, section.statements, context, settings)
        else:
            self._lines(section.name, section.statements, context.inner(), settings)
        return Table(section.name, tuple(settings), section.span, selector)

    def _selector(self, node: syntax.Expr, context: Context) -> Any:
        """The selector of a `group` or an `init`: a glob as a string, or a class as a `Word`."""
        if isinstance(node, syntax.Constant | syntax.Template):
            return self.evaluator.evaluate(node, context)
        return Word(node.span.text.replace(" ", ""))

    def _selectors(self, node: syntax.Expr, context: Context) -> Any:
        """A list of selectors, which may say how long they count; anything else as it is, for binding to refuse."""
        if isinstance(node, syntax.Lasting):
            whole = self._evaluate(node, context) if not isinstance(node.stage, syntax.ListExpr) else None
            if whole is not None:
                return whole
            duration = self._evaluate(node.duration, context)
            fits = isinstance(duration, Quantity | int) and not isinstance(duration, bool)
            return Lasting(self._selectors(node.stage, context), duration, node.duration.span) if fits else UNEVALUATED
        if not isinstance(node, syntax.ListExpr):
            return self._evaluate(node, context)
        items = []
        for item in node.items:
            head = item.value if isinstance(item, syntax.Attribute) else item
            named = isinstance(head, syntax.Name) and head.id[:1].isupper()
            items.append(self._selector(item, context) if named else self._evaluate(item, context))
        return tuple(items)

    def _loop(self, section: str, statement: syntax.For, context: Context, settings: list[Setting | Table]) -> None:
        items = self.evaluator.evaluate(statement.iterable, context)
        if items is UNEVALUATED:
            return
        if not isinstance(items, tuple):
            raise ProblemError(BadExpression(span=statement.iterable.span, reason="`for` goes over a list"))
        for item in items:
            here = context.inner()

            def bind(pattern: syntax.Pattern, part: Any, here: Context = here) -> None:
                here.scope.bind(str(pattern.name), part, pattern.span)

            self.evaluator.unpack(statement.target, item, bind)
            self._lines(section, statement.body.statements, here, settings)

    def _roles(self, settings: list[Setting | Table], section: syntax.Section) -> list[Setting | Table]:
        """The settings of `data` without its local data sets; one that nothing uses is reported."""
        known = keys(SECTIONS["data"])
        used = set(names_in(section.statements))
        kept: list[Setting | Table] = []
        for item in settings:
            if not isinstance(item, Setting) or item.key in known:
                kept.append(item)
            elif isinstance(item.value, Recipe | Pipeline) or item.key in used or item.value is UNEVALUATED:
                if item.key not in used:
                    self.report.add(_unused(item))
            else:
                kept.append(item)
        return kept


def _is_unknown(section: str, key: str) -> bool:
    """Whether nothing can be meant by a key, so that its value is not looked at. In `data` it may be a local name."""
    return section in SECTIONS and section != "data" and key not in keys(SECTIONS[section])


def _choices(section: str, key: str | None) -> tuple[str, ...]:
    """The words that a setting chooses among, if it does."""
    model = SECTIONS.get(section)
    name = None if model is None else keys(model).get(str(key))
    return () if model is None or name is None else choices(model.model_fields[name])


def _table_with_sign(statement: syntax.Bind) -> Misplaced:
    name, key, body = statement.target.name, statement.target.span, statement.value.span
    sign = Span(key.source, key.end, body.start)
    what = f"a table of named terms is written `{name} {{ ... }}`, without `=`"
    return Misplaced(span=key.to(sign), what=what, fixes=(Fix("drop the `=`", (Edit(sign, " "),)),))


def _unused(item: Setting) -> UnusedName:
    near = nearest(item.key, ROLES) or {"valid": "val", "validation": "val", "dev": "val", "eval": "val"}.get(item.key)
    if near is None:
        notes = (f"a run uses the names {', '.join(ROLES)}",)
        return UnusedName(span=item.key_span, word=item.key, notes=notes)
    fix = Fix(f"write `{near}`", (Edit(item.key_span, near),))
    return UnusedName(span=item.key_span, word=item.key, notes=(f"did you mean `{near}`?",), fixes=(fix,))


def _parts(value: Any, count: int) -> Any:
    """The parts of a data set that is divided by a `split`, each with the transforms that follow it."""
    stages = value.stages if isinstance(value, Pipeline) else ()
    places = [i for i, stage in enumerate(stages) if isinstance(stage, Recipe) and stage.name == "split"]
    if not places:
        return value
    before, split, after = stages[: places[-1]], stages[places[-1]], stages[places[-1] + 1 :]
    fractions = [given.value for given in split.arguments if given.name is None]
    parts = count
    if all(isinstance(f, int | float) and not isinstance(f, bool) for f in fractions):
        with suppress(Fault):  # fractions that are none are reported where the data is checked
            parts = len(split_fractions(fractions))
    if parts != count:
        raise ProblemError(SplitParts(span=split.span or value.span, parts=parts, names=count))
    return tuple(Pipeline((*before, Part(split, index), *after), value.span) for index in range(parts))
