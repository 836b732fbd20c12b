"""The commands of ``admin``, made from their shapes."""

import os
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from contracts.admin import ADMIN_OPS
from service.cli import loop
from service.cli.admin import commands
from service.cli.admin.client import asking, caller
from service.cli.admin.command_specs import PREFIX, Shape, shapes, wire_shapes
from service.cli.admin.parameters import COMMON, PAGES, made, parameters
from service.runtime import settings

YES = made([("yes", Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")], False)])

HELP = """Administer installs, tenants and schedules over NATS.

Who asks is said by --key, --tenant and --as, or by the settings EXT_SCHEDULER_ADMIN_KEY_FILE,
EXT_SCHEDULER_ADMIN_TENANT and EXT_SCHEDULER_ADMIN_SUBJECT; where the bus is, by
EXT_SCHEDULER_NATS_URL. An operator's key acts for all tenants where none is named.

\b
Examples:
  ext-scheduler admin register manifest.json --tenant acme --component ext.wasm --grant-declared
  ext-scheduler admin list --tenant acme
  ext-scheduler admin run-now SCHEDULE --wait 60
  ext-scheduler admin history SCHEDULE --json
"""

admin_program = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)


def _command(shape: Shape) -> Callable[..., None]:
    def run(**given: Any) -> None:  # noqa: ANN401 - whatever the options are
        chosen = settings.load(os.environ)
        commands.confirm(shape, given)
        loop.run(_ask(chosen, shape, given))

    run.__signature__ = Signature(_options(shape))  # type: ignore[attr-defined]  # Typer reads it
    return run


async def _ask(chosen: settings.Settings, shape: Shape, given: dict[str, Any]) -> None:
    async with asking(chosen, caller(chosen, given)) as open_:
        await commands.work(shape, open_, given)


def _options(shape: Shape) -> list[Parameter]:
    own = shape.own
    if own is None:
        own = parameters(ADMIN_OPS[shape.op].input, shape.fixed, shape.arguments)
    paging = made(PAGES) if shape.work is None and commands.is_paged(shape.op) else []
    return [*own, *shape.extra, *paging, *(YES if shape.confirm else []), *made(COMMON)]


def _epilog(shape: Shape) -> str | None:
    if not shape.examples:
        return None
    lines = [f"  {PREFIX} {example}" for example in shape.examples]
    return "\n".join(["\b", "Examples:", *lines])


def _add(shape: Shape, *, hidden: bool = False) -> None:
    admin_program.command(shape.name, help=shape.summary, epilog=_epilog(shape), hidden=hidden)(
        _command(shape)
    )


for _shape in shapes():
    _add(_shape)
for _shape in wire_shapes():
    # The operation's own name works as well, for who comes from the contract.
    _add(_shape, hidden=True)
