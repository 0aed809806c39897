"""`expc explain`: the page of a problem, by its code or its name."""

import sys
from textwrap import indent

import click

from expc.cli import OK
from expc.cli.catalog import page, problems
from expc.diagnostics import Problem
from expc.diagnostics.text import Painter, wants_colour


@click.command("explain", short_help="Say what a problem means, with a wrong and a right example.")
@click.argument("code", required=False)
def command(code: str | None) -> int:
    """Say what a problem means, by its CODE (E0301) or its name (size-mismatch); without one, list all."""
    known = problems()
    if code is None:
        width = max(len(kind.name) for kind in known.values())
        for kind in known.values():
            click.echo(f"{kind.code}  {kind.name:<{width}}  {page(kind).title}")
        return OK
    names = {kind.name: kind for kind in known.values()}
    asked = known.get(code.upper()) or names.get(code.lower())
    if asked is None:
        from expc.spec.suggest import advice, nearest

        near = nearest(code.upper(), known) or nearest(code.lower(), names)
        raise click.UsageError(f"no problem is called `{code}`{advice(near)}")
    click.echo(_page(asked, Painter(wants_colour(sys.stdout))), color=True)
    return OK


def _page(kind: type[Problem], paint: Painter) -> str:
    content = page(kind)
    parts = [paint(kind.severity, f"{kind.code} {kind.name}") + f" ({kind.severity})", paint("bold", content.title)]
    if content.text:
        parts.append(content.text)
    parts += [f"{paint('removed', 'Wrong:')}\n\n{indent(example, '    ')}".rstrip() for example in content.wrong]
    parts += [f"{paint('added', 'Right:')}\n\n{indent(example, '    ')}".rstrip() for example in content.right]
    if kind.severity != "error":
        parts.append(f"Where it is meant: `# allow({kind.name}): reason` on the line.")
    return "\n\n".join(parts)
