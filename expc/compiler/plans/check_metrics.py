"""Checking metrics, and what a checkpoint, an early stop or a schedule watches."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from expc.compiler.errors.experiment import LossNotScalar, MetricMismatch
from expc.compiler.errors.names import DuplicateName
from expc.compiler.errors.shapes import TrainingOnly
from expc.compiler.graph import Apply, Container, Model, Record, Value
from expc.compiler.library.metrics import contradicted
from expc.compiler.lints.monitor_without_val import MonitorWithoutVal
from expc.compiler.model.body import BodyBuilder
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.in_training import in_training_only
from expc.compiler.model.scope import MISSING, BlockRef, Scope
from expc.compiler.plans.check_loss import NOTED, Outcome, applied, enter
from expc.compiler.plans.check_train import use_of
from expc.compiler.program import LossPlan, MetricPlan, TrainPlan, Use, Watch
from expc.compiler.types import FLOATING, NO_CLASS, TensorType, is_known
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import nearest
from expc.spec.values import Closure, Recipe, Setting, Table, Watched


class Metrics:
    """The metrics of one run: a list of them, or a table of named ones.

    A metric of torchmetrics compares an output with a target. A block, or any expression that gives one number, is a
    metric too: its mean over all samples.
    """

    def __init__(
        self,
        elaborator: Elaborator,
        model: Model,
        found: Outcome,
        scope: Scope,
        span: Span,
        losses: Iterable[LossPlan] = (),
    ) -> None:
        self._elaborator, self._found, self._span = elaborator, found, span
        self._probabilities = {name for loss in losses for name in _probabilities(loss)}
        self._builder = BodyBuilder("Metrics", span)
        self._scope = Scope(scope)
        self._flow: Any = None
        self._fields: dict[str, Value] = {}
        self._plans: dict[str, MetricPlan] = {}
        self._whole = True
        self._model = model

    def plan(self, value: Any, taken: Collection[str]) -> tuple[tuple[MetricPlan, ...], Container | None] | None:
        """What each metric is in torchmetrics, and what computes their tensors; none where one is not known.

        `taken` are the names of the losses, which are logged by them too.
        """
        elaborator = self._elaborator
        try:
            self._flow = enter(self._model, self._found, self._builder, self._scope, self._span)
        except ProblemError as error:
            if value:
                elaborator.add(error.problem)
            return None
        if isinstance(value, Table):
            for setting in value.settings:
                if isinstance(setting, Setting):
                    self._add(setting.key, self._named(setting), setting.key_span)
        else:
            for recipe in value:
                self._add(*self._listed(recipe))
        for metric in self._plans.values():
            if metric.name in taken:
                reason = "is the name of a metric and of a loss, and both are logged by it"
                elaborator.add(DuplicateName(span=metric.span, word=metric.name, reason=reason))
                self._whole = False
            elif metric.name in NOTED:
                reason = f"{NOTED[metric.name]}: give the metric another name"
                elaborator.add(DuplicateName(span=metric.span, word=metric.name, reason=reason))
                self._whole = False
        self._refuse_training_only()
        if not self._whole:
            return None
        body = self._builder.close(Record(self._fields)) if self._fields else None
        return tuple(self._plans.values()), body

    def _add(self, name: str, plan: MetricPlan | None, span: Span) -> None:
        if plan is None:
            self._whole = False
        elif name in self._plans:
            first = Label(self._plans[name].span, "the first is here")
            notes = (f"give each a name: `metrics {{ {name} = ..., other = (output, target) -> {span.text} }}`",)
            self._elaborator.add(
                DuplicateName(span=span, word=span.text, reason="is measured twice", labels=(first,), notes=notes)
            )
            self._whole = False
        else:
            self._plans[name] = plan

    def _listed(self, recipe: Any) -> tuple[str, MetricPlan | None, Span]:
        """One metric of a list."""
        span = recipe.span or self._span if isinstance(recipe, Recipe) else self._span
        name = snake(recipe.name) if isinstance(recipe, Recipe) else ""
        if isinstance(recipe, Recipe) and _is_block(recipe):
            return name, self._scalar(name, recipe, span), span
        use = use_of(self._elaborator, recipe, self._elaborator.library.metrics, "a metric", self._span)
        if use is None:
            return name, None, span
        found = self._found
        if found.output is None or found.target is None:
            what = (
                "the model has several outputs" if found.output is None else "no field of the data is left as a target"
            )
            reason = f"{what}, and a list of metrics compares (output, target)"
            notes = (f"say what it compares: `metrics {{ {name} = (output, target) -> {use.name} }}`",)
            self._elaborator.add(MetricMismatch(span=use.span, metric=use.name, reason=reason, notes=notes))
            return name, None, span
        types = found.outputs[found.output], found.fields[found.target]
        plan = self._class(name, use, types, (found.output, found.target))
        if plan is not None and "num_labels" in plan.arguments and found.target in self._probabilities:
            reason = f"the loss takes `{found.target}` as probabilities, and this would judge each class alone"
            likeliest = f"({found.output}, {found.target} -> argmax(1))"
            notes = (f"compare with the likeliest class: `metrics {{ {name} = {likeliest} -> {use.name} }}`",)
            self._elaborator.add(MetricMismatch(span=use.span, metric=use.name, reason=reason, notes=notes))
            return name, None, span
        return name, plan, span

    def _named(self, setting: Setting) -> MetricPlan | None:
        """One line of a table: `breed = (breed, category) -> Accuracy`."""
        value = setting.value
        if not isinstance(value, Closure) or not isinstance(value.expression, syntax.Expr):
            return None
        expression, outer = value.expression, value.scope
        stages = expression.stages if isinstance(expression, syntax.Chain) else (expression,)
        last = stages[-1]
        if not self._is_metric(last, outer.scope):
            return self._scalar(setting.key, value, setting.span)
        try:
            recipe = self._elaborator.evaluate(last, outer)
        except ProblemError as error:
            self._elaborator.add(error.problem)
            return None
        use = use_of(self._elaborator, recipe, self._elaborator.library.metrics, "a metric", last.span)
        compared = self._flow
        if len(stages) > 1:
            head = stages[0] if len(stages) == 2 else syntax.Chain(stages[:-1], span=stages[0].span.to(stages[-2].span))
            compared = applied(
                self._elaborator, Closure(head, outer), self._flow, self._scope, self._builder, head.span
            )
            if compared is None:
                return None
        if use is None:
            return None
        if not (isinstance(compared, tuple) and len(compared) == 2 and all(isinstance(v, Value) for v in compared)):
            reason = f"it compares two tensors: `{setting.key} = (output, target) -> {use.name}`"
            self._elaborator.add(MetricMismatch(span=last.span, metric=use.name, reason=reason))
            return None
        names = f"{setting.key}.output", f"{setting.key}.target"
        self._fields |= dict(zip(names, compared, strict=True))
        return self._class(setting.key, use, (compared[0].type, compared[1].type), names)

    def _is_metric(self, stage: syntax.Expr, scope: Scope) -> bool:
        """Whether a stage is a metric of torchmetrics, or of an `extern`, and not a step on the way to a number."""
        head = stage.function if isinstance(stage, syntax.Call) else stage
        if not isinstance(head, syntax.Name):
            return False
        value = scope.lookup(head.id)
        if value is MISSING:
            return head.id in self._elaborator.library.metrics
        target = value.target if isinstance(value, Recipe) else None
        statement = target.statement if isinstance(target, BlockRef) else None
        return isinstance(statement, syntax.Extern) and statement.kind == "metric"

    def _class(self, name: str, use: Use, types: tuple[Any, Any], names: tuple[str, str]) -> MetricPlan | None:
        output, target = types
        if not isinstance(output, TensorType) or not isinstance(target, TensorType):
            return None
        declared = use.declaration
        wrong = declared.accepts(output, target)
        if wrong is None:
            completed = declared.complete(use.settings, output, target)
            wrong = None if declared.python is not None else contradicted(use.settings, completed)
        if wrong is not None:
            self._elaborator.add(MetricMismatch(span=use.span, metric=use.name, reason=wrong))
            return None
        path, arguments = completed
        if target.classes is not None and target.rank > 1 and arguments.get("ignore_index", NO_CLASS) is None:
            arguments = {**arguments, "ignore_index": NO_CLASS}  # as the losses do: of pixels, of tokens
        higher, python = declared.higher_is_better, declared.python
        return MetricPlan(name, path, arguments, *names, higher, use.span, python, declared.is_matrix)

    def _scalar(self, name: str, value: Any, span: Span) -> MetricPlan | None:
        """A metric that the file itself computes: one number for each batch."""
        result = applied(self._elaborator, value, self._flow, self._scope, self._builder, span)
        if result is None or (isinstance(result, Value) and not is_known(result.type)):
            return None
        if not isinstance(result, Value) or not is_known(result.type) or result.type.dims:
            found = str(result.type) if isinstance(result, Value) else "several tensors"
            notes = ("reduce it to one number: `mean`, or end with a metric: `-> Accuracy`",)
            self._elaborator.add(LossNotScalar(span=span, what=f"the metric `{name}`", found=found, notes=notes))
            return None
        self._fields[name] = result
        return MetricPlan(name, "", {}, name, "", None, span)

    def _refuse_training_only(self) -> None:
        """What exists in training only cannot be measured in evaluation."""
        given = {value: str(value.name) for value in self._builder.inputs if value.name in self._found.training_only}
        absent = in_training_only(self._builder.steps, given)
        for name, value in self._fields.items():
            if value in absent:
                key = name.partition(".")[0]
                advice = "a metric is measured in evaluation too"
                what = f"the metric `{key}`"
                span = self._plans[key].span if key in self._plans else self._span
                self._elaborator.add(TrainingOnly(span=span, what=what, origin=absent[value], advice=advice))
                self._whole = False
                return


def _probabilities(loss: LossPlan) -> Iterator[str]:
    """The fields that a cross entropy takes as probabilities of classes, one of which is right."""
    names = dict(zip(loss.body.inputs, loss.body.input_names, strict=True))
    for step in loss.body.steps:
        if isinstance(step, Apply) and step.operator.name in ("CrossEntropyLoss", "cross_entropy"):
            target = step.arguments["target"]
            if target.type.dtype in FLOATING and target in names:
                yield names[target]


def _is_block(recipe: Recipe) -> bool:
    statement = recipe.target.statement if isinstance(recipe.target, BlockRef) else None
    return isinstance(statement, syntax.Block)


def snake(name: str) -> str:
    """`MeanSquaredError` as it is logged: `mean_squared_error`; `AUROC` as `auroc`."""
    text = ""
    for i, character in enumerate(name):
        starts_word = character.isupper() and i > 0 and (name[i - 1].islower() or name[i + 1 : i + 2].islower())
        text += ("_" if starts_word else "") + character.lower()
    return text


# ---------------------------------------------------------------------------------------------------- watching


class Measured:
    """What a run measures: its losses, and terms of them, which may exist in training only, and its metrics."""

    def __init__(self, train: TrainPlan) -> None:
        self._train = train
        self.matrices = {metric.name for metric in train.metrics if metric.is_matrix}
        """The metrics that are no single numbers."""

    def numbers(self, role: str) -> list[str]:
        """The names of what can be watched in a role."""
        train = self._train
        found = ["loss", *(turn.name for turn in train.turns if turn.name)]
        for loss in train.losses:
            result = loss.body.result
            absent = result.training_only if isinstance(result, Record) and role != "train" else frozenset()
            found += [term for term in loss.terms if term not in absent]
        measures = role != "train" or train.measures_training
        return [*found, *(metric.name for metric in train.metrics if measures and not metric.is_matrix)]


def watch(
    elaborator: Elaborator,
    value: Recipe | None,
    roles: Collection[str],
    measured: Measured | None,
    span: Span,
) -> Watch | None:
    """What `best` or `early_stop` looks at. `measured` is none where that is not known after an error."""
    if value is None:
        return None
    first = value.arguments[0].value
    settings = {str(given.name): given.value for given in value.arguments[1:]}
    if isinstance(first, Watched):
        check_watched(elaborator, first, roles, measured, value.arguments[0].span)
        return Watch(first.name, value.name, settings, span)
    return None


def check_watched(
    elaborator: Elaborator,
    watched: Watched,
    roles: Collection[str],
    measured: Measured | None,
    span: Span,
) -> None:
    """What is watched must be measured in this run."""
    role, _, name = watched.name.partition(".")
    names = () if measured is None else measured.numbers(role)
    if role not in roles:
        elaborator.add(
            MonitorWithoutVal(
                span=span, watched=watched.name, reason=f"`data` has no `{role}`, so nothing is measured on it"
            )
        )
    elif measured is not None and name in measured.matrices:
        reason = "it is a matrix, and only single numbers become better or worse"
        elaborator.add(MonitorWithoutVal(span=span, watched=watched.name, reason=reason))
    elif measured is not None and name not in names:
        near = nearest(name, names)
        hint = f"; did you mean `{role}.{near}`?" if near else ""
        listed = ", ".join(f"`{role}.{other}`" for other in names)
        fixes = (Fix(f"write `{role}.{near}`", (Edit(span, f"{role}.{near}"),)),) if near else ()
        reason = f"this run measures {listed}{hint}"
        elaborator.add(MonitorWithoutVal(span=span, watched=watched.name, reason=reason, fixes=fixes))
