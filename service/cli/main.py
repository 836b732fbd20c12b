"""The program ``ext-scheduler``: its commands, and how errors end."""

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from service.cli import asyncapi, bridge, check, development, keys, serving, tokens
from service.cli.admin import admin_program
from service.cli.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_READER_GONE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    CommandError,
)
from service.runtime.resources import SERVICE_NAME, CannotReachError, CannotServeError
from service.runtime.settings import FILE_VARIABLE, SettingsError

HELP = """Cron schedules for sandboxed extensions, over NATS.

Settings come from EXT_SCHEDULER_* variables and an optional TOML file; `ext-scheduler check`
says whether they are right. Exit statuses are listed in docs/command-line.md.

\b
Examples:
  ext-scheduler demo                          see it all work, on this machine
  ext-scheduler migrate                       bring the database up to date
  ext-scheduler serve --role all              answer requests and fire schedules
  ext-scheduler check                         what is wrong, and what to do about it
  ext-scheduler admin list --tenant acme      look at a tenant's schedules
"""

program = typer.Typer(
    name="ext-scheduler",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text reads the same in a terminal, a pipe and a manual
)
program.command("serve")(serving.serve)
program.command("bridge")(bridge.bridge)
program.command("migrate")(serving.migrate)
program.command("check")(check.check)
program.add_typer(admin_program, name="admin")
program.add_typer(tokens.token_program, name="token")
program.add_typer(keys.keys_program, name="keys")
program.command("asyncapi")(asyncapi.asyncapi)
program.command("dev-runner")(development.dev_runner)
program.command("demo")(development.demo)
program.command("dev")(development.dev)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{SERVICE_NAME} {version(SERVICE_NAME)}")
        raise typer.Exit


@program.callback()
def _options(
    config: Annotated[
        Path | None, typer.Option(help=f"Settings file, TOML (or {FILE_VARIABLE}).", metavar="F")
    ] = None,
    shown: Annotated[  # noqa: ARG001 - the callback does it
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    if config is not None:
        os.environ[FILE_VARIABLE] = str(config)


def main() -> None:
    """Run a command. What a person can cause ends in one line and a non-zero status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that does not know a character is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Nothing can be said on the pipe any more, not even by the interpreter as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_READER_GONE
    except OSError as error:
        status = _say(f"{error.filename or 'output'}: {error.strerror}", EXIT_FAILED)
    sys.exit(status)


def _run() -> int:
    output = sys.stdout
    try:
        status: object = program(prog_name=SERVICE_NAME, standalone_mode=False)
    except (CommandError, SettingsError, CannotServeError) as error:
        return _say(str(error), _status_of(error))
    except UnicodeEncodeError:
        return _say("what was typed is not UTF-8", EXIT_USAGE)
    except SystemExit as early:
        # Typer puts another stream in the place of one that nobody reads any more.
        return EXIT_READER_GONE if sys.stdout is not output else int(early.code or 0)
    except (typer.Abort, KeyboardInterrupt):
        status = EXIT_INTERRUPTED
    except typer.TyperException as error:
        return _misused(error)
    # A command returns nothing; a number is what Typer makes of an early end.
    if status == EXIT_INTERRUPTED:
        return _say("interrupted", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0


def _status_of(error: Exception) -> int:
    if isinstance(error, CommandError):
        return error.status
    if isinstance(error, CannotReachError):
        return EXIT_UNAVAILABLE
    return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILED


def _misused(error: typer.TyperException) -> int:
    """Say in one line what was wrong with the words of a command."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if context is None:
        return _say(message, error.exit_code)
    if message == context.get_help():  # a group alone: it shows what it has
        print(message, file=sys.stderr)
        return error.exit_code
    in_one_line = " ".join(message.split())
    return _say(f"{in_one_line} (see {context.command_path} --help)", error.exit_code)


def _say(message: str, status: int) -> int:
    if message:
        print(f"ext-scheduler: {message}", file=sys.stderr)
    return status
