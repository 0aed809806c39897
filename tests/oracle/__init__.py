"""An independent oracle for `.exp` programs: it runs them with torch itself, and knows no type rule.

The compiler reasons; the oracle does. It walks the syntax tree (`expc.spec`), makes every layer as torch's own class
with what arrives (as torch's lazy modules are made), calls torch's own functions, all on the meta device, and sees
whether torch raises. Nothing of `expc.compiler` is imported: no operator table, no type rule, no arithmetic of sizes.

    from oracle import forward, parse_tree, verdict

    verdict(text)                      # Verdict(kind="right" | "syntax" | "language" | "torch" | "open", rule, message)

    tree = parse_tree(text)            # raises LanguageRefused for broken text
    ran = forward(tree, "Net", {"N": 3, "H": 32})        # sizes of the named dimensions of the inputs
    ran.shapes()                       # (3, 10), or a tuple of shapes where there are several results
    ran.result                         # the tensors: `.data` is on the meta device, with torch's dtype
    dict((key, tuple(t.shape)) for key, t, is_buffer in ran.frame.entries())   # the state_dict's keys and shapes

`forward` raises `LanguageRefused` (a rule of the language: unknown names, unused names, two labels alike, unbatched
forms ...), `TorchRefused` (torch raised; `.rule` is the class of its error) and `NotCovered` (the oracle does not know
this part of the language and has no verdict). `check_model(tree, block)` runs a model at several large sizes that its
`where` allows, and refuses what is decided differently from size to size. What the meta device cannot see (indices and
classes out of range) is followed through whole-number tensors whose values are known (`arange`, data with classes).
"""

from expc.diagnostics import Report, Source
from expc.spec import syntax
from expc.spec.parser import parse
from oracle.errors import LanguageRefused, NotCovered, Refused, TorchRefused
from oracle.models import Ran, check_model, find, forward
from oracle.values import Tensor
from oracle.verdict import Verdict, verdict

__all__ = [
    "LanguageRefused",
    "NotCovered",
    "Ran",
    "Refused",
    "Tensor",
    "TorchRefused",
    "Verdict",
    "check_model",
    "find",
    "forward",
    "parse_tree",
    "verdict",
]


def parse_tree(text: str, name: str = "input.exp") -> syntax.File:
    """The syntax tree of a text. Raises `LanguageRefused` where it is broken."""
    report = Report()
    tree = parse(Source(name, text), report)
    if report.problems:
        raise LanguageRefused(report.problems[0].code, report.problems[0].message)
    return tree
