"""Problems as JSON: the contract that tools build on.

    {"version": 1, "diagnostics": [...], "errors": 1, "warnings": 0, "allowed": [...]}

A diagnostic has `code`, `name`, `severity`, `message`, `file`, `start`, `end`, `labels`, `notes` and `fixes`. A place
is `{"line": 1, "column": 1, "offset": 0}`: line and column from 1, the offset in code points from 0. `allowed` holds
the diagnostics that comments silence, each with the `reason` that is given there.
"""

import json
from collections.abc import Iterable
from typing import Any

from expc.diagnostics.problem import Edit, Fix, Label, Problem
from expc.diagnostics.source import Source, Span


def render(problems: Iterable[Problem], allowed: Iterable[tuple[Problem, str]] = ()) -> str:
    """All of `problems` as one JSON text, and those that are `allowed`, with their reasons."""
    found = list(problems)
    return json.dumps(
        {
            "version": 1,
            "diagnostics": [diagnostic(problem) for problem in found],
            "errors": sum(problem.severity == "error" for problem in found),
            "warnings": sum(problem.severity == "warning" for problem in found),
            "allowed": [{**diagnostic(problem), "reason": reason} for problem, reason in allowed],
        },
        indent=2,
    )


def diagnostic(problem: Problem) -> dict[str, Any]:
    """One problem as plain data."""
    return {
        "code": problem.code,
        "name": problem.name,
        "severity": problem.severity,
        "message": problem.message,
        **_where(problem.span),
        "labels": [_label(label) for label in problem.labels],
        "notes": list(problem.notes),
        "fixes": [_fix(fix) for fix in problem.fixes],
    }


def _where(span: Span) -> dict[str, Any]:
    return {
        "file": span.source.name,
        "start": _place(span.source, span.start),
        "end": _place(span.source, span.end),
    }


def _place(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    return {"line": line, "column": column, "offset": offset}


def _label(label: Label) -> dict[str, Any]:
    return {"text": label.text, **_where(label.span)}


def _fix(fix: Fix) -> dict[str, Any]:
    return {"title": fix.title, "safety": fix.safety, "edits": [_edit(edit) for edit in fix.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    return {**_where(edit.span), "text": edit.text}
