"""Evaluation at compile time: what an expression stands for before anything flows.

Numbers are computed, names looked up, and stages become recipes: `Conv2d(16, 3)` is a value that makes a layer each
time it is applied. Tensors are one more kind of value here; `elaborate`, beside this, adds what only bodies can do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from expc.compiler import arithmetic
from expc.compiler.arithmetic import ArithmeticRefusedError, InexactDivisionError, Items, UndecidedError, describe
from expc.compiler.dimensions import Dim, Size
from expc.compiler.errors.names import BadExpression, Recursion, TooLarge
from expc.compiler.errors.stages import CannotUnpack, NotAStage
from expc.compiler.graph import Value
from expc.compiler.library.lookup import Library
from expc.compiler.model import calls
from expc.compiler.model.scope import MISSING, Builtin, Context, Declared
from expc.compiler.model.unknown_names import refuse_package, unknown_name
from expc.compiler.types import DTYPES, is_known
from expc.diagnostics import Edit, Fix, Problem, ProblemError, Report, Span
from expc.spec import syntax
from expc.spec.experiment import ROLES
from expc.spec.values import (
    UNEVALUATED,
    Closure,
    Dtype,
    Labelled,
    Lasting,
    Pipeline,
    Quantity,
    Recipe,
    Watched,
    show,
)

_PI: Final = 3.141592653589793

MOST_STEPS: Final = 250_000
"""How many steps a model may take when everything is unrolled: a statement is one, and so is a round of a loop."""

STEPS_OF_A_DEFINITION: Final = 5
"""What using a block, or calling a function, counts: it takes about as long as so many statements."""

DEEPEST: Final = 60
"""How many definitions may need each other in a row: those who unfold them call themselves."""


class Evaluator:
    """Evaluates expressions. Problems are raised as `ProblemError` where one expression cannot go on."""

    def __init__(self, library: Library, report: Report) -> None:
        self.library = library
        self.report = report
        self._lets: dict[int, Any] = {}
        self._active: list[object] = []
        self.explain: Callable[[Problem], Problem] | None = None
        """Adds to a problem what is known where it arises."""
        self.steps = 0

    def add(self, problem: Problem) -> None:
        """Report a problem; what can go on goes on."""
        self.report.add(problem if self.explain is None else self.explain(problem))

    def evaluate(self, node: syntax.Expr, context: Context) -> Any:
        """The value of `node`. Raises `ProblemError`."""
        match node:
            case syntax.Missing():
                return UNEVALUATED
            case syntax.Constant():
                return node.value
            case syntax.Name():
                return self.name(node, context)
            case syntax.Paren():
                return self.paren(node, context)
            case syntax.Call():
                return calls.call(self, node, context)
            case syntax.Chain():
                return self.chain(node, context)
            case syntax.Binary():
                return self.binary(node, context)
            case syntax.ListExpr():
                return self.bounded(tuple(self.evaluate(item, context.setting()) for item in node.items), node)
            case syntax.TupleExpr():
                return self.side_by_side(node, context)
            case syntax.Labelled():
                stage, label = self.evaluate(node.stage, context.setting()), self.evaluate(node.label, context)
                known = stage is not UNEVALUATED and isinstance(label, str)
                return Labelled(label, stage, node.label.span) if known else UNEVALUATED
            case syntax.Body() | syntax.Repeat() | syntax.As():
                return Closure(node, context)
            case syntax.Unary():
                return self.unary(node, context)
            case syntax.Conditional():
                chosen = self.condition(node.condition, context)
                if chosen is None:
                    return UNEVALUATED
                return self.evaluate(node.then if chosen else node.orelse, context)
            case syntax.Index():
                return self.index(node, context)
            case syntax.Attribute():
                return self.attribute(node, context)
            case syntax.Template():
                return self.template(node, context)
            case syntax.Quantity():
                return Quantity(node.number, node.unit)
            case syntax.Lasting():
                return self.lasting(node, context)
        raise ProblemError(NotAStage(span=node.span, what=f"`{node.span.text}`", reason="it has no value"))

    # ------------------------------------------------------------------------------------------------ names

    def name(self, node: syntax.Name, context: Context) -> Any:
        """What a name stands for here. Raises `ProblemError` for one that stands for nothing."""
        value = self.meaning(node, context)
        if value is MISSING:
            raise ProblemError(unknown_name(self.library, node.id, node.span, context.scope))
        return value

    def meaning(self, node: syntax.Name, context: Context) -> Any:
        """What a name stands for here; `MISSING` where it stands for nothing."""
        value = context.scope.lookup(node.id)
        if value is not MISSING:
            value = self.resolve(value, node, context)
            # Only its own name never takes the flow: `act: layer = exp` is a stage like any other.
            is_stage = isinstance(value, Builtin) and value.name in self.library.operators
            return Recipe(value.name, span=node.span) if is_stage else value
        if node.id in arithmetic.BUILTINS:
            return Builtin(node.id)
        if node.id == "pi":
            return _PI
        if node.id in DTYPES:
            return Dtype(node.id)
        if self.library.knows(node.id):
            return Recipe(node.id, span=node.span)
        return MISSING

    def resolve(self, value: Any, node: syntax.Expr, context: Context) -> Any:
        """The value behind what a scope holds: a `let` is evaluated when first used."""
        del context
        if not isinstance(value, Declared):
            return value
        key = id(value.statement)
        if key not in self._lets:
            with self.unfolding(value.statement, value.statement.name, node.span):
                try:
                    self._lets[key] = self.evaluate(value.statement.value, Context(value.scope))
                except ProblemError as error:
                    self._lets[key] = UNEVALUATED
                    if isinstance(error.problem, Recursion):
                        raise
                    self.add(error.problem)
        return self._lets[key]

    def count(self, span: Span, steps: int = 1) -> None:
        """Count what is unrolled: no program may take for ever. Raises `ProblemError` after too many steps."""
        self.steps += steps
        self.foresee(0, span)

    def foresee(self, more: int, span: Span) -> None:
        """Refuse a program that would take too many steps with so many `more`, before it takes them."""
        if self.steps + more > MOST_STEPS:
            limit = f"more than {MOST_STEPS:,} steps when unrolled"
            raise ProblemError(TooLarge(span=span, what="this program", limit=limit))

    @contextmanager
    def unfolding(self, declaration: object, name: str, span: Span) -> Iterator[None]:
        """Guards the unfolding of a definition against needing itself, and counts it."""
        self.count(span, STEPS_OF_A_DEFINITION)
        if any(entry is declaration for entry in self._active):
            raise ProblemError(Recursion(span=span, word=name))
        if len(self._active) >= DEEPEST:
            limit = f"more than {DEEPEST} definitions need each other in a row"
            raise ProblemError(TooLarge(span=span, what=f"what `{name}` needs", limit=limit))
        self._active.append(declaration)
        try:
            yield
        finally:
            self._active.pop()

    def attribute(self, node: syntax.Attribute, context: Context) -> Any:
        """`val.accuracy`, or whatever a body makes of a dotted name."""
        if isinstance(node.value, syntax.Name) and node.value.id in ROLES:
            return Watched(f"{node.value.id}.{node.name}")
        if isinstance(node.value, syntax.Name) and context.scope.lookup(node.value.id) is MISSING:
            refuse_package(self.library, node, node.value.id, context.scope)
        value = self.evaluate(node.value, context)
        if value is UNEVALUATED:
            return UNEVALUATED
        reason = f"{describe(value)} has no parts by name"
        fixes: tuple[Fix, ...] = ()
        if isinstance(value, Value) and node.name in self.library.operators:
            call = f"{node.value.span.text} -> {node.name}"
            reason += f"; functions follow an arrow: `{call}`"
            fixes = (Fix(f"write `{call}`", (Edit(node.span, call),), "safe"),)
        raise ProblemError(NotAStage(span=node.span, what=f"`{node.span.text}`", reason=reason, fixes=fixes))

    # ------------------------------------------------------------------------------------------------ operations

    def paren(self, node: syntax.Paren, context: Context) -> Any:
        """What parentheses hold."""
        return self.evaluate(node.inner, context.enclosed())

    def side_by_side(self, node: syntax.TupleExpr, context: Context) -> Any:
        """Values side by side."""
        return tuple(self.evaluate(item, context) for item in node.items)

    def binary(self, node: syntax.Binary, context: Context) -> Any:
        """Arithmetic, comparison and logic."""
        if node.operator in ("and", "or"):
            left = self.condition(node.left, context)
            if left is None:
                return UNEVALUATED
            if left == (node.operator == "or"):
                return left
            right = self.condition(node.right, context)
            return UNEVALUATED if right is None else right
        operands = context.operands()
        left, right = self.evaluate(node.left, operands), self.evaluate(node.right, operands)
        return self.operate(node, left, right, context)

    def operate(self, node: syntax.Binary, left: Any, right: Any, context: Context) -> Any:
        """One operation on two values that are there."""
        del context
        if left is UNEVALUATED or right is UNEVALUATED:
            return UNEVALUATED
        try:
            if node.operator in ("==", "!=", "<", "<=", ">", ">="):
                return arithmetic.compare(node.operator, left, right)
            return arithmetic.binary(node.operator, left, right)
        except InexactDivisionError as inexact:
            self.divisible(inexact.size, inexact.divisor, node.span)
            return inexact.quotient
        except UndecidedError as fault:
            return self.undecided(node.span, str(fault))
        except ArithmeticRefusedError as fault:
            raise ProblemError(BadExpression(span=node.span, reason=str(fault))) from None

    def divisible(self, size: Size, divisor: Size, span: Span) -> None:
        """`size / divisor` was written on an unknown size: outside a body that is an error."""
        raise ProblemError(BadExpression(span=span, reason=f"whether {divisor} divides {size} is not known here"))

    def undecided(self, span: Span, reason: str) -> Any:
        """The value of what depends on an unknown size: here that is an error."""
        raise ProblemError(BadExpression(span=span, reason=reason))

    def unary(self, node: syntax.Unary, context: Context) -> Any:
        """`-x` and `not x`."""
        if node.operator == "not":
            value = self.condition(node.operand, context)
            return UNEVALUATED if value is None else not value
        value = self.evaluate(node.operand, context.operands())
        return self.negate(node, value, context)

    def negate(self, node: syntax.Unary, value: Any, context: Context) -> Any:
        """`-value`."""
        del context
        if value is UNEVALUATED:
            return UNEVALUATED
        try:
            return arithmetic.negate(value)
        except ArithmeticRefusedError as fault:
            raise ProblemError(BadExpression(span=node.span, reason=str(fault))) from None

    def condition(self, node: syntax.Expr, context: Context) -> bool | None:
        """A value that must be true or false; none after an error that was reported."""
        value = self.evaluate(node, context)
        if value is UNEVALUATED:
            return None
        if not isinstance(value, bool):
            raise ProblemError(BadExpression(span=node.span, reason=f"expected true or false, found {describe(value)}"))
        return value

    def index(self, node: syntax.Index, context: Context) -> Any:
        """An item or a slice of a list or string."""
        value = self.evaluate(node.value, context)
        return self.subscript(node, value, context)

    def subscript(self, node: syntax.Index, value: Any, context: Context) -> Any:
        """`value[...]` of a value that is there."""
        if value is UNEVALUATED:
            return UNEVALUATED
        if not isinstance(value, tuple | str):
            raise ProblemError(BadExpression(span=node.span, reason=f"{describe(value)} has no items"))
        if len(node.items) != 1:
            raise ProblemError(BadExpression(span=node.span, reason="a list takes one index"))
        (item,) = node.items
        if isinstance(item, syntax.Slice):
            bounds = [
                None if part is None else self.integer(part, context) for part in (item.start, item.stop, item.step)
            ]
            if bounds[2] == 0:
                raise ProblemError(BadExpression(span=item.span, reason="a slice cannot step by 0"))
            return value[slice(*bounds)]
        position = self.integer(item, context)
        if not -len(value) <= position < len(value):
            raise ProblemError(
                BadExpression(span=node.span, reason=f"there is no item {position} in a list of {len(value)}")
            )
        return value[position]

    def integer(self, node: syntax.Expr, context: Context) -> int:
        """A whole number that is known. Raises `ProblemError` for anything else."""
        value = self.evaluate(node, context)
        if isinstance(value, bool) or not isinstance(value, int):
            what = f"{value}, which is not known here" if isinstance(value, Dim) else describe(value)
            raise ProblemError(BadExpression(span=node.span, reason=f"expected a whole number, found {what}"))
        return value

    def template(self, node: syntax.Template, context: Context) -> Any:
        """A string with values filled in."""
        text = ""
        for part in node.parts:
            if isinstance(part, str):
                text += part
                continue
            value = self.evaluate(part, context)
            if value is UNEVALUATED:
                return UNEVALUATED
            text = self.bounded(text + (value if isinstance(value, str) else show(value)), node)
        return text

    def bounded(self, value: Items, node: syntax.Expr) -> Items:
        """A list or a text itself. Raises `ProblemError` where it is too long."""
        try:
            return arithmetic.bounded(value)
        except ArithmeticRefusedError as fault:
            raise ProblemError(BadExpression(span=node.span, reason=str(fault))) from None

    def lasting(self, node: syntax.Lasting, context: Context) -> Any:
        """`stage for duration`."""
        duration = self.evaluate(node.duration, context)
        if duration is UNEVALUATED:
            return UNEVALUATED
        if not isinstance(duration, Quantity | int) or isinstance(duration, bool):
            raise ProblemError(
                BadExpression(
                    span=node.duration.span,
                    reason=f"expected how long, such as `100 steps` or `2 epochs`, found {describe(duration)}",
                )
            )
        return Lasting(self.evaluate(node.stage, context), duration, node.duration.span)

    # ------------------------------------------------------------------------------------------------ recipes

    def chain(self, node: syntax.Chain, context: Context) -> Any:
        """A chain of recipes: a pipeline, with the pipelines inside it spliced."""
        return self.pipeline(node, self.evaluate(node.stages[0], context), context)

    def pipeline(self, node: syntax.Chain, head: Any, context: Context) -> Any:
        """The pipeline of a chain whose head is evaluated already."""
        stages: list[Any] = []
        for position, stage in enumerate(node.stages):
            value = head if position == 0 else calls.after_arrow(self, stage, context)
            if value is UNEVALUATED:
                return UNEVALUATED
            if isinstance(value, Pipeline):
                stages += value.stages
                self.bounded(stages, node)
            elif isinstance(value, Recipe | Labelled | Closure | Lasting | Dtype):
                stages.append(value)
            else:
                raise ProblemError(NotAStage(span=stage.span, what=describe(value), reason="it is not a stage"))
        return Pipeline(tuple(stages), node.span)

    def is_unknown(self, value: Any) -> bool:
        """Whether a value is what an error left behind: it agrees with everything."""
        return value is UNEVALUATED or (isinstance(value, Value) and not is_known(value.type))

    def unpack(self, pattern: syntax.Pattern, value: Any, bind: Callable[[syntax.Pattern, Any], None]) -> None:
        """Hand the parts of `value` to the names of `pattern`. Raises `ProblemError` when their numbers differ."""
        if pattern.name is not None:
            bind(pattern, value)
            return
        if not isinstance(value, tuple):
            if not self.is_unknown(value):
                problem = CannotUnpack(span=pattern.span, expected=_names(pattern), found="one value is")
                self.add(problem)
                value = UNEVALUATED
            for item in pattern.items:
                self.unpack(item, value, bind)
            return
        if len(value) != len(pattern.items):
            found = f"{len(value)} value{' is' if len(value) == 1 else 's are'}"
            self.add(CannotUnpack(span=pattern.span, expected=_names(pattern), found=found))
            value = (UNEVALUATED,) * len(pattern.items)
        for item, part in zip(pattern.items, value, strict=True):
            self.unpack(item, part, bind)


def _names(pattern: syntax.Pattern) -> str:
    count = len(pattern.items)
    return f"{count} name{'s' * (count != 1)}"
