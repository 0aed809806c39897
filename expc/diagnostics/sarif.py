"""Problems as SARIF 2.1.0, which code scanning services read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from expc.diagnostics.problem import Fix, Label, Problem
from expc.diagnostics.source import Source, Span

_LEVELS: Final = {"error": "error", "warning": "warning", "hint": "note"}


def render(problems: Iterable[Problem], allowed: Iterable[tuple[Problem, str]] = (), version: str = "") -> str:
    """All of `problems` as one SARIF text, and those that comments in the files allow, as suppressed results.

    `version` is that of expc.
    """
    found = [(problem, None) for problem in problems]
    everything: list[tuple[Problem, str | None]] = [*found, *allowed]
    rules = list({problem.code: type(problem) for problem, _ in everything}.values())
    driver = {
        "name": "expc",
        **({"version": version} if version else {}),
        "rules": [_rule(kind) for kind in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, reason, rules) for problem, reason in everything],
    }
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def _rule(kind: type[Problem]) -> dict[str, Any]:
    title, _, _ = (kind.__doc__ or kind.name).strip().partition("\n\n")
    return {
        "id": kind.code,
        "name": kind.name,
        "shortDescription": {"text": " ".join(title.split())},
        "defaultConfiguration": {"level": _LEVELS[kind.severity]},
    }


def _result(problem: Problem, reason: str | None, rules: Sequence[type[Problem]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": [kind.code for kind in rules].index(problem.code),
        "level": _LEVELS[problem.severity],
        "message": {"text": "\n".join([problem.message, *problem.notes])},
        "locations": [{"physicalLocation": _location(problem.span)}],
        "relatedLocations": [_related(number, label) for number, label in enumerate(problem.labels)],
        "fixes": [_fix(fix) for fix in problem.fixes],
    }
    if reason is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": reason}]
    return result


def _related(number: int, label: Label) -> dict[str, Any]:
    return {"id": number, "message": {"text": label.text}, "physicalLocation": _location(label.span)}


def _location(span: Span) -> dict[str, Any]:
    return {"artifactLocation": _artifact(span.source), "region": _region(span)}


def _artifact(source: Source) -> dict[str, str]:
    path = Path(source.name)
    return {"uri": path.as_uri() if path.is_absolute() else quote(path.as_posix())}


def _region(span: Span) -> dict[str, int]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
        "charOffset": span.start,
        "charLength": span.end - span.start,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    """A fix, its edits file by file. SARIF has no word for how safe it is; `properties` has ours."""
    changes: dict[str, dict[str, Any]] = {}
    for edit in fix.edits:
        artifact = _artifact(edit.span.source)
        change = changes.setdefault(artifact["uri"], {"artifactLocation": artifact, "replacements": []})
        replacement = {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        change["replacements"].append(replacement)
    return {
        "description": {"text": fix.title},
        "artifactChanges": list(changes.values()),
        "properties": {"safety": fix.safety},
    }
