"""The program ``ext-scheduler``: its commands, and how errors become exit statuses."""

import os
import signal
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from service.cli.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    CommandError,
)
from service.cli.extras import missing_library
from service.cli.lazy_group import LazyGroup
from service.cli.output import print_notice
from service.runtime.errors import CannotReachError, CannotServeError, ProcessFailedError
from service.runtime.settings import FILE_VARIABLE, SettingsError

PROGRAM = "ext-scheduler"
HELP = """Cron schedules for sandboxed extensions, over NATS.

Settings come from EXT_SCHEDULER_* variables and an optional TOML file; `ext-scheduler check`
verifies them. Exit statuses are listed in docs/command-line.md.

\b
Examples:
  ext-scheduler demo                          run the whole system on this machine
  ext-scheduler migrate                       bring the database up to date
  ext-scheduler serve --role all              answer requests and fire schedules
  ext-scheduler check                         find configuration errors, with remedies
  ext-scheduler admin list --tenant acme      list a tenant's schedules
"""

program = typer.Typer(
    name=PROGRAM,
    cls=LazyGroup,
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text reads the same in a terminal, a pipe and a manual
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@program.callback()
def _options(
    config: Annotated[
        Path | None, typer.Option(help=f"Settings file, TOML (or {FILE_VARIABLE}).", metavar="F")
    ] = None,
    show_version: Annotated[  # noqa: ARG001 - the callback reads it
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    if config is not None:
        os.environ[FILE_VARIABLE] = str(config)


def main() -> None:
    """Run a command. Errors that a user can cause end in one line and a non-zero status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A character that the terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output at exit, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_BROKEN_PIPE
    except OSError as error:
        status = _report(f"{error.filename or 'output'}: {error.strerror}", EXIT_FAILED)
    sys.exit(status)


def _run() -> int:
    output = sys.stdout
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status: object = program(prog_name=PROGRAM, standalone_mode=False)
    except (CommandError, SettingsError, CannotServeError) as error:
        return _report(str(error), _exit_status(error))
    except ModuleNotFoundError as error:
        status = _report_missing_library(error)
    except UnicodeEncodeError:
        return _report("the arguments are not valid UTF-8", EXIT_USAGE)
    except SystemExit as exit_:
        # Typer replaces standard output after a broken pipe.
        return EXIT_BROKEN_PIPE if sys.stdout is not output else int(exit_.code or 0)
    except (typer.Abort, KeyboardInterrupt):
        status = EXIT_INTERRUPTED
    except typer.TyperException as error:
        return _report_usage_error(error)
    # A command returns None; an int is the status that Typer exits early with.
    if status == EXIT_INTERRUPTED:
        return _report("interrupted", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0


def _report_missing_library(error: ModuleNotFoundError) -> int:
    line = missing_library(error, next(iter(sys.argv[1:]), ""))
    if line is None:
        raise error
    return _report(line, EXIT_FAILED)


def _exit_status(error: Exception) -> int:
    if isinstance(error, CommandError):
        return error.status
    if isinstance(error, CannotReachError):
        return EXIT_UNAVAILABLE
    if isinstance(error, ProcessFailedError):
        return max(error.status, EXIT_FAILED)
    return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILED


def _report_usage_error(error: typer.TyperException) -> int:
    """Print a usage error as one line, and return its exit status."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if context is None:
        return _report(message, error.exit_code)
    if message == context.get_help():  # a group without a command: show its commands
        print(message, file=sys.stderr)
        return error.exit_code
    # The libraries below typer name their kind of error before its text.
    in_one_line = " ".join(message.split()).replace(": Value error, ", ": ")
    return _report(f"{in_one_line} (see {context.command_path} --help)", error.exit_code)


def _report(message: str, status: int) -> int:
    if message:
        print_notice(f"ext-scheduler: {message}")
    return status
