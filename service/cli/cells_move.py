"""Moves a tenant from its cell to another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from service.cli.admin.client import AdminClient, open_client, outcome_error, read_options
from service.cli.cells_file import ARROW, CellsFile, assign, beside, read_cells
from service.cli.cells_publish import publish
from service.cli.errors import EXIT_CONFLICT, EXIT_UNAVAILABLE, EXIT_USAGE, CommandError
from service.cli.output import print_line, progress
from service.runtime import settings
from service.runtime.settings import Settings
from service.storage import tenant_move
from service.storage.engine.connect import SessionSettings, connect

REASON = "moving to another cell"
LOOK_S = 0.5
QUIET_LOOKS = 240
NO_ARGUMENTS = dict.fromkeys(
    ("subject", "key", "tenant", "permission", "timeout", "request_id", "as_json")
)


class OpenCell(Struct, frozen=True):
    """A cell's database, and its administration."""

    name: str
    database: asyncpg.Connection
    admin: AdminClient


async def move_tenant(file: Path, tenant: str, cell: str) -> None:
    """Move a tenant to a cell. Raises CommandError."""
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
        publish(file)
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
    publish(file)


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
    path = beside(file, cells.cells[name].settings)
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
