"""``cells``: tenants on several databases, and the move of one from its cell to another."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated
from urllib.request import urlopen

import asyncpg
import msgspec
import typer
from msgspec import Struct

from service.cli import files
from service.cli.admin.client import AdminClient, open_client, outcome_error, read_options
from service.cli.cells_file import ARROW, CellsFile, assign, read_cells
from service.cli.cells_nats import derive
from service.cli.errors import EXIT_CONFLICT, EXIT_UNAVAILABLE, EXIT_USAGE, CommandError
from service.cli.loop import run
from service.cli.output import print_line, print_notice, progress
from service.runtime import settings
from service.runtime.settings import Settings
from service.storage import tenant_move
from service.storage.engine.connect import SessionSettings, connect

REASON = "moving to another cell"
LOOK_S = 0.5
QUIET_LOOKS = 240
RELOAD_TIMEOUT_S = 60.0
READ_LOOKS, READ_LOOK_S = 100, 0.2
NO_ARGUMENTS = dict.fromkeys(
    ("subject", "key", "tenant", "permission", "timeout", "request_id", "as_json")
)
FileOption = Annotated[Path, typer.Option("--file", help="The file that describes the cells.")]
DEFAULT_FILE = Path("cells.toml")

HELP = """Assign tenants to cells, each with its database, and move them (docs/cells.md).

\b
Examples:
  ext-scheduler cells nats              write the NATS configuration of all cells
  ext-scheduler cells move acme two     move a tenant to another cell
"""

cells_program = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)


class ServerState(Struct, frozen=True):
    """What a NATS server states of itself, as far as it matters here."""

    config_load_time: str


class OpenCell(Struct, frozen=True):
    """A cell's database, and its administration."""

    name: str
    database: asyncpg.Connection
    admin: AdminClient


@cells_program.command("nats")
def nats(file: FileOption = DEFAULT_FILE) -> None:
    """Write the NATS configuration of all cells, and have the servers read it.

    \b
    Examples:
      ext-scheduler cells nats
      ext-scheduler cells nats --file deploy/cells.toml
    """
    _publish(file)
    print_notice(f"written: {_beside(file, read_cells(file).nats_conf)}")


@cells_program.command("move")
def move(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    cell: Annotated[str, typer.Argument(help="The cell that it is to be in.")],
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Move a tenant to a cell: pause, detach its Runners, copy its rows, attach them, resume.

    May be repeated after an interruption, and undone by naming the cell that it came from.

    \b
    Examples:
      ext-scheduler cells move acme two
      ext-scheduler cells move acme one         back again, also half way
    """
    run(_move(file, tenant, cell))


async def _move(file: Path, tenant: str, cell: str) -> None:
    cells = read_cells(file)
    if tenant not in cells.tenants or cell not in cells.cells:
        known = cells.cells if tenant in cells.tenants else cells.tenants
        raise CommandError(f"{file}: only {', '.join(known) or 'none'} there", EXIT_USAGE)
    assigned = cells.tenants[tenant]
    if assigned.moving_to not in {"", cell} and assigned.home != cell:
        raise CommandError(f"{tenant} is on its way: {assigned.cell}", EXIT_CONFLICT)
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(_opened(file, cells, cell))
        if assigned.home != cell:
            source = await stack.enter_async_context(_opened(file, cells, assigned.home))
            await _leave(file, tenant, source, cell)
            rows = await tenant_move.move(source.database, target.database, tenant)
            print_line(f"{rows} rows of {tenant} copied to {cell}")
        elif assigned.moving_to:
            other = await stack.enter_async_context(_opened(file, cells, assigned.moving_to))
            async with other.database.transaction():
                await tenant_move.discard(other.database, tenant)
            await tenant_move.restore(target.database, tenant)
        assign(file, tenant, cell)
        _publish(file)
        await _resume(tenant, target)


async def _leave(file: Path, tenant: str, source: OpenCell, cell: str) -> None:
    """Pause the tenant, wait until none of its runs is called, and detach its Runners."""
    if await tenant_move.pause_reason(source.database, tenant) is None:
        await _set_paused(source, tenant, paused=True)
        print_line(f"{tenant} is paused in {source.name}")
    async with progress(lambda: "waiting for runs in flight"):
        for _ in range(QUIET_LOOKS):
            if not await tenant_move.running(source.database, tenant):
                break
            await asyncio.sleep(LOOK_S)
        else:
            raise CommandError(
                f"runs of {tenant} are still called after {QUIET_LOOKS * LOOK_S:g} s; repeat, or"
                f" resume it: `admin resume {tenant}`"
            )
    assign(file, tenant, f"{source.name}{ARROW}{cell}")
    _publish(file)


async def _resume(tenant: str, cell: OpenCell) -> None:
    """End our own pause; one that was there before stays."""
    if await tenant_move.pause_reason(cell.database, tenant) == REASON:
        await _set_paused(cell, tenant, paused=False)
    print_line(f"{tenant} is in {cell.name}")


async def _set_paused(cell: OpenCell, tenant: str, *, paused: bool) -> None:
    fields = {"tenantId": tenant, "paused": paused, **({"reason": REASON} if paused else {})}
    outcome = await cell.admin.call("setTenantPaused", fields)
    if not outcome.success:
        raise outcome_error(outcome)


@asynccontextmanager
async def _opened(file: Path, cells: CellsFile, name: str) -> AsyncIterator[OpenCell]:
    path = _beside(file, cells.cells[name].settings)
    loaded = settings.load({}, path)
    async with _database(loaded, name) as database:
        options = read_options(loaded, NO_ARGUMENTS)
        async with open_client(loaded, options) as admin:
            yield OpenCell(name, database, admin)


@asynccontextmanager
async def _database(loaded: Settings, name: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        database = await connect(loaded.database_url, SessionSettings("ext-scheduler cells"))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        line = " ".join(str(error).split())
        raise CommandError(f"the database of {name}: {line}", EXIT_UNAVAILABLE) from None
    try:
        yield database
    finally:
        await database.close()


def _publish(file: Path) -> None:
    """Write the NATS configuration, and have the servers read it. Raises CommandError."""
    cells = read_cells(file)
    base = files.read(_beside(file, cells.nats_base)).decode()
    files.write(_beside(file, cells.nats_conf), derive(base, cells).encode(), files.PUBLIC)
    if not cells.reload:
        return
    before = {server: _loaded_at(server) for server in cells.monitoring}
    try:
        done = subprocess.run(
            cells.reload, capture_output=True, text=True, timeout=RELOAD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"reload: {error}") from None
    if done.returncode:
        line = " ".join((done.stderr or done.stdout).split())
        raise CommandError(f"reload: status {done.returncode}: {line}")
    for server, earlier in before.items():
        _await_reload(server, earlier)


def _await_reload(server: str, earlier: str) -> None:
    """Wait until a server has read its configuration again: one that refuses it only logs why."""
    for _ in range(READ_LOOKS):
        if _loaded_at(server) != earlier:
            return
        time.sleep(READ_LOOK_S)
    raise CommandError(f"{server} did not read its new configuration: its log states why")


def _loaded_at(server: str) -> str:
    try:
        answer = urlopen(f"{server}/varz", timeout=RELOAD_TIMEOUT_S)  # noqa: S310 - an operator's own
        with answer:
            return msgspec.json.decode(answer.read(), type=ServerState).config_load_time
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise CommandError(f"{server}: {error}", EXIT_UNAVAILABLE) from None


def _beside(file: Path, name: str) -> Path:
    return file.parent / name
