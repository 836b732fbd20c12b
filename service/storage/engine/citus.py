"""Placement on a database with the Citus extension: what is distributed, referenced, or local.

Timers, the queue and what is about no tenant stay on the coordinator: rows are taken from those
with SKIP LOCKED, which does not exist across shards. Tables that are placed already stay there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from service.storage.engine.connection import Connection

SCHEDULES = "public.tenant_extension_schedule"
ENDPOINTS = "public.extension_api_endpoint"
DISTRIBUTED = (
    SCHEDULES,
    "ext_scheduler.runs",
    "ext_scheduler.active_runs",
    "ext_scheduler.idempotency",
    "ext_scheduler.rate_windows",
    "ext_scheduler.audit",
    "ext_scheduler.outbox",
    "ext_scheduler.tenant_pauses",
    "ext_scheduler.run_attempts",
    "ext_scheduler.tenant_pools",
)
"""By ``tenant_id``, in this order."""

LOCAL = ("ext_scheduler.timers", "ext_scheduler.webhook_deliveries")
"""Per tenant, but on the coordinator."""

PRESENT = "SELECT to_regclass('pg_dist_partition') IS NOT NULL"

IS_DISTRIBUTED = """
SELECT EXISTS (SELECT FROM pg_dist_partition p
  WHERE p.logicalrelid = to_regclass('ext_scheduler.runs') AND p.partkey IS NOT NULL)
"""

PLATFORM = (
    "public.tenant_extension_install",
    "public.tenant_extension_install_config",
    "public.tenant_extension_install_secrets",
)
"""The platform's tables per tenant: it decides on their placement, and ours are colocated."""

PLACED = """
SELECT format('%s.%s', n.nspname, c.relname) AS name,
  coalesce(column_to_column_name(p.logicalrelid, p.partkey::text) = 'tenant_id', false) AS by_tenant
FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
"""

TENANT_TYPES = """
SELECT format('%s.%s', table_schema, table_name) AS name, data_type
FROM information_schema.columns WHERE column_name = 'tenant_id'
"""

# Tables by tenant have their shards in the same places.
NODES_OF = """
SELECT given.tenant_id, min(p.groupid) AS node FROM unnest($1::text[]) AS given (tenant_id)
JOIN pg_dist_placement p
  ON p.shardid = get_shard_id_for_distribution_column('ext_scheduler.runs', given.tenant_id)
GROUP BY given.tenant_id
"""

MAX_KNOWN_TENANTS = 100_000

# With a column: Citus makes a subquery without any of a distributed table, and cannot read it.
HAS_ROWS = "SELECT EXISTS (SELECT 1 FROM {table})"

# A distributed table's keys contain its distribution column. Only on an empty table, which is to
# say on one that our own migration has just created.
REKEY = (
    f"ALTER TABLE {SCHEDULES} DROP CONSTRAINT tenant_extension_schedule_pkey",
    f"ALTER TABLE {SCHEDULES} ADD PRIMARY KEY (tenant_id, id)",
    "DROP INDEX public.tenant_extension_schedule_name",
    (
        f"CREATE UNIQUE INDEX tenant_extension_schedule_name ON {SCHEDULES}"
        " (tenant_id, install_id, name) WHERE name IS NOT NULL"
    ),
)

OURS = """
SELECT EXISTS (SELECT FROM pg_constraint c
  WHERE c.conrelid = to_regclass('public.tenant_extension_schedule')
    AND c.conname = 'tenant_extension_schedule_pkey'
    AND pg_get_constraintdef(c.oid) = 'PRIMARY KEY (id)')
  AND to_regclass('public.tenant_extension_schedule_name') IS NOT NULL
"""


class PlacementState(Struct, frozen=True):
    """The current tables: those placed already, which of them by tenant, and types of tenant ids.

    With ``fresh`` the schedule table is ours and empty, so that its keys may change.
    """

    placed: frozenset[str]
    by_tenant: frozenset[str]
    types: Mapping[str, str]
    fresh: bool


def placement(state: PlacementState) -> list[str]:
    """Return the statements that place the tables not placed yet; none the second time."""
    statements = []
    if ENDPOINTS not in state.placed:
        statements.append(f"SELECT create_reference_table('{ENDPOINTS}')")
    # A tenant's rows are together on a node if its ids are of one type.
    companions: dict[str, str] = {}
    for table in (*PLATFORM, *DISTRIBUTED):
        kind = state.types.get(table, "text")
        if table in PLATFORM and table not in state.by_tenant:
            continue
        if table == SCHEDULES and table not in state.placed and not state.fresh:
            continue  # the platform keeps it on the coordinator: it stays there
        if table not in state.placed:
            if table == SCHEDULES:
                statements += REKEY
            colocated = companions.get(kind, "none")
            statements.append(
                f"SELECT create_distributed_table('{table}', 'tenant_id',"
                f" colocate_with => '{colocated}')"
            )
        companions.setdefault(kind, table)
    return statements


async def is_present(connection: Connection) -> bool:
    """Return whether the database has the extension."""
    return await connection.fetchval(PRESENT) is True


async def is_distributed(connection: Connection) -> bool:
    """Return whether this service's tables are on several nodes, as ``migrate`` places them."""
    return await is_present(connection) and await connection.fetchval(IS_DISTRIBUTED) is True


def tenant_nodes(
    connect: Callable[[], AbstractAsyncContextManager[Connection]],
) -> Callable[[str], Awaitable[int]]:
    """Return a function that gives the node of a tenant's rows; each tenant is looked up once.

    A tenant that has moved since is still found: its node only groups what is done together.
    """
    known: dict[str, int] = {}

    async def node_of(tenant_id: str) -> int:
        node = known.get(tenant_id)
        if node is None:
            async with connect() as connection:
                (node,) = await tenants_by_node(connection, [tenant_id])
            if len(known) >= MAX_KNOWN_TENANTS:
                known.clear()
            known[tenant_id] = node
        return node

    return node_of


async def tenants_by_node(
    connection: Connection, tenant_ids: Sequence[str]
) -> Mapping[int, list[str]]:
    """Return these tenants by the node that their rows are on."""
    nodes: dict[int, list[str]] = {}
    for row in await connection.fetch(NODES_OF, tenant_ids):
        nodes.setdefault(row["node"], []).append(row["tenant_id"])
    return nodes


async def place(connection: Connection) -> Sequence[str]:
    """Place the tables where the extension is present; return the statements that did it."""
    if not await is_present(connection):
        return []
    statements = placement(await _state(connection))
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)
    return statements


async def _state(connection: Connection) -> PlacementState:
    filled = await connection.fetchval(HAS_ROWS.format(table=SCHEDULES))
    placed = await connection.fetch(PLACED)
    return PlacementState(
        placed=frozenset(row["name"] for row in placed),
        by_tenant=frozenset(row["name"] for row in placed if row["by_tenant"]),
        types={row["name"]: row["data_type"] for row in await connection.fetch(TENANT_TYPES)},
        fresh=not filled and await connection.fetchval(OURS),
    )
