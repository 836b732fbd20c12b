"""The command group ``admin``, built from the command specs."""

import os
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from service.cli import loop
from service.cli.admin import commands
from service.cli.admin.client import open_client, read_options
from service.cli.admin.command_spec import CommandSpec
from service.cli.admin.command_specs import PREFIX, all_specs, wire_name_specs
from service.cli.admin.parameters import (
    COMMON_OPTIONS,
    PAGING_OPTIONS,
    TIME_OPTIONS,
    build_parameters,
    input_parameters,
)
from service.cli.lazy_group import WholeLinesGroup
from service.runtime import settings

YES_OPTION = build_parameters(
    [("yes", Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")], False)]
)

HELP = """Administer installs, tenants and schedules over NATS.

Requests are made as --key, --tenant and --as specify, or the settings
EXT_SCHEDULER_ADMIN_KEY_FILE, EXT_SCHEDULER_ADMIN_TENANT and EXT_SCHEDULER_ADMIN_SUBJECT, over the
server at EXT_SCHEDULER_NATS_URL. An operator's key acts for all tenants unless one is named.

\b
Examples:
  ext-scheduler admin register manifest.json --tenant acme --component ext.wasm --grant-declared
  ext-scheduler admin list --tenant acme
  ext-scheduler admin run-now SCHEDULE --wait 60
  ext-scheduler admin history SCHEDULE --json
"""

admin_program = typer.Typer(
    cls=WholeLinesGroup, help=HELP, no_args_is_help=True, rich_markup_mode=None
)


def _build_command(spec: CommandSpec) -> Callable[..., None]:
    def run(**arguments: Any) -> None:  # noqa: ANN401 - as the parameters declare
        loaded = settings.load(os.environ)
        commands.confirm(spec, arguments)
        loop.run(_execute(loaded, spec, arguments))

    run.__signature__ = Signature(_parameters(spec))  # type: ignore[attr-defined]  # Typer reads it
    return run


async def _execute(loaded: settings.Settings, spec: CommandSpec, arguments: dict[str, Any]) -> None:
    async with open_client(loaded, read_options(loaded, arguments)) as client:
        await commands.execute(spec, client, arguments)


def _parameters(spec: CommandSpec) -> list[Parameter]:
    own = spec.own_parameters
    if own is None:
        own = input_parameters(spec.op, spec.fixed, spec.positional)
    paged = spec.action is None and commands.is_paged(spec.op)
    # A command with a field of this name has no other use for the option.
    takes_zone = any(parameter.name == "timezone" for parameter in own)
    return [
        *own,
        *spec.extra_parameters,
        *(build_parameters(PAGING_OPTIONS) if paged else []),
        *(YES_OPTION if spec.confirmation else []),
        *build_parameters(TIME_OPTIONS[: 1 if takes_zone else None]),
        *build_parameters(COMMON_OPTIONS),
    ]


def _epilog(spec: CommandSpec) -> str | None:
    if not spec.examples:
        return None
    lines = [f"  {PREFIX} {example}" for example in spec.examples]
    return "\n".join(["\b", "Examples:", *lines])


def _add(spec: CommandSpec, *, hidden: bool = False) -> None:
    admin_program.command(spec.name, help=spec.summary, epilog=_epilog(spec), hidden=hidden)(
        _build_command(spec)
    )


for _spec in all_specs():
    _add(_spec)
for _spec in wire_name_specs():
    # The operation's wire name works as well, for readers of the contract.
    _add(_spec, hidden=True)
