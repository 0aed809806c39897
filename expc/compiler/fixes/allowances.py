"""`# allow(rule-name): reason`: the lints that a comment silences, and the comments that silence none."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from expc.diagnostics import Problem, Source
from expc.frozen import dataclass
from expc.spec.trivia import Allowance, trivia


@dataclass(frozen=True)
class Allowed:
    """A lint that `# allow(its name): reason` silences; `reason` is empty where none is given."""

    problem: Problem
    reason: str


def split(
    problems: Sequence[Problem], source: Source, lints: AbstractSet[str]
) -> tuple[tuple[Problem, ...], tuple[Allowed, ...]]:
    """The problems less the lints that comments allow on their lines, and those.

    Comments of `source` that name no rule, or silence nothing though there is no error, are problems of their own.
    """
    found = [problem for problem in problems if problem.severity != "error"]
    sources = {lint.span.source for lint in found} | {source}
    written = [(text, allowance) for text in sources if "allow(" in text.text for allowance in trivia(text).allowances]
    if not written:
        return tuple(problems), ()
    by_place = {(text, allowance.line, allowance.rule): allowance for text, allowance in written}
    silenced: dict[int, Allowance] = {}
    for lint in found:
        allowance = by_place.get((lint.span.source, lint.span.line, lint.name))
        if allowance is not None:
            silenced[id(lint)] = allowance
    allowed = tuple(Allowed(lint, silenced[id(lint)].reason) for lint in found if id(lint) in silenced)
    left = [problem for problem in problems if id(problem) not in silenced]
    complete = len(found) == len(problems)
    idle = [one for text, one in written if text is source and one not in silenced.values()]
    stray = list(_stray(idle, lints, complete=complete)) if idle else []
    return (tuple(sorted([*left, *stray], key=_place)) if stray else tuple(left)), allowed


def _stray(idle: Sequence[Allowance], lints: AbstractSet[str], *, complete: bool) -> Iterator[Problem]:
    from expc.compiler.lints import OFF, names
    from expc.compiler.lints.unknown_rule import UnknownRule
    from expc.compiler.lints.unused_allow import UnusedAllow
    from expc.diagnostics import Edit, Fix, Span
    from expc.spec.suggest import advice, nearest

    known = names()
    for allowance in idle:
        at = allowance.span.start + allowance.span.text.index(allowance.rule)
        place = Span(allowance.span.source, at, at + len(allowance.rule))
        if allowance.rule not in known:
            near = nearest(allowance.rule, known)
            fixes = () if near is None else (Fix(f"write `{near}`", (Edit(place, near),)),)
            yield UnknownRule(span=place, rule=allowance.rule, hint=advice(near), fixes=fixes)
        elif complete and (allowance.rule not in OFF or allowance.rule in lints):
            yield UnusedAllow(span=place, rule=allowance.rule)


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.span.source.name, problem.span.start, problem.span.end
