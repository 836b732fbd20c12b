"""The commands of the program, each imported when it is asked for.

A command needs only its own libraries: ``--version`` none, ``token`` no database driver.
"""

import signal
from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

import typer
from msgspec import Struct
from typer.core import TyperCommand, TyperGroup

LONGEST_SUMMARY = 1000
"""Characters of a summary that are shown: all."""


class LazyCommand(Struct, frozen=True):
    """``module:name`` of a command or a group of commands, and its line in the program's help."""

    target: str
    summary: str


COMMANDS = MappingProxyType(
    {
        "serve": LazyCommand(
            "service.cli.serving:serve",
            "Answer requests, fire schedules, or both, until SIGTERM.",
        ),
        "bridge": LazyCommand(
            "service.cli.bridge:bridge",
            "Forward execute requests from the bus to a Runner, and its callbacks to the bus.",
        ),
        "migrate": LazyCommand(
            "service.cli.migrate:migrate",
            "Migrate the database to this release.",
        ),
        "check": LazyCommand(
            "service.cli.check:check",
            "Check settings, database, migrations, NATS and keys.",
        ),
        "admin": LazyCommand(
            "service.cli.admin:admin_program",
            "Administer installs, tenants and schedules over NATS.",
        ),
        "console": LazyCommand(
            "service.cli.console:console_program",
            "Serve web pages for operators and tenants, until SIGTERM.",
        ),
        "token": LazyCommand(
            "service.cli.tokens:token_program",
            "Mint and inspect signed contexts.",
        ),
        "keys": LazyCommand(
            "service.cli.keys:keys_program",
            "Generate and rotate the keys that contexts are signed with.",
        ),
        "nats-users": LazyCommand(
            "service.cli.nats_users:nats_users",
            "Print a NATS user for each Runner: `runners.conf`, which `nats.conf` can include.",
        ),
        "cells": LazyCommand(
            "service.cli.cells:cells_program",
            "Assign tenants to cells, each with its database, and move them (docs/cells.md).",
        ),
        "cron": LazyCommand(
            "service.cli.cron:cron",
            "Explain a cron expression and list its next slots.",
        ),
        "conformance": LazyCommand(
            "service.cli.conformance:conformance",
            "Hold a Runner or a scheduler service in any language against the contract.",
        ),
        "asyncapi": LazyCommand(
            "service.cli.asyncapi:asyncapi",
            "Print the contract as an AsyncAPI 3 document, TypeScript declarations or WIT.",
        ),
        "dev-runner": LazyCommand(
            "service.cli.development:dev_runner",
            "Run WebAssembly extensions for development: /v1/execute over HTTP, until SIGTERM.",
        ),
        "demo": LazyCommand(
            "service.cli.development:demo",
            "Demonstrate the whole system: an extension schedules itself and is called on time.",
        ),
        "dev": LazyCommand(
            "service.cli.dev:dev_program",
            "Run the whole system with an extension on this machine.",
        ),
        "new": LazyCommand(
            "service.cli.development:new",
            "Write a small extension that works: manifest, source, tests, README.",
        ),
    }
)
"""The commands in the order of the help."""


class WholeLinesGroup(TyperGroup):
    """A group whose help goes on in the next line where a command's summary is long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - of Typer's own
        """Write each visible command with the whole first sentence of its help."""
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(LONGEST_SUMMARY))
            for name, command in shown
            if not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - what Typer passes on
        super().__init__(**options)
        self.commands = _LazyCommands(COMMANDS)

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - what Typer calls it with
        """Return the names without importing what they stand for."""
        return list(self.commands)

    def format_commands(self, ctx: object, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as above
        """Write the commands into the help from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])


class _LazyCommands(UserDict[str, Any]):
    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        command: LazyCommand | TyperCommand | TyperGroup = super().__getitem__(name)
        if isinstance(command, LazyCommand):
            self[name] = command = load(name, command)
        return command


def load(name: str, lazy: LazyCommand) -> TyperCommand | TyperGroup:
    """Import a command, and return it as Typer runs it."""
    module, _, attribute = lazy.target.partition(":")
    with _interrupt_deferred():
        definition = getattr(import_module(module), attribute)
    holder = typer.Typer(rich_markup_mode=None, add_completion=False)
    if isinstance(definition, typer.Typer):
        holder.add_typer(definition, name=name)
    else:
        holder.command(name)(definition)
    return cast("TyperCommand | TyperGroup", typer.main.get_group(holder).commands[name])


@contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Hold Ctrl-C back: an import that it breaks off fails in a way of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
