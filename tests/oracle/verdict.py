"""The verdict on a whole file: right, or refused by the language or by torch."""

from dataclasses import dataclass

from expc.diagnostics import Report, Source
from expc.spec import syntax
from expc.spec.parser import parse
from oracle import names
from oracle.bodies import Runner
from oracle.errors import NotCovered, Refused
from oracle.models import Ran, check_model, recipe_model
from oracle.values import Place


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
    names.check(tree)
    runner = Runner(tree)
    for statement in tree.statements:
        if isinstance(statement, syntax.Let):
            runner.name(statement.name, Place(runner.file))
    _models(tree, runner)


def _models(tree: syntax.File, runner: Runner) -> Ran | None:
    """Run every model that no other uses; gives the last."""
    mentioned: set[str] = set()
    for statement in tree.statements:
        mentioned |= names.names(statement) - {getattr(statement, "name", None)}
    main = None
    for statement in tree.statements:
        if isinstance(statement, syntax.ModelOf):
            block, arguments = recipe_model(runner, statement)
            main = check_model(tree, block, arguments)
        elif isinstance(statement, syntax.Block) and statement.kind == "model" and statement.name not in mentioned:
            main = check_model(tree, statement)
    return main
