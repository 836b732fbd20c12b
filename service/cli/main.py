"""The program ``ext-scheduler``: its commands, and how errors end."""

import sys

import typer

from service.cli import asyncapi, bridge, development, keys, serving
from service.cli.errors import EXIT_FAILED, CommandError
from service.process import CannotServeError
from service.settings import SettingsError

program = typer.Typer(
    name="ext-scheduler",
    help="Cron schedules for sandboxed extensions, over NATS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
program.command("serve")(serving.serve)
program.command("bridge")(bridge.bridge)
program.command("dev-runner")(development.dev_runner)
program.command("demo")(development.demo)
program.command("dev")(development.dev)
program.command("migrate")(serving.migrate)
program.command("asyncapi")(asyncapi.asyncapi)
program.add_typer(keys.keys_program, name="keys")
program.add_typer(keys.token_program, name="token")


def main() -> None:
    """Run a command. What a person can cause ends in one line and a non-zero status."""
    try:
        program()
    except CommandError as error:
        _end(str(error), error.status)
    except (CannotServeError, SettingsError) as error:
        _end(str(error), EXIT_FAILED)


def _end(message: str, status: int) -> None:
    print(f"ext-scheduler: {message}", file=sys.stderr)
    sys.exit(status)
