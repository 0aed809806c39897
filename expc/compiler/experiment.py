"""Checking one experiment: its settings, its model, its data, and how they fit together."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from typing import Any

from expc.compiler.errors.experiment import MissingRole
from expc.compiler.errors.names import ModelAmbiguous, Recursion
from expc.compiler.graph import Value
from expc.compiler.library.lookup import Library
from expc.compiler.lints import findings
from expc.compiler.model import externs
from expc.compiler.model.declarations import File, name_span
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.models import Checked, check_model
from expc.compiler.model.patterns import check_setting_type
from expc.compiler.model.requirements import Conditions
from expc.compiler.model.scope import BlockRef, Context, Scope
from expc.compiler.model.written import Written
from expc.compiler.names import check_unused, names_in
from expc.compiler.plans import check_data, check_loss, check_metrics, check_sections, feed, roles
from expc.compiler.plans.loss_hints import LossHints
from expc.compiler.plans.train_plan import measured_names, train_plan
from expc.compiler.program import DataPlan, Program, TrainPlan, Watch
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import ProblemError, Report
from expc.spec import syntax
from expc.spec.experiment import Experiment
from expc.spec.values import UNEVALUATED, Recipe, Setting, Table, origin


class ExperimentChecker:
    """Checks the experiment of one file, part by part; a part that is broken does not hide the others."""

    def __init__(
        self, library: Library, report: Report, file: File, name: str, lints: AbstractSet[str] = frozenset()
    ) -> None:
        self.library, self.report, self.file, self.name, self.lints = library, report, file, name, lints
        self.elaborator = Elaborator(library, report)
        self.tables: dict[str, Table] = {}
        self.bound: Experiment | None = None
        self.models: dict[str, Checked] = {}
        self.outcomes: dict[str, check_loss.Outcome] = {}

    def settings(self) -> None:
        """Evaluate the sections and bind them to their models."""
        if not any(isinstance(statement, syntax.Section) for statement in self.file.tree.statements):
            self.bound = Experiment(name=self.name)
            return
        from expc.compiler.plans.settings import Settings  # with Pydantic, half of what a check imports
        from expc.spec.binding import bind

        self.tables = Settings(self.elaborator, self.file.scope).tables(self.file.tree.statements)
        lets = [s.name for s in self.file.tree.statements if isinstance(s, syntax.Let)]
        self.bound = bind(self.name, self.tables, self.report, lets)

    def check(self, files: Sequence[File]) -> Program | None:
        """Check everything that these `files`, imports among them, say of the experiment.

        Gives the program, which counts only when the report has no errors.
        """
        check_unused(self.file.tree, self.report)
        self._constants()
        for problem in externs.check_all(self.elaborator, self.file.tree, self.file.scope):
            self.report.add(problem)
        assert self.bound is not None  # noqa: S101 - settings() comes first
        plans: dict[str, DataPlan] = {}
        if self.bound.data is not None:
            plans = check_data.plans(self.elaborator, self.bound.data, self.tables["data"], self.report)
        self.elaborator.classes = check_data.classes(plans.values())
        self._check_models()
        main = self._main()
        program = Program(
            name=self.name,
            source=self.file.source,
            experiment=self.bound,
            model=None if main is None else main.model,
            data=plans,
            train=None,
            best=None,
            sources=tuple(file.source for file in files),
            python=tuple(externs.modules([file.tree for file in files])),
        )
        program = self._experiment(program, main)
        if not self.report.has_errors:
            self._say_what_is_unchecked()
            for problem in findings(program, [file.tree for file in files], self.lints):
                self.report.add(problem)
                if self.report.is_full:
                    break
        return program

    def _constants(self) -> None:
        """Evaluate every `let`, used or not."""
        for statement in self.file.tree.statements:
            if self.report.is_full:
                return
            if isinstance(statement, syntax.Let) and self.file.scope.places.get(statement.name) is not None:
                try:
                    node = syntax.Name(statement.name, span=name_span(statement))
                    self.elaborator.name(node, Context(self.file.scope))
                except ProblemError as error:
                    self.report.add(error.problem)

    # ------------------------------------------------------------------------------------------------ models

    @cached_property
    def _mentioned(self) -> set[str]:
        """Names that some declaration of the file mentions, other than its own."""
        found: set[str] = set()
        for statement, names in zip(self.file.tree.statements, self.file.tree.mentioned, strict=True):
            found |= names - {getattr(statement, "name", None)}
        return found

    def _check_models(self) -> None:
        """Elaborate every model, and every block that none of them used, as far as that goes on its own."""
        statements = [s for s in self.file.tree.statements if isinstance(s, syntax.Block)]
        used = self._mentioned
        for parameter in (parameter for statement in statements for parameter in statement.parameters):
            try:
                check_setting_type(parameter.type)
            except ProblemError as error:
                self.report.add(error.problem)
        for statement in statements:
            if statement.kind == "model":
                self._model(statement, lenient=statement.name in used)
        for statement in statements:
            if statement.kind == "block" and statement.name not in self.elaborator.elaborated:
                self._model(statement, lenient=True)

    def _say_what_is_unchecked(self) -> None:
        """One hint for the branches that nothing takes, and for what depends on settings that nothing gives."""
        blocks = [s for s in self.file.tree.statements if isinstance(s, syntax.Block)]
        if any(s.kind == "block" and s.name not in self.elaborator.elaborated for s in blocks) or any(
            isinstance(node, syntax.If) for statement in blocks for node in statement.inside
        ):
            from expc.compiler.lints.unchecked_branch import unchecked

            problem = unchecked(blocks, self.elaborator.taken, self.elaborator.elaborated)
            if problem is not None:
                self.report.add(problem)

    def _model(self, statement: syntax.Block, *, lenient: bool) -> None:
        self.elaborator.conditions = Conditions(lenient=lenient)
        checked = check_model(self.elaborator, statement, self.file.scope, lenient=lenient)
        if checked is not None and statement.kind == "model":
            self.models[statement.name] = checked

    def _main(self) -> Checked | None:
        """The model that the experiment is about: the one that no other uses."""
        used = self._mentioned
        declared = [s for s in self.file.tree.statements if isinstance(s, syntax.Block | syntax.ModelOf)]
        roots = [s for s in declared if s.name not in used and (isinstance(s, syntax.ModelOf) or s.kind == "model")]
        if len(roots) > 1 and "train" in self.tables:
            names = ", ".join(f"`{s.name}`" for s in roots)
            reason = f"an experiment trains one model, and this file has {len(roots)} that no other uses: {names}"
            self.report.add(ModelAmbiguous(span=name_span(roots[1]), reason=reason))
            return None
        if not roots:
            return self._imported_model()
        root = roots[-1]
        return self._made(root, self.file.scope) if isinstance(root, syntax.ModelOf) else self.models.get(root.name)

    def _imported_model(self) -> Checked | None:
        """A file without a model of its own may import one."""
        values = self.file.scope.values.values()
        targets = [value.target for value in values if isinstance(_declaration(value), syntax.Block | syntax.ModelOf)]
        roots = [t for t in targets if isinstance(t.statement, syntax.ModelOf) or t.statement.kind == "model"]
        if len(roots) != 1:
            return None
        (root,) = roots
        if isinstance(root.statement, syntax.ModelOf):
            return self._made(root.statement, root.scope)
        self.elaborator.conditions = Conditions()
        return check_model(self.elaborator, root.statement, root.scope)

    def _made(self, statement: syntax.ModelOf, scope: Scope) -> Checked | None:
        """`model NAME = recipe`: the recipe's model with its settings, by way of other such models or not."""
        value: Any = Recipe(statement.name, target=BlockRef(statement, scope))
        unfolded: list[syntax.ModelOf] = []
        while isinstance(of := _declaration(value), syntax.ModelOf) and of not in unfolded:
            unfolded.append(of)
            try:
                made = self.elaborator.evaluate(of.value, Context(value.target.scope))
            except ProblemError as error:
                if not isinstance(error.problem, Recursion):
                    self.report.add(error.problem)
                return None
            if made is UNEVALUATED:
                return None
            value = replace(made, arguments=made.arguments + value.arguments) if isinstance(made, Recipe) else made
        inner = _declaration(value)
        if not isinstance(inner, syntax.Block) or inner.kind != "model":
            reason = f"`{unfolded[-1].value.span.text}` is not a recipe of a model"
            self.report.add(ModelAmbiguous(span=unfolded[-1].value.span, reason=reason))
            return None
        self.elaborator.conditions = Conditions()
        return check_model(self.elaborator, inner, value.target.scope, arguments=value.arguments)

    # ------------------------------------------------------------------------------------------------ the experiment

    def _experiment(self, program: Program, main: Checked | None) -> Program:
        bound, plans = program.experiment, program.data
        written = Written(self.tables, bound, self.report)
        inputs: dict[str, str] = {}
        found = None
        if main is not None and bound.data is not None:
            inputs, found = self._feed(main, plans, bound.data.batch)
        train = None
        if bound.train is not None:
            self._check_parts(bound, main, written)
            if main is not None:
                train = train_plan(
                    self.elaborator, bound, main.model, plans, found, self.outcomes, self.file.scope, written
                )
                mentioned = set(names_in(tuple(s for s in self.file.tree.statements if _is_section(s, "train"))))
                place = written.span("train", "loss")
                parts = self.outcomes, mentioned, bound.train
                roles.check_roles(self.elaborator, main.model, plans, *parts, self.file.scope, place)
            if bound.data is not None and "train" in plans:
                places = written.span("data", "drop_last"), written.span("train", "accumulate")
                check_data.check_batches(plans["train"], bound.data, bound.train.accumulate, *places, self.report)
        best = self._best(bound, plans, train, written)
        model = None if main is None else main.model
        check_sections.check_sections(self.elaborator, bound, model, written.span)
        if bound.distributed is not None:
            from expc.compiler.plans.check_distributed import check_distributed

            check_distributed(self.elaborator, bound.distributed, bound.train, model, train, written.span)
        later = tuple(check_sections.later(bound, written.span))
        return Program(
            name=program.name,
            source=program.source,
            experiment=bound,
            model=program.model,
            data=plans,
            train=train,
            best=best,
            inputs=inputs,
            sources=program.sources,
            python=program.python,
            lets=self._lets(),
            later=later,
        )

    def _lets(self) -> tuple[Setting, ...]:
        found = []
        for statement in self.file.tree.statements:
            if isinstance(statement, syntax.Let):
                node = syntax.Name(statement.name, span=name_span(statement))
                try:
                    value = self.elaborator.name(node, Context(self.file.scope))
                except ProblemError:
                    continue
                span = statement.value.span
                found.append(Setting(statement.name, value, span, node.span, origin(span)))
        return tuple(found)

    def _check_parts(self, bound: Experiment, main: Checked | None, written: Written) -> None:
        span = written.span("train")
        if bound.data is None or bound.data.train is None:
            broken = bound.data is not None and any(s.key == "train" for s in written.settings("data"))
            if not broken and not self.report.has_errors:
                self.report.add(MissingRole(span=span, what="data to learn from: `data { train = ... }`"))
        declared = any(isinstance(s, syntax.Block | syntax.ModelOf) for s in self.file.tree.statements)
        if main is None and not declared and not self.report.has_errors:
            self.report.add(MissingRole(span=span, what="a model"))

    def _feed(self, main: Checked, plans: Any, batch: int) -> tuple[dict[str, str], Any]:
        inputs: dict[str, str] = {}
        found = None
        refusals: list[Any] = []
        for role, plan in plans.items():
            try:
                chosen, sizes = feed.feed(main.model, plan, batch)
            except ProblemError as error:
                refusals.append(error.problem)
                continue
            outcome = check_loss.outcome(main.model, main.result, plan, chosen, sizes)
            if outcome is not None:
                self.outcomes[role] = outcome
            if role == "train" or not inputs:
                inputs = chosen
                found = outcome
            if role == "train" and not self._instantiate(main, plan, chosen):
                found = None
        for problem in feed.together(refusals, len(plans)):
            self.report.add(problem)
        if found is not None:
            self.elaborator.explain = LossHints(found, plans.values())
        return inputs, found

    def _instantiate(self, main: Checked, plan: Any, chosen: dict[str, str]) -> bool:
        """Whether the model is right with what is known of the data's values too: tokens below a vocabulary's size."""
        fields = {field.name: field.type for field in plan.fields}
        if main.has_errors or not any(fields[name].classes is not None for name in chosen.values()):
            return True
        given = {}
        for name, value in zip(main.model.body.input_names, main.model.body.inputs, strict=True):
            if isinstance(value, Value) and is_known(value.type) and name in chosen:
                type_ = fields[chosen[name]]
                given[name] = TensorType(type_.dtype, (value.type.dims[0], *type_.dims), type_.classes)
        self.elaborator.conditions = Conditions()
        self.elaborator.looks_again = True
        again = check_model(self.elaborator, main.statement, main.home, given, arguments=main.arguments)
        self.elaborator.looks_again = False
        return again is not None and not again.has_errors

    def _best(self, bound: Experiment, plans: Any, train: TrainPlan | None, written: Written) -> Watch | None:
        if bound.checkpoint is None or bound.checkpoint.best is None:
            return None
        span = written.span("checkpoint", "best")
        return check_metrics.watch(
            self.elaborator, bound.checkpoint.best, written.roles(plans), measured_names(train), span
        )


def _declaration(value: Any) -> syntax.Block | syntax.ModelOf | syntax.Extern | None:
    """What a recipe is a recipe of, where a file declares it."""
    target = value.target if isinstance(value, Recipe) else None
    return target.statement if isinstance(target, BlockRef) else None


def _is_section(statement: syntax.Statement, name: str) -> bool:
    return isinstance(statement, syntax.Section) and statement.name == name
