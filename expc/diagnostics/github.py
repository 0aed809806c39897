"""Problems as workflow commands of GitHub Actions, which shows them at their lines in a pull request.

::error file=net.exp,line=2,col=3,endLine=2,endColumn=13,title=E0309 result-mismatch::`Net` is declared as ...
"""

from typing import Final

from expc.diagnostics.problem import Problem
from expc.diagnostics.text import changed, place

_COMMANDS: Final = {"error": "error", "warning": "warning", "hint": "notice"}


def render(problem: Problem) -> str:
    """`problem` as one workflow command, without a line break at the end."""
    source = problem.span.source
    line, column = source.position(problem.span.start)
    end_line, end_column = source.position(problem.span.end)
    properties = {
        "file": source.name,
        "line": line,
        "col": column,
        "endLine": end_line,
        "endColumn": end_column,
        "title": f"{problem.code} {problem.name}",
    }
    where = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    places = [f"{place(label.span)}: {label.text}" for label in problem.labels]
    helps = [line for fix in problem.fixes for line in (f"help ({fix.safety}): {fix.title}", *changed(fix))]
    text = "\n".join([problem.message, *places, *problem.notes, *helps])
    return f"::{_COMMANDS[problem.severity]} {where}::{_message(text)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
