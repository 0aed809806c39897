"""`expc ops`: the operators of the language, and the reference page of each."""

from collections.abc import Iterable, Iterator

import click

from expc.cli import OK
from expc.compiler.ops.declare import Operator, Param
from expc.spec.values import show


@click.command("ops", short_help="List the operators, or show one.")
@click.argument("name", required=False)
def command(name: str | None) -> int:
    """List all layers, functions and losses, or say what the one called NAME takes, or why it is left out."""
    from expc.compiler.ops.table import operators

    known = operators()
    if name is None:
        width = max(map(len, known))
        for kind, title in (("layer", "Layers"), ("function", "Functions"), ("loss", "Losses")):
            click.echo(f"{title}\n")
            for operator in sorted(known.values(), key=lambda operator: operator.name):
                if operator.kind == kind:
                    click.echo(f"  {operator.name:<{width}}  {operator.doc}")
            click.echo()
        return OK
    if name not in known:
        from expc.compiler.library.excluded import reason
        from expc.spec.suggest import advice, nearest

        left_out = reason(name)
        if left_out is not None:
            click.echo(f"{name} is left out of the language\n\n{left_out}")
            return OK
        raise click.UsageError(f"no operator is called `{name}`{advice(nearest(name, known))}")
    click.echo("\n".join(_page(known[name])))
    return OK


def _page(operator: Operator) -> Iterator[str]:
    yield f"{operator.name}, a {operator.kind} ({operator.home})"
    yield f"\n{operator.doc}"
    yield from _parameters("Tensors", operator.arguments)
    yield from _parameters("Settings", operator.settings)
    yield "\nExample\n"
    for name, type_ in operator.example_inputs.items():
        yield f"  {name}: {type_}"
    yield f"  {operator.example}"


def _parameters(title: str, params: Iterable[Param]) -> Iterator[str]:
    rows = [(_signature(param), param.kind.words, param.doc) for param in params]
    if rows:
        yield f"\n{title}\n"
        width = max(len(signature) for signature, _, _ in rows)
        for signature, words, doc in rows:
            yield f"  {signature:<{width}}  {words}{f'; {doc}' if doc else ''}"


def _signature(param: Param) -> str:
    if param.inferred:
        return f"{param.name} (inferred)"
    return param.name if param.required else f"{param.name}={show(param.default)}"
