"""`expc check`: every problem of some files, without running anything."""

import time
from typing import TYPE_CHECKING

import click

from expc.cli import FAILED, OK, UNUSABLE
from expc.cli.reading import Unreadable, check_path, refused, show
from expc.diagnostics import Problem, text

if TYPE_CHECKING:
    from expc.compiler.session import Checked


@click.command("check", short_help="Find every problem of some files; imports no torch.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    help="For people (the default), for tools, for GitHub Actions, or for code scanning services.",
)
@click.option("--fix", is_flag=True, help="Apply the safe fixes, and write the files anew.")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Check as if NAME had this value.")
@click.option(
    "--lint", "lints", multiple=True, metavar="RULE", help="Run RULE too, a lint rule that is off by default."
)
@click.option("--strict", is_flag=True, help="Refuse warnings too.")
@click.option(
    "--dump",
    type=click.Choice(["syntax", "spec", "graph"]),
    help="Print what a stage of the compiler made, instead of the problems.",
)
def command(
    files: tuple[str, ...],
    style: str,
    fix: bool,
    overrides: tuple[str, ...],
    lints: tuple[str, ...],
    strict: bool,
    dump: str | None,
) -> int:
    """Find every problem of the FILEs: syntax, names, types, shapes, data, training.

    Exit status: 0 where there is no error, 1 where there is one, 2 where a file cannot be read.
    """
    status = OK
    on = _known(lints)
    problems: list[Problem] = []
    allowed: list[tuple[Problem, str]] = []
    for file in files:
        started = time.perf_counter()
        try:
            checked = _fixed(file, overrides, on) if fix else check_path(file, overrides, on)
        except Unreadable as error:
            error.show()
            status = UNUSABLE
            continue
        if dump:
            _dump(checked, dump)
        elif style == "text":
            show(checked.problems, err=False)
            took = (time.perf_counter() - started) * 1000
            click.echo(f"{text.printable(file)}: {text.tally(checked.problems)} · {took:.0f} ms")
        problems += checked.problems
        allowed += [(entry.problem, entry.reason) for entry in checked.allowed]
    if not dump:
        _print_for_tools(problems, allowed, style)
    return max(status, FAILED if refused(problems, strict=strict) else OK)


def _print_for_tools(problems: list[Problem], allowed: list[tuple[Problem, str]], style: str) -> None:
    if style == "json":
        from expc.diagnostics import json

        click.echo(json.render(problems, allowed))
    elif style == "github":
        from expc.diagnostics import github

        for problem in problems:
            click.echo(github.render(problem))
    elif style == "sarif":
        from expc import __version__
        from expc.diagnostics import sarif

        click.echo(sarif.render(problems, allowed, __version__))


def _known(lints: tuple[str, ...]) -> frozenset[str]:
    """The rules to switch on. Raises `UsageError` for one that does not exist."""
    if lints:
        from expc.compiler.lints import names
        from expc.spec.suggest import advice, nearest

        known = names()
        for rule in lints:
            if rule not in known:
                raise click.UsageError(f"no lint rule is called `{rule}`{advice(nearest(rule, known))}")
    return frozenset(lints)


def _fixed(file: str, overrides: tuple[str, ...], lints: frozenset[str]) -> "Checked":
    """What is left to say of a file after its safe fixes, which are written to it and told on standard error."""
    from expc.cli.fixing import fix_file

    fixed = fix_file(file, overrides, lints)
    for problem, fix in fixed.mended:
        place = f"{text.printable(file)}:{problem.span.line}"
        click.echo(f"{place}: fixed {problem.code} {problem.name}: {fix.title}", err=True)
    return fixed.checked


def _dump(checked: "Checked", stage: str) -> None:
    from expc.compiler.dump import dump

    show(checked.problems, err=True)
    try:
        click.echo(dump(checked, stage))
    except LookupError as error:
        click.echo(f"expc: {error}", err=True)
