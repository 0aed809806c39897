"""From the parts of a rule to a syntax node: one method per rule of the grammar, by its name or alias."""

from collections.abc import Callable
from math import inf
from typing import Any

from expc.diagnostics import Edit, Fix, Problem, Source, Span
from expc.spec import syntax
from expc.spec.errors.characters import BadNumber
from expc.spec.errors.syntax import BadTarget, ChainedComparison, OpenChoice, UnknownExtern
from expc.spec.lexing import Token
from expc.spec.strings import Text, read_text
from expc.spec.suggest import nearest
from expc.spec.units import unit

EXTERNS = ("layer", "transform", "loss", "metric", "optimizer", "schedule", "dataset")
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})

Parts = list[Any]


class Builder:
    """Makes nodes of `source`; what it finds wrong goes to `complain`, and the node is made all the same.

    `parse_part(start, end)` reads the expression that stands at a place in a text.
    """

    def __init__(
        self,
        source: Source,
        complain: Callable[[Problem], None],
        parse_part: Callable[[int, int], syntax.Expr],
    ) -> None:
        self._source = source
        self._complain = complain
        self._parse_part = parse_part
        self._makers: dict[str, Callable[[Parts, Span], Any]] = {}

    def build(self, rule: str, parts: Parts, start: int, end: int) -> Any:
        """What the rule makes of its parts, which stand at `start` to `end`."""
        make = self._makers.get(rule)
        if make is None:
            make = self._makers[rule] = getattr(self, f"_on_{rule}")
        return make(parts, Span(self._source, start, end))

    def _at(self, token: Token) -> Span:
        return Span(self._source, token.start, token.end)

    # ------------------------------------------------------------------------------------------------ top level

    def _on_file(self, parts: Parts, _: Span) -> syntax.File:
        return syntax.File(_present(parts), span=Span(self._source, 0, len(self._source.text)))

    def _on_broken(self, parts: Parts, _: Span) -> Any:
        return parts[0]

    def _on_let(self, parts: Parts, span: Span) -> syntax.Let:
        name, value = parts
        return syntax.Let(name.text, value, span=span, name_span=self._at(name))

    def _on_fn(self, parts: Parts, span: Span) -> syntax.Fn:
        name, parameters, value = parts
        return syntax.Fn(name.text, parameters, value, span=span, name_span=self._at(name))

    def _on_block(self, parts: Parts, span: Span) -> syntax.Block:
        name, parameters, result, conditions, body = parts
        return syntax.Block(
            "block", name.text, parameters or (), result, conditions or (), body, span=span, name_span=self._at(name)
        )

    def _on_model(self, parts: Parts, span: Span) -> syntax.Block:
        name, parameters, result, conditions, body = parts
        return syntax.Block(
            "model", name.text, parameters or (), result, conditions or (), body, span=span, name_span=self._at(name)
        )

    def _on_broken_block(self, parts: Parts, span: Span) -> syntax.Let:
        name, missing, _ = parts
        return syntax.Let(name.text, missing, span=span, name_span=self._at(name))

    def _on_broken_model(self, parts: Parts, span: Span) -> syntax.ModelOf:
        name, missing, _ = parts
        return syntax.ModelOf(name.text, missing, span=span, name_span=self._at(name))

    def _on_conditions(self, parts: Parts, _: Span) -> tuple[syntax.Expr, ...]:
        return tuple(parts)

    def _on_model_of(self, parts: Parts, span: Span) -> syntax.ModelOf:
        name, value = parts
        return syntax.ModelOf(name.text, value, span=span, name_span=self._at(name))

    def _on_import(self, parts: Parts, span: Span) -> syntax.Import:
        return syntax.Import(self._constant(parts[0]), None, span=span)

    def _on_from(self, parts: Parts, span: Span) -> syntax.Import:
        path, *names = parts
        return syntax.Import(self._constant(path), tuple(names), span=span)

    def _on_extern(self, parts: Parts, span: Span) -> syntax.Extern:
        kind, name, parameters, signature, target = parts
        if kind.text not in EXTERNS:
            near = nearest(kind.text, EXTERNS)
            kinds = f"write `{near}`" if near else f"write one of {', '.join(EXTERNS)}"
            fixes = (Fix(f"write `{near}`", (Edit(self._at(kind), near),), "safe"),) if near else ()
            self._complain(UnknownExtern(span=self._at(kind), kind=kind.text, kinds=kinds, fixes=fixes))
        inputs, result = signature if isinstance(signature, tuple) else ((), signature)
        return syntax.Extern(
            kind.text, name.text, parameters or (), inputs, result, target, span=span, name_span=self._at(name)
        )

    def _on_signature(self, parts: Parts, _: Span) -> tuple[tuple[syntax.TypeExpr, ...], syntax.TypeExpr]:
        *inputs, result = parts
        return tuple(inputs), result

    def _on_counted(self, parts: Parts, span: Span) -> syntax.RecordTypeExpr:
        record, count = parts
        return syntax.RecordTypeExpr(record.fields, count, span=span)

    def _on_parameters(self, parts: Parts, _: Span) -> tuple[syntax.Parameter, ...]:
        return tuple(parts)

    def _on_parameter(self, parts: Parts, span: Span) -> syntax.Parameter:
        name, type_, default = parts
        return syntax.Parameter(name.text, type_, default, span=span, name_span=self._at(name))

    # ------------------------------------------------------------------------------------------------ types

    def _on_tensor(self, parts: Parts, span: Span) -> syntax.TensorTypeExpr:
        name, dims = parts
        return syntax.TensorTypeExpr(name.text, dims, span=span)

    def _on_classes(self, parts: Parts, span: Span) -> syntax.ClassTypeExpr:
        classes, dims = parts
        return syntax.ClassTypeExpr(classes, dims, span=span)

    def _on_dims(self, parts: Parts, _: Span) -> tuple[syntax.Expr, ...]:
        return tuple(parts)

    def _on_star(self, parts: Parts, span: Span) -> syntax.Star:
        return syntax.Star(parts[0].text, span=span)

    def _on_record(self, parts: Parts, span: Span) -> syntax.RecordTypeExpr:
        return syntax.RecordTypeExpr(tuple(parts), span=span)

    def _on_field(self, parts: Parts, span: Span) -> syntax.Field:
        name, type_, in_training = parts
        return syntax.Field(name.text, type_, in_training is not None, span=span, name_span=self._at(name))

    def _on_in_training(self, _: Parts, __: Span) -> bool:
        return True

    # ------------------------------------------------------------------------------------------------ statements

    def _on_section(self, parts: Parts, span: Span) -> syntax.Section:
        name, *rest = parts
        selector = rest.pop(0) if rest and isinstance(rest[0], syntax.Expr) else None
        return syntax.Section(name.text, selector, _present(rest), span=span, name_span=self._at(name))

    def _on_path(self, parts: Parts, span: Span) -> syntax.Expr:
        first, *rest = parts
        path: syntax.Expr = syntax.Name(first.text, span=self._at(first))
        for token in rest:
            path = syntax.Attribute(path, token.text, span=Span(self._source, span.start, token.end))
        return path

    def _on_body(self, parts: Parts, span: Span) -> syntax.Body:
        return syntax.Body(_present(parts), span=span)

    _on_settings = _on_body

    def _on_setting(self, parts: Parts, span: Span) -> syntax.Bind:
        target, value = parts
        return syntax.Bind(target, value, span=span)

    def _on_flow(self, parts: Parts, span: Span) -> syntax.Flow:
        return syntax.Flow(parts[0], span=span)

    def _on_bind(self, parts: Parts, span: Span) -> syntax.Statement:
        *left, value = parts
        patterns = tuple(self._pattern(expression) for expression in left)
        if len(patterns) == 1:
            return syntax.Bind(patterns[0], value, span=span)
        target = syntax.Pattern(None, patterns, span=left[0].span.to(left[-1].span))
        return syntax.Bind(target, value, span=span)

    def _on_targets(self, parts: Parts, span: Span) -> syntax.Pattern:
        """Names joined by commas; in parentheses even one of them is a tuple."""
        if len(parts) == 1 and span == parts[0].span:
            return parts[0]  # type: ignore[no-any-return]
        return syntax.Pattern(None, tuple(parts), span=span)

    def _on_target(self, parts: Parts, span: Span) -> syntax.Pattern:
        return syntax.Pattern(parts[0].text, span=span)

    def _on_for(self, parts: Parts, span: Span) -> syntax.For:
        target, iterable, body = parts
        return syntax.For(target, iterable, body, span=span)

    def _on_if(self, parts: Parts, span: Span) -> syntax.If:
        condition, then, orelse = parts
        if isinstance(orelse, syntax.If):
            orelse = syntax.Body((orelse,), span=orelse.span)
        return syntax.If(condition, then, orelse, span=span)

    def _on_broken_step(self, _: Parts, span: Span) -> syntax.Flow:
        return syntax.Flow(syntax.Missing(span=span), span=span)

    def _on_broken_settings(self, _: Parts, __: Span) -> None:
        return None

    def _on_broken_repeat(self, _: Parts, span: Span) -> syntax.Missing:
        return syntax.Missing(span=span)

    def _on_param(self, parts: Parts, span: Span) -> syntax.Declare:
        name, type_, value = parts
        return syntax.Declare("param", name.text, type_, value, span=span, name_span=self._at(name))

    def _on_buffer(self, parts: Parts, span: Span) -> syntax.Declare:
        name, type_, value = parts
        return syntax.Declare("buffer", name.text, type_, value, span=span, name_span=self._at(name))

    def _on_init(self, parts: Parts, span: Span) -> syntax.Init:
        selector, value = parts
        return syntax.Init(selector, value, span=span)

    def _on_return(self, parts: Parts, span: Span) -> syntax.Return:
        return syntax.Return(parts[0], span=span)

    def _pattern(self, expression: syntax.Expr) -> syntax.Pattern:
        """The left side of `=`, read as an expression until `=` was met."""
        match expression:
            case syntax.Name(name):
                return syntax.Pattern(name, span=expression.span)
            case syntax.TupleExpr(items):
                return syntax.Pattern(None, tuple(self._pattern(item) for item in items), span=expression.span)
        self._complain(BadTarget(span=expression.span))
        return syntax.Pattern("_", span=expression.span)

    # ------------------------------------------------------------------------------------------------ chains

    def _on_chain(self, parts: Parts, span: Span) -> syntax.Chain:
        chain = syntax.Chain(tuple(parts), span=span)
        for stage in chain.stages[:-1]:
            bare = stage.stage if isinstance(stage, syntax.Labelled) else stage
            if isinstance(bare, syntax.Conditional):
                self._complain(_open_choice(bare, chain))
        return chain

    def _on_labelled(self, parts: Parts, span: Span) -> syntax.Labelled:
        label, stage = parts
        if isinstance(label, Token):
            return syntax.Labelled(syntax.Constant(label.text, span=self._at(label)), stage, span=span)
        return syntax.Labelled(label, stage, quoted=True, span=span)

    def _on_lasting(self, parts: Parts, span: Span) -> syntax.Lasting:
        stage, duration = parts
        return syntax.Lasting(stage, duration, span=span)

    def _on_repeat(self, parts: Parts, span: Span) -> syntax.Repeat:
        count, variable, body = parts
        return syntax.Repeat(count, variable and variable.text, body, span=span)

    def _on_as(self, parts: Parts, span: Span) -> syntax.As:
        return syntax.As(parts[0], span=span)

    # ------------------------------------------------------------------------------------------------ expressions

    def _on_conditional(self, parts: Parts, span: Span) -> syntax.Conditional:
        then, condition, orelse = parts
        return syntax.Conditional(then, condition, orelse, span=span)

    def _on_binary(self, parts: Parts, span: Span) -> syntax.Binary:
        left, operator, right = parts
        comparison = operator.text in _COMPARISONS
        if comparison and isinstance(left, syntax.Binary) and left.operator in _COMPARISONS:
            self._complain(ChainedComparison(span=span))
        return syntax.Binary(operator.kind, left, right, self._at(operator), span=span)

    def _on_unary(self, parts: Parts, span: Span) -> syntax.Unary:
        operator, operand = parts
        return syntax.Unary(operator.kind, operand, span=span)

    def _on_attribute(self, parts: Parts, span: Span) -> syntax.Attribute:
        value, name = parts
        return syntax.Attribute(value, name.text, span=span)

    def _on_call(self, parts: Parts, span: Span) -> syntax.Call:
        function, *arguments = parts
        return syntax.Call(function, tuple(arguments), span=span)

    def _on_positional(self, parts: Parts, span: Span) -> syntax.Argument:
        return syntax.Argument(None, parts[0], span=span)

    def _on_named(self, parts: Parts, span: Span) -> syntax.Argument:
        name, value = parts
        return syntax.Argument(name.text, value, self._at(name), span=span)

    def _on_index(self, parts: Parts, span: Span) -> syntax.Index:
        value, *items = parts
        return syntax.Index(value, tuple(items), span=span)

    def _on_ellipsis(self, _: Parts, span: Span) -> syntax.Name:
        return syntax.Name("...", span=span)

    def _on_slice(self, parts: Parts, span: Span) -> syntax.Slice:
        start, stop, step = parts
        return syntax.Slice(start, stop, step, span=span)

    def _on_name(self, parts: Parts, span: Span) -> syntax.Name:
        return syntax.Name(parts[0].text, span=span)

    def _on_number(self, parts: Parts, span: Span) -> syntax.Constant:
        value = _number(parts[0].text)
        if value == inf:
            self._complain(BadNumber(span=span, text=span.text, advice="it is too large for a 64-bit float"))
        return syntax.Constant(value, span=span)

    def _on_quantity(self, parts: Parts, span: Span) -> syntax.Expr:
        number, word = parts
        name = unit(word.text, self._at(word), self._complain)
        if name is None:
            return syntax.Missing(span=span)
        return syntax.Quantity(_number(number.text), name, span=span)

    def _on_string(self, parts: Parts, span: Span) -> syntax.Constant | syntax.Template:
        return read_text(Text(self._source, parts[0].text, span.start), self._complain, self._parse_part)

    def _on_true(self, _: Parts, span: Span) -> syntax.Constant:
        return syntax.Constant(value=True, span=span)

    def _on_false(self, _: Parts, span: Span) -> syntax.Constant:
        return syntax.Constant(value=False, span=span)

    def _on_none(self, _: Parts, span: Span) -> syntax.Constant:
        return syntax.Constant(None, span=span)

    def _on_list(self, parts: Parts, span: Span) -> syntax.ListExpr:
        return syntax.ListExpr(tuple(parts), span=span)

    def _on_tuple(self, parts: Parts, span: Span) -> syntax.TupleExpr:
        return syntax.TupleExpr(tuple(parts), span=span)

    def _on_paren(self, parts: Parts, span: Span) -> syntax.Paren:
        return syntax.Paren(parts[0], span=span)

    def _constant(self, path: syntax.Expr) -> syntax.Constant:
        if isinstance(path, syntax.Constant):
            return path
        return syntax.Constant("", span=path.span)


def _open_choice(choice: syntax.Conditional, chain: syntax.Chain) -> OpenChoice:
    """The problem of a choice that an arrow follows, with the text of both ways to read it."""

    def around(span: Span) -> tuple[Edit, ...]:
        start, end = Span(span.source, span.start, span.start), Span(span.source, span.end, span.end)
        return Edit(start, "("), Edit(end, ")")

    last = Span(chain.span.source, choice.orelse.span.start, chain.span.end)
    fixes = (
        Fix(f"send only the last through it: `else ({last.text})`", around(last)),
        Fix("send what is chosen through it", around(choice.span)),
    )
    return OpenChoice(span=choice.span, choice=choice.span.text, fixes=fixes)


def _present(parts: Parts) -> tuple[syntax.Statement, ...]:
    """The statements that are left when those of which nothing could be kept are gone."""
    return tuple(part for part in parts if part is not None)


def _number(text: str) -> int | float:
    return int(text) if text.replace("_", "").isdecimal() else float(text)
