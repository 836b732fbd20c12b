"""The commands of the program, each imported when it is asked for.

A command needs only its own libraries: ``--version`` none, ``token`` no database driver.
"""

from collections import UserDict
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS = MappingProxyType(
    {
        "serve": "service.cli.serving:serve",
        "bridge": "service.cli.bridge:bridge",
        "migrate": "service.cli.serving:migrate",
        "check": "service.cli.check:check",
        "admin": "service.cli.admin:admin_program",
        "token": "service.cli.tokens:token_program",
        "keys": "service.cli.keys:keys_program",
        "nats-users": "service.cli.nats_users:nats_users",
        "cron": "service.cli.cron:cron",
        "asyncapi": "service.cli.asyncapi:asyncapi",
        "dev-runner": "service.cli.development:dev_runner",
        "demo": "service.cli.development:demo",
        "dev": "service.cli.development:dev",
    }
)
"""``module:name`` of each command or group of commands, in the order of the help."""


class LazyGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - what Typer passes on
        super().__init__(**options)
        self.commands = _LazyCommands(COMMANDS)

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - what Typer calls it with
        """Return the names without importing what they stand for."""
        return list(self.commands)


class _LazyCommands(UserDict[str, Any]):
    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        command: str | TyperCommand | TyperGroup = super().__getitem__(name)
        if isinstance(command, str):
            self[name] = command = _load(name, command)
        return command


def _load(name: str, target: str) -> TyperCommand | TyperGroup:
    """Import a command, and return it as Typer runs it."""
    module, _, attribute = target.partition(":")
    definition = getattr(import_module(module), attribute)
    holder = typer.Typer(rich_markup_mode=None, add_completion=False)
    if isinstance(definition, typer.Typer):
        holder.add_typer(definition, name=name)
    else:
        holder.command(name)(definition)
    return cast("TyperCommand | TyperGroup", typer.main.get_group(holder).commands[name])
