"""Elaboration: bodies are unrolled into steps with a type on every edge.

A body is a list of statements around one running value, the flow. `Elaborator` adds to the evaluation of constants what
only bodies can do: applying stages to tensors, naming modules, unrolling loops.
"""

from dataclasses import replace
from typing import Any, Final

from expc.compiler.arithmetic import describe, is_size
from expc.compiler.dimensions import Size, UnwieldySizeError
from expc.compiler.errors.names import DuplicateName, TooLarge, UnknownName
from expc.compiler.errors.stages import Misplaced, NotAStage, StageInArithmetic
from expc.compiler.graph import Read, Source, Value
from expc.compiler.library.lookup import Library
from expc.compiler.model import calls, loops, results, stages, starts, tensors
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.requirements import Conditions
from expc.compiler.model.scope import MISSING, Builtin, Context, ModuleRef, Scope, TensorRef, WeightRef
from expc.compiler.model.unused import Flowing
from expc.compiler.names import labels_in, names_in
from expc.compiler.types import UNKNOWN, TensorType
from expc.diagnostics import Edit, Fix, Label, Problem, ProblemError, Report, Span
from expc.spec import syntax
from expc.spec.suggest import is_slip
from expc.spec.values import (
    UNEVALUATED,
    Closure,
    Dtype,
    Labelled,
    Pipeline,
    Recipe,
)

_STAGES: Final = (Recipe, Pipeline, Closure, Labelled, ModuleRef, TensorRef, WeightRef, Dtype)
"""What has yet to be applied to give a tensor. A tuple: a union in `isinstance` would be made anew at every call."""


class Elaborator(Evaluator):
    """Turns bodies into containers of the graph, collecting problems on the way."""

    def __init__(self, library: Library, report: Report) -> None:
        super().__init__(library, report)
        self.conditions = Conditions()
        self.calls: list[tuple[Span, str]] = []
        self.classes: frozenset[int] = frozenset()
        """How many classes the data's fields have."""
        self.looks_again = False
        """The model was elaborated before, with less known of its inputs: a round that changes no type adds nothing."""
        self.elaborated: set[str] = set()
        """Blocks that some body used, by name."""
        self.taken: set[int] = set()
        """The branches that were taken, by the identity of their bodies."""
        self._mentions: dict[int, bool] = {}
        """Which nodes of the tree name the value that arrives, by their identity."""

    # ------------------------------------------------------------------------------------------------ problems

    def add(self, problem: Problem) -> None:
        """Report a problem; inside a block, with the place where the block is used."""
        if self.calls:
            span, name = self.calls[-1]
            if all(label.span != span for label in problem.labels) and problem.span != span:
                problem = replace(problem, labels=(*problem.labels, Label(span, f"`{name}` is used here")))
        super().add(problem)

    def unknown(self, span: Span) -> Value:
        """What a value is after an error."""
        return Value(UNKNOWN, span)

    def divisible(self, size: Size, divisor: Size, span: Span) -> None:
        """`size / divisor` is exact only for some sizes: the model must say for which."""
        stages.require(self, ("divisible", size, divisor, "the dividend"), "/", span, ())

    def undecided(self, span: Span, reason: str) -> Any:
        """What depends on an unknown size is unknown too in a block on its own, whose sizes its users fix."""
        return UNEVALUATED if self.conditions.lenient else super().undecided(span, reason)

    # ------------------------------------------------------------------------------------------------ bodies

    def body(self, body: syntax.Body, context: Context) -> tuple[Any, bool]:
        """Run the statements of a body. Gives the flow at the end, and whether it was returned."""
        flow = context.flow
        flowing = Flowing(flow, body.span, 0, 0)
        for position, statement in enumerate(body.statements):
            if self.report.is_full:
                return self.unknown(statement.span), False
            self.count(statement.span)
            here = context.with_flow(flow)
            try:
                flow, returned = self.statement(statement, here)
            except (UnwieldySizeError, RecursionError) as error:
                limit = str(error) if isinstance(error, UnwieldySizeError) else "it is nested too deep"
                raise ProblemError(TooLarge(span=statement.span, what="this", limit=limit)) from None
            except ProblemError as error:
                if isinstance(error.problem, TooLarge):
                    raise
                self.add(error.problem)
                stays = isinstance(statement, syntax.Bind | syntax.Declare | syntax.Init)
                flow, returned = (flow if stays else self.unknown(statement.span)), False
                self.bind_unknown(statement, here)
            flowing = flowing.then(self, statement, flow, context)
            if returned:
                for rest in body.statements[position + 1 :]:
                    self.add(Misplaced(span=rest.span, what="nothing may follow `return`"))
                return flow, True
        return flow, False

    def statement(self, statement: syntax.Statement, context: Context) -> tuple[Any, bool]:
        """Run one statement. Gives the flow after it, and whether it returned. Raises `ProblemError`."""
        flow = context.flow
        match statement:
            case syntax.Flow():
                return self.tensor(statement.value, context), False
            case syntax.Bind():
                self.bind(statement, context)
            case syntax.Return():
                return self.tensor(statement.value, context), True
            case syntax.If():
                return loops.branch(self, statement, context)
            case syntax.For():
                return loops.loop(self, statement, context), False
            case syntax.Declare():
                starts.declare(self, statement, context)
            case syntax.Init():
                starts.init(self, statement, context)
            case _:
                raise ProblemError(Misplaced(span=statement.span, what="this cannot stand in a body"))
        return flow, False

    def bind(self, statement: syntax.Bind, context: Context) -> None:
        """`a, b = chain`."""
        value = self.evaluate(statement.value, context)
        if self.is_stage(value):
            value = self.wanted(value, context, statement.value.span)

        def bind(pattern: syntax.Pattern, part: Any) -> None:
            if pattern.name != "_":
                name = str(pattern.name)
                type_ = context.body.result_type(name, context.scope)
                known = part if type_ is None else results.fit(self, f"`{name}`", type_, part, context)
                self.bind_name(name, known, pattern.span, context.scope)

        self.unpack(statement.target, value, bind)

    def bind_unknown(self, statement: syntax.Statement, context: Context) -> None:
        """After an error, the names that a statement would have bound exist and agree with everything."""
        self.forget_labels(statement, context)
        if isinstance(statement, syntax.Declare) and context.scope.lookup(statement.name) is MISSING:
            context.scope.bind(statement.name, UNEVALUATED, statement.name_span)
        if not isinstance(statement, syntax.Bind):
            return

        def bind(pattern: syntax.Pattern, part: Any) -> None:
            if pattern.name != "_" and context.scope.values.get(str(pattern.name), MISSING) is MISSING:
                context.scope.bind(str(pattern.name), part, pattern.span)

        self.unpack(statement.target, UNEVALUATED, bind)

    def forget_labels(self, node: syntax.Node, context: Context) -> None:
        """After an error in `node`, the labels in it that name no module yet exist and agree with everything."""
        for label in labels_in(node):
            if context.scope.lookup(str(label.value)) is MISSING:
                context.scope.bind(str(label.value), UNEVALUATED, label.span)

    def bind_name(self, name: str, value: Any, span: Span, scope: Scope) -> None:
        """Bind a name that is new in its body. Raises `ProblemError` when it is not."""
        level: Scope | None = scope
        while level is not None and level.parent is not None:
            if name in level.values:
                labels = (Label(level.places[name], "the first is here"),)
                raise ProblemError(
                    DuplicateName(span=span, word=name, reason="is bound twice in this body", labels=labels)
                )
            level = level.parent
        scope.bind(name, value, span)

    # ------------------------------------------------------------------------------------------------ expressions

    def tensor(self, node: syntax.Expr, context: Context) -> Any:
        """The tensor, or tuple of tensors, that an expression gives where one is wanted."""
        return self.wanted(self.evaluate(node, context.wanting()), context, node.span)

    def is_stage(self, value: Any) -> bool:
        """Whether a value has yet to be applied to give a tensor."""
        return isinstance(value, _STAGES)

    def wanted(self, value: Any, context: Context, span: Span) -> Any:
        """Make a tensor of a value: stages are applied to the flow. Raises `ProblemError` for what is none."""
        if isinstance(value, Value):
            return value
        if value is UNEVALUATED:
            return self.unknown(span)
        if isinstance(value, TensorRef | WeightRef):
            return self.read(value, context, span)
        if self.is_stage(value):
            return stages.apply(self, value, context, span)
        if isinstance(value, tuple):
            return tuple(self.wanted(item, context, span) for item in value)
        if isinstance(value, Builtin) and value.name in self.library.operators:
            reason = f"it takes a tensor only after an arrow: `flow -> {value.name}`"
            raise ProblemError(NotAStage(span=span, what=describe(value), reason=reason))
        reason = (
            "a number is not a tensor"
            if is_size(value) or isinstance(value, float)
            else "it is not a tensor or a stage"
        )
        raise ProblemError(NotAStage(span=span, what=describe(value), reason=reason))

    def read(self, ref: TensorRef | WeightRef, context: Context, span: Span) -> Value:
        """The tensor that a `param`, a `buffer`, or a module's parameter holds."""
        path = (ref.name,) if isinstance(ref, TensorRef) else ref.path
        if ref.owner is not context.body:
            what = f"`{'.'.join(path)}` belongs to another body; pass it in as an input"
            raise ProblemError(Misplaced(span=span, what=what))
        result = Value(stages.weight_type(context.body, path), span, ".".join(path), Source(".".join(path), ()))
        context.body.steps.append(Read(path, result, span))
        return result

    def read_type(self, ref: WeightRef, context: Context, span: Span) -> TensorType:
        """The type of a module's parameter that another one is tied to."""
        if ref.owner is not context.body:
            what = f"`{'.'.join(ref.path)}` belongs to another body: a parameter is tied where its label stands"
            raise ProblemError(Misplaced(span=span, what=what))
        type_ = stages.weight_type(context.body, ref.path)
        return type_ if isinstance(type_, TensorType) else TensorType("f32", ())

    def name(self, node: syntax.Name, context: Context) -> Any:
        """What a name stands for in a body, where `flow` is the value that arrives."""
        if node.id != "flow":
            try:
                return super().name(node, context)
            except ProblemError as error:
                guess = self.guess(node, error.problem, context)
                if guess is None:
                    raise
                self.add(error.problem)
                return guess
        if context.flow is None:
            raise ProblemError(NotAStage(span=node.span, what="`flow`", reason="nothing flows here"))
        return context.flow

    def guess(self, node: syntax.Name, problem: Problem, context: Context) -> Recipe | None:
        """The layer that a misspelt name was surely meant to be, so that one slip does not hide what comes after it."""
        if context.body is None or not isinstance(problem, UnknownName) or not problem.fixes:
            return None
        near = problem.fixes[0].edits[0].text
        operator = self.library.operators.get(near)
        if operator is None or operator.kind != "layer" or not is_slip(node.id, near):
            return None
        return Recipe(near, span=node.span, guessed=True)

    def paren(self, node: syntax.Paren, context: Context) -> Any:
        """What parentheses hold; where a tensor is wanted, a stage in them is applied."""
        inner = context.enclosed()
        value = self.evaluate(node.inner, inner)
        return self.wanted(value, inner, node.span) if context.tensor and self.is_stage(value) else value

    def side_by_side(self, node: syntax.TupleExpr, context: Context) -> Any:
        """Values side by side; where tensors are wanted, stages among them are applied."""
        if not context.tensor:
            return super().side_by_side(node, context)
        return tuple(self.element(item, context) for item in node.items)

    def element(self, node: syntax.Expr, context: Context) -> Any:
        """An item of a tuple: a stage among them is applied."""
        value = self.evaluate(node, context)
        return self.wanted(value, context, node.span) if self.is_stage(value) else value

    def chain(self, node: syntax.Chain, context: Context) -> Any:
        """A chain in a body: the value after its last stage; in settings, a pipeline."""
        if context.body is None:
            return super().chain(node, context)
        head_node = node.stages[0]
        try:
            head = self.evaluate(head_node, context.enclosed())
            if not context.tensor and not self.flowing(head):
                return self.pipeline(node, head, context)
            flow = self.wanted(head, context.enclosed(), head_node.span)
        except ProblemError as error:
            if isinstance(error.problem, TooLarge):
                raise
            self.add(error.problem)
            self.forget_labels(head_node, context)
            flow = self.unknown(head_node.span)
        for stage in node.stages[1:]:
            flow = self.stage(stage, context.with_flow(flow))
        return flow

    def flowing(self, value: Any) -> bool:
        """Whether a value is a tensor already, or a tuple that holds one."""
        if isinstance(value, tuple):
            return any(map(self.flowing, value))
        return isinstance(value, Value | TensorRef | WeightRef)

    def ignores_flow(self, value: Any) -> bool:
        """Whether a value is a tensor already, or several of them and nothing else."""
        if isinstance(value, tuple):
            return bool(value) and all(map(self.ignores_flow, value))
        return isinstance(value, Value | TensorRef | WeightRef)

    def stage(self, node: syntax.Expr, context: Context) -> Any:
        """The flow after one stage of a chain. Problems are reported, and an unknown value goes on."""
        try:
            takes_it = self.mentions_flow(node)
            value = calls.after_arrow(self, node, context if takes_it else context.setting())
            complete = isinstance(value, Recipe) and not stages.takes_flow(self, value)
            if (complete or self.ignores_flow(value)) and not takes_it:
                what = f"`{node.span.text}`"
                reason = "it ignores the value that arrives; a stage takes it, or mentions `flow`"
                if complete and _has_tensor(value):
                    reason = f"it has all its tensors; {reason}, and an optional tensor has its name"
                raise ProblemError(NotAStage(span=node.span, what=what, reason=reason))
            return self.wanted(value, context, node.span)
        except ProblemError as error:
            if isinstance(error.problem, TooLarge):
                raise
            self.add(error.problem)
            self.forget_labels(node, context)
            return self.unknown(node.span)

    def mentions_flow(self, node: syntax.Expr) -> bool:
        """Whether an expression names the value that arrives. Asked once of a node that many rounds go through."""
        known = self._mentions.get(id(node))
        if known is None:
            known = self._mentions[id(node)] = "flow" in names_in(node)
        return known

    def binary(self, node: syntax.Binary, context: Context) -> Any:
        """An operation, on tensors where one side is one."""
        if context.body is None or node.operator in ("and", "or"):
            return super().binary(node, context)
        operands = context.wanting().operands()
        left, right = (self.operand(part, operands) for part in (node.left, node.right))
        if isinstance(left, Value) or isinstance(right, Value):
            return tensors.binary(self, node, left, right, context)
        return self.operate(node, left, right, context)

    def operand(self, node: syntax.Expr, context: Context) -> Any:
        """One side of an operation. Unparenthesised, a stage that would take the flow is refused."""
        value = self.evaluate(node, context)
        if not self.is_stage(value):
            return value
        if isinstance(value, TensorRef | WeightRef) or not stages.takes_flow(self, value):
            return self.wanted(value, context.enclosed(), node.span)
        fix = Fix("put it in parentheses", (Edit(node.span, f"({node.span.text})"),))
        raise ProblemError(StageInArithmetic(span=node.span, stage=node.span.text, fixes=(fix,)))

    def unary(self, node: syntax.Unary, context: Context) -> Any:
        """`-x` and `not x`, on tensors too."""
        if context.body is None or node.operator == "not":
            return super().unary(node, context)
        value = self.operand(node.operand, context.wanting().operands())
        return (
            tensors.negate(self, node, value, context)
            if isinstance(value, Value)
            else self.negate(node, value, context)
        )

    def index(self, node: syntax.Index, context: Context) -> Any:
        """`x[...]`, on tensors too."""
        value = self.evaluate(node.value, context)
        if isinstance(value, TensorRef | WeightRef) or (self.is_stage(value) and context.tensor):
            value = self.wanted(value, context, node.value.span)
        if isinstance(value, Value):
            return tensors.subscript(self, node, value, context)
        return self.subscript(node, value, context)

    def attribute(self, node: syntax.Attribute, context: Context) -> Any:
        """`wte.weight`: a parameter of a labelled module."""
        path: list[str] = []
        head: syntax.Expr = node
        while isinstance(head, syntax.Attribute):
            path.insert(0, head.name)
            head = head.value
        ref = context.scope.lookup(head.id) if isinstance(head, syntax.Name) else None
        if not isinstance(ref, ModuleRef):
            return super().attribute(node, context)
        return stages.weight_ref(ref, tuple(path), node.span)


def _has_tensor(recipe: Recipe) -> bool:
    """Whether a recipe was given a tensor."""
    return any(isinstance(argument.value, Value | TensorRef) for argument in recipe.arguments)
