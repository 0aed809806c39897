"""The command line: one short file per command.

Comes in: arguments. Goes out: results on standard output, progress and the problems of other commands than `check` on
standard error, and an exit status: 0 fine; 1 the file or the run has errors; 2 wrong usage or an unreadable file; 75
stopped to make room: run it again; 130 interrupted. Always true: a command is imported only when it is called, and
imports what it needs when it runs, so that `expc check` never waits for torch.
"""

import errno
import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

import click

COMMANDS: Final = ("run", "resume", "launch", "test", "predict", "board", "check", "summary", "plot", "explain", "ops")

OK, FAILED, UNUSABLE, PREEMPTED, INTERRUPTED = 0, 1, 2, 75, 130
"""Exit statuses."""


class LazyGroup(click.Group):
    """Finds the command `x` as `expc.cli.x.command`, when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which `--help` shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command called `cmd_name`, none if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"expc.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an unknown command is answered with the nearest known one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from expc.spec.suggest import advice, nearest

            meant = f"run {args[0]}" if args[0].endswith(".exp") else nearest(args[0], COMMANDS)
            ctx.fail(f"no command is called `{args[0]}`{advice(meant)}")
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from expc import __version__

        click.echo(f"expc {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
@click.option("--traceback", is_flag=True, help="Show Python's traceback where expc itself fails.")
def group(traceback: bool) -> None:  # `invoke` looks for it, when nothing else is left
    """Train what an .exp file says, and find its mistakes before anything runs."""


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    _fill_standard_streams()
    gc.disable()  # a check is over before a collection would pay for itself; `expc run` enables it again
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character gets its number
    status = invoke(sys.argv[1:])
    gc.freeze()  # Python collects once more at exit, after torch for a second; nothing here waits for that
    if status == INTERRUPTED or "torch" in sys.modules:
        # Libraries take their time to say good-bye. Whoever presses Ctrl-C meanwhile wants an end, and no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if status == INTERRUPTED:
        # Asked twice, a run ends in the middle of a step: threads of torch that still compute would abort the process.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _fill_standard_streams() -> None:
    """Give a process that was started without standard streams (`>&-`) some that lead nowhere.

    Else the next file that it opens, perhaps a checkpoint, would become one of them, and get what libraries print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))


def invoke(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        return _invoke(arguments)
    except OSError as error:
        if not _is_of_output(error):
            raise
        # Whoever read the output has seen enough (`expc ops | head`), or has no place for it: nothing is left to write,
        # nor at exit.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):
            with suppress(OSError):
                click.echo(f"expc: cannot print: {error.strerror}", err=True)
        return FAILED


def _invoke(arguments: list[str]) -> int:
    try:
        status: Any = group.main(arguments, prog_name="expc", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return UNUSABLE
    except Exception as error:
        if "--traceback" in arguments or (isinstance(error, OSError) and _is_of_output(error)):
            raise
        _apologise(error, arguments)
        return FAILED
    return status if isinstance(status, int) else OK


def _is_of_output(error: OSError) -> bool:
    """Whether printing failed: errors of files have names."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _apologise(error: Exception, arguments: list[str]) -> None:
    import shlex

    click.echo(f"expc: unexpected {type(error).__name__}: {error}", err=True)
    click.echo("This is a mistake in expc, not in your file. Please report it with the output of", err=True)
    click.echo(f"  expc --traceback {shlex.join(arguments)}", err=True)
