"""Diagnostics: source text and spans, problems as data, and how they are shown.

Comes in: spans and facts from any floor above. Goes out: terminal, JSON or GitHub text. Always true: this package
imports nothing of expc and nothing outside the standard library; how a problem looks is decided here, nowhere else.
"""

from expc.diagnostics.problem import Edit, Fix, Label, Problem, ProblemError, Report, Safety, Severity
from expc.diagnostics.source import Source, Span

__all__ = ["Edit", "Fix", "Label", "Problem", "ProblemError", "Report", "Safety", "Severity", "Source", "Span"]
