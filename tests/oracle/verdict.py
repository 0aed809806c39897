"""The verdict on a whole file: right, or refused by the language or by torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from expc.diagnostics import Report, Source
from expc.spec import syntax
from expc.spec.parser import parse
from oracle import names
from oracle.bodies import Runner
from oracle.errors import LanguageRefused, NotCovered, Refused
from oracle.models import check_model, recipe_model
from oracle.values import Argument, Place


@dataclass(frozen=True)
class Verdict:
    """`kind`: `right`, `syntax`, `language`, `torch`, or `open` where the oracle does not know."""

    kind: str
    rule: str = ""
    message: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the program may run."""
        return self.kind == "right"


def verdict(text: str, name: str = "input.exp") -> Verdict:
    """What is to be said about a file."""
    report = Report()
    tree = parse(Source(name, text), report)
    if any(problem.severity == "error" for problem in report.problems):
        return Verdict("syntax", report.problems[0].code, report.problems[0].message)
    try:
        check(tree)
    except Refused as refused:
        return Verdict(refused.kind, refused.rule, refused.message)
    except NotCovered as reason:
        return Verdict("open", "not covered", str(reason))
    return Verdict("right")


def check(tree: syntax.File) -> None:
    """Raise what the language or torch has against a file."""
    from oracle import experiment, sections

    names.check(tree)
    runner = Runner(tree)
    for statement in tree.statements:
        if isinstance(statement, syntax.Let):
            runner.name(statement.name, Place(runner.file))
    found = sections.read(tree, runner)
    mains = list(_mains(tree, runner))
    ran = [check_model(tree, block, arguments) for block, arguments in mains]
    if len(mains) > 1 and "train" in found:
        raise LanguageRefused("several models", mains[1][0].name)
    experiment.check(tree, found, ran[-1] if ran else None, mains[-1] if mains else None)


def _mains(tree: syntax.File, runner: Runner) -> Iterator[tuple[syntax.Block, tuple[Argument, ...]]]:
    """Every model that no other declaration uses, with its settings."""
    used = {
        name
        for statement in tree.statements
        for name in names.names_used(statement) - {getattr(statement, "name", None)}
    }
    models = [s for s in tree.statements if isinstance(s, syntax.Block) and s.kind == "model"]
    if models and all(model.name in used for model in models):
        used -= {models[-1].name}
    for statement in tree.statements:
        if isinstance(statement, syntax.ModelOf) and statement.name not in used:
            yield recipe_model(runner, statement)
        elif isinstance(statement, syntax.Block) and statement.kind == "model" and statement.name not in used:
            yield statement, ()
