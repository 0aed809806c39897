"""The top-level names of a file, and of the files that it imports."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath, PurePosixPath
from typing import Final

from expc.compiler.errors.names import DuplicateName, ImportRefused
from expc.compiler.library.lookup import Library
from expc.compiler.model.scope import BlockRef, Declared, Function, Scope
from expc.diagnostics import Label, Report, Source, Span
from expc.frozen import dataclass, field
from expc.spec import syntax
from expc.spec.parser import parse, source_of
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Recipe

Read = Callable[[str], str]
"""Gives the text of a file by its path. Raises OSError and UnicodeDecodeError."""

DEEPEST: Final = 100
"""How many files may import each other in a row: those who load them call themselves."""


@dataclass(eq=False)
class File:
    """A parsed file with the scope of its top-level names."""

    source: Source
    tree: syntax.File
    scope: Scope = field(default_factory=Scope)


class Loader:
    """Reads a file and everything it imports, each once."""

    def __init__(self, library: Library, report: Report, read: Read | None) -> None:
        self.library, self.report, self._read = library, report, read
        self.files: dict[str, File] = {}
        self._loading: list[str] = []

    def load(self, path: str, source: Source, tree: syntax.File) -> File:
        """The scope of a file whose tree is there, its imports resolved."""
        path = _normal(PurePosixPath(PurePath(path).as_posix()))
        file = File(source, tree)
        self.files[path] = file
        self._loading.append(path)
        try:
            for statement in tree.statements:
                if isinstance(statement, syntax.Import):
                    self._import(statement, path, file)
            for statement in tree.statements:
                self._declare(statement, file)
        finally:
            self._loading.pop()
        return file

    def _declare(self, statement: syntax.Statement, file: File) -> None:
        scope = file.scope
        match statement:
            case syntax.Let():
                value: object = Declared(statement, scope)
            case syntax.Fn():
                # Twins among the parameters of a block are bound in its body, which says so.
                self._refuse_twins(statement.parameters, "names two parameters")
                value = Function(statement, scope)
            case syntax.Block() | syntax.ModelOf() | syntax.Extern():
                if isinstance(statement, syntax.Block) and isinstance(statement.result, syntax.RecordTypeExpr):
                    self._refuse_twins(statement.result.fields, "names two results")
                value = Recipe(statement.name, target=BlockRef(statement, scope))
            case _:
                return
        place = name_span(statement)
        self._bind(statement.name, value, place, scope, callable_=not isinstance(statement, syntax.Let))

    def _refuse_twins(self, declared: Sequence[syntax.Parameter | syntax.Field], reason: str) -> None:
        """Two parameters, or two results, of one name."""
        places: dict[str, Span] = {}
        for one in declared:
            if one.name in places:
                labels = (Label(places[one.name], "the first is here"),)
                self.report.add(DuplicateName(span=one.name_span, word=one.name, reason=reason, labels=labels))
            places.setdefault(one.name, one.name_span)

    def _bind(self, name: str, value: object, place: Span, scope: Scope, *, callable_: bool) -> None:
        if self.library.knows(name) and (callable_ or name[0].isupper()):
            reason = f"is {self.library.kind(name)} of the language already, and cannot mean something else"
            self.report.add(DuplicateName(span=place, word=name, reason=reason))
            return
        if name in scope.values:
            labels = (Label(scope.places[name], "the first is here"),)
            self.report.add(DuplicateName(span=place, word=name, reason="is declared twice", labels=labels))
            return
        scope.bind(name, value, place)

    def _import(self, statement: syntax.Import, path: str, file: File) -> None:
        target = str(statement.path.value)
        imported = self._imported(target, path, statement.path.span)
        if imported is None:
            for name in statement.names or ():
                file.scope.bind(name.id, UNEVALUATED, name.span)
            return
        if statement.names is None:
            for word, value in imported.scope.values.items():
                there = file.scope.values.setdefault(word, value)
                if there is value:
                    file.scope.places.setdefault(word, statement.span)
                elif UNEVALUATED not in (there, value):
                    labels = (Label(file.scope.places[word], "the first is from here"),)
                    notes = ('`from "file.exp" import A, B` takes some names and leaves the others',)
                    reason = "is declared by two files that are imported"
                    span = statement.path.span
                    problem = DuplicateName(span=span, word=word, reason=reason, labels=labels, notes=notes)
                    self.report.add(problem)
            return
        for name in statement.names:
            if name.id not in imported.scope.values:
                near = nearest(name.id, imported.scope.values)
                reason = f"{target} does not declare it" + (f"; did you mean `{near}`?" if near else "")
                self.report.add(ImportRefused(span=name.span, what=f"`{name.id}`", reason=reason))
                file.scope.bind(name.id, UNEVALUATED, name.span)
                continue
            self._bind(name.id, imported.scope.values[name.id], name.span, file.scope, callable_=False)

    def _imported(self, target: str, importer: str, span: Span) -> File | None:
        def refuse(reason: str) -> None:
            self.report.add(ImportRefused(span=span, what=span.text, reason=reason))

        pure = PurePosixPath(target)
        if pure.is_absolute() or "\\" in target or "\0" in target or not target.endswith(".exp"):
            refuse("an import is the relative path of an .exp file")
            return None
        path = _normal(PurePosixPath(importer).parent / pure)
        if path in self._loading:
            circle = [*self._loading[self._loading.index(path) :], path]
            refuse(
                f"the files import each other in a circle: {' -> '.join(circle)}"
                if len(circle) > 2
                else "a file cannot import itself"
            )
            return None
        if path in self.files:
            return self.files[path]
        if len(self._loading) >= DEEPEST:
            refuse(f"more than {DEEPEST} files import each other in a row")
            return None
        if self._read is None:
            refuse("there are no files beside a text")
            return None
        try:
            home = _normal(PurePosixPath(span.source.home).parent / pure) if span.source.home else ""
            source = source_of(path, self._read(path), home)
        except UnicodeDecodeError:
            refuse("it is not UTF-8 text")
            return None
        except OSError as error:
            refuse("there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)))
            return None
        report = Report()
        tree = parse(source, report)
        for problem in report.problems:
            self.report.add(problem)
        return self.load(path, source, tree)


def name_span(statement: syntax.Statement) -> Span:
    """Where the name of a declaration stands."""
    if isinstance(statement, syntax.Block):
        return statement.name_span
    name = str(getattr(statement, "name", ""))
    found = re.search(rf"\b{re.escape(name)}\b", statement.span.text)
    begin = statement.span.start + (0 if found is None else found.start())
    return Span(statement.span.source, begin, begin + len(name))


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            if parts[-1] != "/":
                parts.pop()
        elif part != ".":
            parts.append(part)
    return str(PurePosixPath(*parts)) if parts else "."
