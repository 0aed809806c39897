"""A line that opens a body is missing: what stands in it, and the `}` that ends it, are one problem."""

from collections.abc import Sequence

from expc.diagnostics import Edit, Fix, Label, Problem, Span
from expc.spec import syntax
from expc.spec.errors.brackets import Surplus
from expc.spec.errors.syntax import Misplaced


def joined(problems: Sequence[Problem], tree: syntax.File) -> list[Problem]:
    """The problems, those of a body without its first line as one, at its `}`."""
    found: list[Problem] = []
    for problem in sorted(problems, key=lambda problem: (problem.span.source.name, problem.span.start)):
        body = _body(problem, found, tree) if isinstance(problem, Surplus) and problem.span.text == "}" else []
        if not body:
            found.append(problem)
            continue
        found = [other for other in found if other not in body]
        label = Label(body[0].span, "the line that opens the body is missing before this")
        what = f"ends a body that nothing opens: {_header(body)} is missing above"
        found.append(Surplus(span=problem.span, bracket="}", what=what, labels=(label,), fixes=_opened(body)))
    return found


def _body(end: Problem, before: Sequence[Problem], tree: syntax.File) -> list[Misplaced]:
    """The statements that cannot stand at top level since the last one that can, up to `end`."""
    source = end.span.source
    found = [problem for problem in before if isinstance(problem, Misplaced) and problem.span.source is source]
    starts = {problem.span.start for problem in found}  # some were read as if they stood in their place
    good = [s.span for s in tree.statements if s.span.source is source and s.span.start not in starts]
    last = max((span.end for span in good if span.end <= end.span.start), default=0)
    return [problem for problem in found if problem.span.start >= last]


def _section(body: Sequence[Misplaced]) -> str | None:
    """The section that has all the settings, if they are settings."""
    names = [problem.what.removeprefix("`").partition(" =")[0] for problem in body if " =" in problem.what]
    if len(names) != len(body):
        return None
    from expc.spec.sections import SECTIONS, keys

    return next((section for section, model in SECTIONS.items() if set(names) <= keys(model).keys()), None)


def _header(body: Sequence[Misplaced]) -> str:
    section = _section(body)
    return f"`{section} {{`" if section is not None else "a line such as `model Net(x: f32[N, 8]) {`"


def _opened(body: Sequence[Misplaced]) -> tuple[Fix, ...]:
    section, first = _section(body), body[0].span
    if section is None:
        return ()
    at = first.source.line_starts[first.line - 1]
    return (Fix(f"open it: `{section} {{`", (Edit(Span(first.source, at, at), f"{section} {{\n"),)),)
