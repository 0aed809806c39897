"""PyTorch that was pasted from Python: a line of it, in the language.

Read by Python's own `ast`, only where a line has an error and looks like Python. What cannot be translated surely is
left to the problems that were found in it.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from expc.compiler.errors.pasted import PythonLine
from expc.compiler.library.lookup import Library
from expc.diagnostics import Edit, Fix, Problem, Source, Span

_PYTHON: Final = re.compile(
    r"\b(self|nn|F|torch)\.|\bimport torch\b|\bfrom torch\b|\w\.(view|size|shape|reshape|permute)\b|^\s*return self\b"
)
_METHODS: Final = {"view": "reshape"}
_LISTS: Final = ("cat", "concat", "stack")
_OPERATORS: Final = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.MatMult: "@",
    ast.Pow: "**",
}


_BODY: Final = re.compile(r"\s*(model|block|class|def)\b")


class _CannotTranslate(Exception):
    """A piece of Python that has no certain counterpart."""


def translated(
    source: Source, problems: Sequence[Problem], library: Library, check: Callable[[str], Sequence[Problem]]
) -> list[Problem]:
    """The problems, those of a pasted line in one that has the whole line right.

    `check` gives the problems of another text; a line counts as right when none is an error in it.
    """
    lines = source.text.splitlines()
    writer = _Writer(library, lines)
    written = {number: text for number, line in enumerate(lines, 1) if (text := writer.line(line)) is not None}
    if not written:
        return list(problems)
    changed = [written.get(number, line) for number, line in enumerate(lines, 1)]
    left = [problem for problem in check("\n".join(changed) + "\n") if problem.severity == "error"]
    wrong = {problem.span.line for problem in left}
    right = {number: text for number, text in written.items() if number not in wrong}
    if not right:
        return list(problems)
    found = {(problem.span.line, problem.code) for problem in left}
    kept = [
        problem
        for problem in problems
        if problem.severity != "error"
        or any(place.line not in right for place in _places(problem, source)[1:])
        or (problem.span.line not in right and (problem.span.line, problem.code) in found)
    ]
    sure = len(right) == len(written)
    pasted = [_problem(source, number, lines[number - 1], text, sure) for number, text in right.items()]
    return sorted([*kept, *pasted], key=lambda p: (p.span.source.name, p.span.start, p.span.end))


def _places(problem: Problem, source: Source) -> list[Span]:
    """Where a problem is, and where it is again."""
    again = (label.span for label in problem.labels if label.text == "and here")
    return [span for span in (problem.span, *again) if span.source is source]


def _problem(source: Source, number: int, line: str, text: str, sure: bool) -> PythonLine:
    start = sum(len(part) for part in source.text.splitlines(keepends=True)[: number - 1])
    begin = start + len(line) - len(line.lstrip())
    span = Span(source, begin, start + len(line.rstrip()))
    code = text.strip()
    title = f"write `{code}`" if code else "drop the line"
    fixes = (Fix(title, (Edit(span, code),), "safe" if sure else "unsafe"),)
    advice = f"here it is `{code}`" if code else "torch is always there, and a module is made where it is used"
    return PythonLine(span=span, advice=advice, fixes=fixes)


class _Flows:
    """Which name of Python is the flow, line by line.

    A name that Python binds again and again, `x = relu(x)`, is the flow of a body. What was the flow before another
    name became it cannot be named any more.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._bodies: list[Counter[str]] = [Counter()]
        for line in lines:
            if _BODY.match(line) is not None:
                self._bodies.append(Counter())
            bound = re.match(r"\s*(\w+)\s*([-+*/@]?)=(?!=)(.*)", line)
            if bound is not None:
                again = bound[2] != "" or re.search(rf"\b{bound[1]}\b", bound[3]) is not None
                self._bodies[-1][bound[1]] += 1 + again
        self._body = 0
        self._flow: str | None = None
        self._lost: set[str] = set()

    def enter(self, line: str) -> None:
        """Another body starts anew."""
        if _BODY.match(line) is not None:
            self._body, self._flow, self._lost = self._body + 1, None, set()

    def name(self, word: str) -> str:
        """What a name of Python is here. Raises `_CannotTranslate` for what has none."""
        if word in self._lost:
            raise _CannotTranslate
        return "flow" if word == self._flow else word

    def becomes(self, name: str | None) -> bool:
        """Whether a statement makes the flow, which is called `name` in Python from now on."""
        if name is not None and self._bodies[self._body][name] < 2:
            return False
        self.lose()
        self._lost.discard(str(name))
        self._flow = name
        return True

    def lose(self) -> None:
        """The flow is another one now."""
        if self._flow is not None:
            self._lost.add(self._flow)
        self._flow = None

    def renamed(self, line: str) -> str | None:
        """A line of the language that mentions what Python calls the flow; none where it does not."""
        added = re.match(r"(\s*)(\w+)\s*([-+*/@])=\s*(\w+)\s*;?\s*$", line)
        if added is not None and self._flow == added[2]:
            return f"{added[1]}flow {added[3]} {added[4]}"
        before, sign, after = line.rpartition("=") if re.match(r"\s*\w+\s*=(?!=)", line) else ("", "", line)
        if self._flow is None or re.search(rf"(?<!\.)\b{self._flow}\b(?!\s*[=:(])", after) is None:
            return None
        return before + sign + re.sub(rf"(?<!\.)\b{self._flow}\b(?!\s*[=:(])", "flow", after)


class _Writer:
    """Writes lines of Python in the language. A module that is made in one line and used in another is made there."""

    def __init__(self, library: Library, lines: Sequence[str]) -> None:
        self._library = library
        self._made: dict[str, str] = {}
        used = {name for line in lines for name in re.findall(r"\bself\.(\w+)\(", line)}
        for line in lines:
            found = re.match(r"\s*self\.(\w+)\s*=\s*(.+)", line)
            if found is not None and found[1] in used:
                with suppress(SyntaxError, ValueError, _CannotTranslate, RecursionError):
                    self._made[found[1]] = self.chain(ast.parse(found[2].strip(), mode="eval").body)
        self._waiting = dict(self._made)
        self._flows = _Flows(lines)

    def line(self, line: str) -> str | None:
        """A line in the language; none where it is no Python, or not surely to be translated."""
        self._flows.enter(line)
        if _PYTHON.search(line) is None and "super().__init__" not in line:
            return self._flows.renamed(line)
        code = line.strip().rstrip(";")
        if re.match(r"(import|from) torch\b|super\(\)\.__init__\(\)$", code):
            return ""
        if "->" in code:
            return self._flows.renamed(line)
        try:
            (statement,) = ast.parse(code).body
            text = self.statement(statement)
        except (SyntaxError, ValueError, _CannotTranslate, RecursionError):
            self._flows.lose()
            return None
        return line[: len(line) - len(line.lstrip())] + text

    def statement(self, node: ast.stmt) -> str:
        """The whole statement."""
        match node:
            case ast.Assign([ast.Attribute(ast.Name("self"), name)], value):
                return "" if name in self._made else f"{name}: {self.chain(value)}"
            case ast.AugAssign(ast.Name(name), operator, value):
                whole = ast.BinOp(ast.Name(name), operator, value)
                return self.statement(ast.Assign([ast.Name(name)], whole))
            case ast.Assign([ast.Name(name)], value):
                text = self.renamed(value)
                if not self._flows.becomes(name):
                    return f"{name} = {text}"
                return text.removeprefix("flow -> ")
            case ast.Return(ast.expr() as value):
                return f"return {self.renamed(value)}"
            case ast.Expr(value):
                text = self.renamed(value)
                self._flows.becomes(None)
                return text.removeprefix("flow -> ")
        raise _CannotTranslate

    def renamed(self, node: ast.expr) -> str:
        """A chain, in which names that Python gave to what is the flow here are `flow`."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                part.id = self._flows.name(part.id)
        return self.chain(node)

    def chain(self, node: ast.expr) -> str:
        """An expression where a chain may stand: a call on a tensor is one."""
        if not isinstance(node, ast.Call):
            return self.expression(node)
        function = node.func
        package, name = _name(function)
        if package == "self":
            made = self._waiting.pop(name, None)
            stage = name if made is None else f"{name}: {made}" if " -> " not in made else f"{name}: {{ {made} }}"
            return f"{self.flow(node.args)} -> {stage}"
        if package in ("nn", "torch.nn"):
            return self.layer(name, node)
        if package in ("F", "torch", "torch.nn.functional", "nn.functional"):
            return self.function(name, node)
        if isinstance(function, ast.Attribute):
            return self.method(function, node)
        if isinstance(function, ast.Call) and node.args:
            return f"{self.flow(node.args)} -> {self.chain(function)}"
        raise _CannotTranslate

    def flow(self, arguments: Sequence[ast.expr]) -> str:
        """The tensors that are piped in."""
        if not arguments:
            raise _CannotTranslate
        parts = [self.chain(argument) for argument in arguments]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def layer(self, name: str, node: ast.Call) -> str:
        """`nn.Conv2d(3, 64, 3)`: what follows from the input goes, and what torch does not require is named."""
        if name == "Sequential":
            return " -> ".join(self.chain(argument) for argument in node.args)
        operator = self._library.operators.get(name)
        if operator is None or operator.kind not in ("layer", "loss") or len(node.args) > len(operator.settings):
            raise _CannotTranslate
        plain = operator.positional
        given = [
            self.expression(value) if param in plain else f"{param.name}={self.expression(value)}"
            for param, value in zip(operator.settings, node.args, strict=False)
            if not param.inferred
        ]
        inferred = {param.name for param in operator.settings if param.inferred}
        given += [self.named(keyword) for keyword in node.keywords if keyword.arg not in (*inferred, "inplace")]
        return _call(name, given)

    def function(self, name: str, node: ast.Call) -> str:
        """`F.relu(x)`, `torch.cat((a, b), 1)`: the first tensor is piped in."""
        if name not in self._library.operators or not node.args:
            raise _CannotTranslate
        first, *rest = node.args
        if name in _LISTS and isinstance(first, ast.Tuple | ast.List):
            items = ", ".join(self.operand(item) for item in first.elts)
            return f"{name}({', '.join([f'[{items}]', *self.settings(rest, node.keywords)])})"
        settings = self.settings(rest, node.keywords)
        return f"{self.chain(first)} -> {_call(name, settings)}"

    def method(self, function: ast.Attribute, node: ast.Call) -> str:
        """`x.view(x.size(0), -1)`: the tensor is piped in."""
        name = _METHODS.get(function.attr, function.attr)
        if name not in self._library.operators:
            raise _CannotTranslate
        tensor = self.chain(function.value)
        if name == "reshape" and len(node.args) == 2 and _is_batch(node.args[0]) and _is_rest(node.args[1]):
            return f"{tensor} -> flatten(1)"
        settings = self.settings(node.args, node.keywords)
        return f"{tensor} -> {_call(name, settings)}"

    def settings(self, values: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> list[str]:
        """The settings of a function. `inplace` says how torch computes, not what."""
        named = [self.named(keyword) for keyword in keywords if keyword.arg not in ("inplace", "training")]
        return [*(self.operand(value) for value in values), *named]

    def named(self, keyword: ast.keyword) -> str:
        """A named setting."""
        if keyword.arg is None:
            raise _CannotTranslate
        return f"{keyword.arg}={self.expression(keyword.value)}"

    def operand(self, node: ast.expr) -> str:
        """An expression among others: a chain stands in parentheses."""
        text = self.chain(node)
        return f"({text})" if " -> " in text else text

    def expression(self, node: ast.expr) -> str:
        """A value: numbers, names, lists and arithmetic of them."""
        match node:
            case ast.Constant(bool() | None as value):
                return {True: "true", False: "false", None: "none"}[value]
            case ast.Constant(int() | float() as value):
                return repr(value)
            case ast.Constant(str() as value) if '"' not in value and "{" not in value and "\\" not in value:
                return f'"{value}"'
            case ast.Name(name):
                return name
            case ast.UnaryOp(ast.USub(), operand):
                return f"-{self.operand(operand)}"
            case ast.Tuple(items) | ast.List(items):
                return f"[{', '.join(map(self.operand, items))}]"
            case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
                sides = [self.operand(side) for side in (left, right)]
                sides = [
                    f"({text})" if isinstance(side, ast.BinOp) else text
                    for side, text in zip((left, right), sides, strict=True)
                ]
                return f"{sides[0]} {_OPERATORS[type(operator)]} {sides[1]}"
            case ast.Call():
                return self.operand(node)
        raise _CannotTranslate


def _call(name: str, settings: Sequence[str]) -> str:
    return f"{name}({', '.join(settings)})" if settings else name


def _name(node: ast.expr) -> tuple[str, str]:
    """`torch.nn.functional.relu` as the package and the name; no package where it does not start with a known word."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or not parts or node.id not in ("self", "nn", "F", "torch"):
        return "", ""
    return ".".join([node.id, *parts[:-1]]), parts[-1]


def _is_batch(node: ast.expr) -> bool:
    """`x.size(0)` or `x.shape[0]`."""
    match node:
        case ast.Call(ast.Attribute(_, "size"), [ast.Constant(0)]):
            return True
        case ast.Subscript(ast.Attribute(_, "shape"), ast.Constant(0)):
            return True
    return False


def _is_rest(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and ast.unparse(node) == "-1"
