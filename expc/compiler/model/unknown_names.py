"""Names that nothing declares: what was meant, or why the language leaves it out."""

from expc.compiler import arithmetic
from expc.compiler.errors.names import UnknownName
from expc.compiler.library.lookup import Library
from expc.compiler.model.scope import Scope
from expc.compiler.types import DTYPES
from expc.diagnostics import Edit, Fix, ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import is_slip, nearest


def unknown_name(library: Library, word: str, span: Span, scope: Scope) -> UnknownName:
    """The problem of a name that nothing declares, with the nearest one that something does.

    One of torch's that the language leaves out is answered by the reason.
    """
    from expc.compiler.library.excluded import reason

    left_out = reason(word)
    if left_out is not None:
        hint = f"; the language leaves it out. {left_out.removesuffix('.')}"
        return UnknownName(span=span, word=word, hint=hint)
    truth = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(word.casefold())
    if truth is not None and word.islower():
        fix = Fix(f"write `{truth}`", (Edit(span, truth),), "safe")
        return UnknownName(span=span, word=word, hint=f"; did you mean `{truth}`?", fixes=(fix,))
    known = {*scope.names(), *library.names(), *arithmetic.BUILTINS, *DTYPES}
    alike = {name for name in known if name[:1].isupper() == word[:1].isupper()}
    near = nearest(word, alike) or nearest(word, known)
    if near is None:
        return UnknownName(span=span, word=word)
    sure = is_slip(word, near) and library.knows(near) and nearest(word, scope.names()) is None
    fix = Fix(f"write `{near}`", (Edit(span, near),), "safe" if sure else "unsafe")
    return UnknownName(span=span, word=word, hint=f"; did you mean `{near}`?", fixes=(fix,))


def refuse_package(library: Library, node: syntax.Attribute, word: str, scope: Scope) -> None:
    """`nn.Linear`, pasted from Python. Raises `ProblemError` when the name is torch's."""
    from expc.compiler.library.excluded import reason

    if library.knows(word):
        return
    if reason(node.name) is not None:
        raise ProblemError(unknown_name(library, node.name, node.span, scope))
    if library.knows(node.name):
        hint = f": PyTorch's names stand alone, `{node.name}`"
        fix = Fix(f"write `{node.name}`", (Edit(node.span, node.name),), "safe")
        raise ProblemError(UnknownName(span=node.value.span, word=word, hint=hint, fixes=(fix,)))
