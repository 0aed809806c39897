"""Bodies as data stages: `{ image, mask = (image, mask) -> RandomCrop(256) }`.

The fields are the body's names. After it, a sample has what the body binds, and the fields that it does not mention.
"""

from collections.abc import Iterable
from typing import Any, Final

from expc.compiler.errors.experiment import NotData
from expc.compiler.errors.names import BadExpression, DuplicateName, UnknownName, UnusedName, WrongDeclaredType
from expc.compiler.errors.stages import CannotUnpack, Misplaced
from expc.compiler.model import calls
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.scope import MISSING, Context
from expc.compiler.names import names_in
from expc.compiler.plans.data_stages import LostError, Sample, transform, used
from expc.compiler.plans.data_types import declare
from expc.compiler.program import Fields
from expc.diagnostics import Edit, Fix, ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Closure, Pipeline, Recipe


class Body:
    """One body, while its lines are gone through. `names` gives the value behind each name."""

    def __init__(self, evaluator: Evaluator, sample: Sample) -> None:
        self.evaluator, self.sample = evaluator, sample
        self.before = tuple(sample.types)
        self.names = {name: name for name in self.before}
        self.bound: dict[str, Span] = {}
        self.origins: dict[str, tuple[str, ...]] = {name: (name,) for name in self.before}
        """The fields that each name is made of."""
        self.mentioned: set[str] = set()
        self.constants: dict[str, Span] = {}
        """Where names of numbers, strings and lists are bound."""
        self.made = 0

    def run(self, body: syntax.Body, context: Context) -> None:
        """Go through the body, and leave the sample with the fields that it has afterwards. Raises `ProblemError`."""
        self._lines(body, context.inner())
        words = set(names_in(body.statements))
        for name, place in self.constants.items():
            if name not in words:
                raise ProblemError(UnusedName(span=place, word=name))
        order = self._order()
        if not order:
            raise ProblemError(NotData(span=body.span, what="this body", reason="it leaves no field"))
        kept = tuple((name, self.names[name]) for name in order)
        types = {name: self.sample.types[register] for name, register in kept}
        self.sample.types.clear()
        self.sample.types.update(types)
        self.sample.stages.append(Fields(kept))

    def _lines(self, body: syntax.Body, context: Context) -> None:
        for statement in body.statements:
            self._statement(statement, context)

    def _statement(self, statement: syntax.Statement, context: Context) -> None:
        if isinstance(statement, syntax.If):
            chosen = self.evaluator.condition(statement.condition, context)
            if chosen is None:
                raise LostError
            branch = statement.then if chosen else statement.orelse
            if branch is not None:
                self._lines(branch, context.inner())
        elif isinstance(statement, syntax.For):
            self._loop(statement, context)
        elif isinstance(statement, syntax.Bind) and self._is_constant(statement, context):
            return
        elif isinstance(statement, syntax.Bind):
            targets = statement.target.items or (statement.target,)
            if any(target.name is None for target in targets):
                raise ProblemError(Misplaced(span=statement.target.span, what="fields are not nested"))
            self._bind([(str(t.name), t.span) for t in targets], statement.value, context, statement.target.span)
        elif isinstance(statement, syntax.Flow):
            if isinstance(statement.value, syntax.Missing):
                raise LostError
            if self._is_field(_head(statement.value)):
                text = f"{_head(statement.value).span.text.strip('()')} = "
                start = Span(statement.span.source, statement.span.start, statement.span.start)
                reason = "nothing takes what it makes; give it the name of a field"
                fixes = (Fix(f"write `{text}...`", (Edit(start, text),)),)
                raise ProblemError(NotData(span=statement.span, what="this line", reason=reason, fixes=fixes))
            first = self.before[0]
            place = statement.span
            self.bound.pop(first, None)
            self._bind([(first, place)], statement.value, context, place)
        else:
            what = "only lines such as `image = image -> ToTensor`, in `if` and `for` too, can stand in a body of data"
            raise ProblemError(Misplaced(span=statement.span, what=what))

    def _loop(self, statement: syntax.For, context: Context) -> None:
        """The lines of a loop, once for each item."""
        items = self.evaluator.evaluate(statement.iterable, context)
        if items is UNEVALUATED:
            raise LostError
        if not isinstance(items, tuple):
            raise ProblemError(BadExpression(span=statement.iterable.span, reason="`for` goes over a list"))
        for item in items:
            here = context.inner()

            def bind(pattern: syntax.Pattern, part: Any, here: Context = here) -> None:
                here.scope.bind(str(pattern.name), part, pattern.span)

            self.evaluator.unpack(statement.target, item, bind)
            self._lines(statement.body, here)

    def _is_constant(self, statement: syntax.Bind, context: Context) -> bool:
        """Whether a line names a number, a string or a list, which it then does, and no field."""
        name, value = statement.target.name, statement.value
        if name is None or isinstance(value, _FIELDS) or any(word in self.names for word in names_in(value)):
            return False
        found = self.evaluator.evaluate(value, context)
        if not isinstance(found, bool | int | float | str | tuple):
            return False
        if name in self.names or name in context.scope.places:
            raise ProblemError(DuplicateName(span=statement.target.span, word=name))
        context.scope.bind(name, found, statement.target.span)
        self.constants[name] = statement.target.span
        return True

    def _bind(self, targets: list[tuple[str, Span]], value: syntax.Expr, context: Context, span: Span) -> None:
        read: set[str] = set()
        registers = self._value(value, context, read)
        if len(registers) != len(targets):
            expected = f"{len(targets)} name{'s' * (len(targets) != 1)}"
            found = f"{len(registers)} value{' is' if len(registers) == 1 else 's are'}"
            raise ProblemError(CannotUnpack(span=span, expected=expected, found=found))
        origins = tuple(origin for name in self.origins if name in read for origin in self.origins[name])
        self.mentioned |= set(origins)
        for (name, place), register in zip(targets, registers, strict=True):
            if name == "_":
                continue
            if name == "flow":
                raise ProblemError(Misplaced(span=place, what="`flow` is what flows, and no name of a field"))
            if name in self.bound:
                raise ProblemError(DuplicateName(span=place, word=name))
            self.bound[name] = place
            self.names[name] = register
            self.origins.setdefault(name, origins)

    def _order(self) -> list[str]:
        """The fields in order. A new one stands where the first field that it is made of and that is gone stood."""
        gone = [name for name in self.before if name in self.mentioned and name not in self.bound]
        new = [name for name in self.bound if name not in self.before]
        homes = {name: next((field for field in gone if field in self.origins[name]), None) for name in new}
        order: list[str] = []
        for field in self.before:
            order += [name for name in new if homes[name] == field] if field in gone else [field]
        return order + [name for name in new if homes[name] is None]

    # ------------------------------------------------------------------------------------------------ values

    def _value(self, node: syntax.Expr, context: Context, read: set[str]) -> tuple[str, ...]:
        """The values that an expression stands for. Every field and name that it reads is added to `read`."""
        match node:
            case syntax.Missing():
                raise LostError
            case syntax.Name() if node.id == "flow" or node.id in self.names:
                name = self.before[0] if node.id == "flow" else node.id
                read.add(name)
                return (self.names[name],)
            case syntax.Paren():
                return self._value(node.inner, context, read)
            case syntax.TupleExpr():
                return tuple(value for item in node.items for value in self._value(item, context, read))
            case syntax.Chain():
                head, *stages = node.stages
                if self._is_field(head):
                    values = self._value(head, context, read)
                else:
                    values = self._value(syntax.Name("flow", span=head.span), context, read)
                    stages = list(node.stages)
                for stage in stages:
                    values = self._through(stage, values, context)
                return values
            case _:
                values = self._value(syntax.Name("flow", span=node.span), context, read)
                return self._through(node, values, context)

    def _is_field(self, node: syntax.Expr) -> bool:
        """Whether an expression is made of fields, and is no stage. Raises `ProblemError` for an unknown name."""
        match node:
            case syntax.Paren():
                return self._is_field(node.inner)
            case syntax.TupleExpr():
                return True
            case syntax.Chain():
                return self._is_field(node.stages[0])
            case syntax.Name():
                return node.id == "flow" or node.id in self.names
        return False

    def _through(self, node: syntax.Expr, values: tuple[str, ...], context: Context) -> tuple[str, ...]:
        """The values after one stage."""
        if isinstance(node, syntax.Name):
            if node.id in self.names:
                reason = "it is a field, and a transform stands after an arrow"
                raise ProblemError(NotData(span=node.span, what=f"`{node.id}`", reason=reason))
            self._refuse_unknown(node, context)
        elif (field := next((name for name in names_in(node) if name in self.names), None)) is not None:
            reason = f"`{field}` goes through transforms here; what is computed with it belongs in the model"
            raise ProblemError(NotData(span=node.span, what=f"`{node.span.text}`", reason=reason))
        stage = calls.after_arrow(self.evaluator, node, context)
        for part in stage.stages if isinstance(stage, Pipeline) else (stage,):
            values = self._one(part, values, node.span)
        return values

    def _one(self, stage: Any, values: tuple[str, ...], span: Span) -> tuple[str, ...]:
        if stage is UNEVALUATED or (isinstance(stage, Recipe) and any(g.value is UNEVALUATED for g in stage.arguments)):
            raise LostError
        if isinstance(stage, Closure) and isinstance(stage.expression, syntax.As):
            if isinstance(stage.expression.type, syntax.RecordTypeExpr):
                reason = "in a body `as` is about one value; names stand after a data set"
                raise ProblemError(WrongDeclaredType(span=stage.expression.type.span, reason=reason))
            declare(self.evaluator, stage.expression, stage.scope, self.sample, values)
            return values
        if isinstance(stage, Closure):
            reason = "here transforms stand one after the other; braces stand after a data set"
            raise ProblemError(NotData(span=stage.expression.span, what="a body", reason=reason))
        made = tuple(self._register(value) for value in values)
        transform(used(self.evaluator, stage, span), self.sample, values, made)
        return made

    def _register(self, value: str) -> str:
        self.made += 1
        return f"{value.partition(chr(39))[0]}'{self.made}"

    def _refuse_unknown(self, node: syntax.Name, context: Context) -> None:
        if self.evaluator.meaning(node, context) is not MISSING:
            return
        near = nearest(node.id, self.names)
        if near is None:
            hint = f": the fields here are {_enumerated(self.names)}"
            raise ProblemError(UnknownName(span=node.span, word=node.id, hint=hint))
        fix = Fix(f"write `{near}`", (Edit(node.span, near),))
        raise ProblemError(UnknownName(span=node.span, word=node.id, hint=f"; did you mean `{near}`?", fixes=(fix,)))


_FIELDS: Final = (syntax.Missing, syntax.Chain, syntax.TupleExpr, syntax.Name)
"""What fields and transforms are written as, and constants are not."""


def _head(node: syntax.Expr) -> syntax.Expr:
    return node.stages[0] if isinstance(node, syntax.Chain) else node


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
