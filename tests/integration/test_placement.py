"""The rules of a distributed database: keys, cascades, statements; read from the catalog."""

import re

import asyncpg

from service.storage.engine import citus
from service.storage.engine.migrate import migrate
from tests.support.statements import Statement, statements

PLATFORM_TENANT_TABLES = (
    "tenant_extension_install",
    "tenant_extension_install_config",
    "tenant_extension_install_secrets",
    "tenant_extension_schedule",
)
TENANT_TABLES = """
SELECT c.table_name FROM information_schema.columns c
WHERE c.table_schema = 'ext_scheduler' AND c.column_name = 'tenant_id'
"""
# The planner and its kin look at what is due of all tenants, on the coordinator.
ACROSS_TENANTS = {
    "load.PAIRS",
    "timers.NEXT_DUE",
    "timers.COUNT_DUE",
    "partitions.IN_DEFAULT",
    "runner_symptoms.SYMPTOMS",
    "adoption.COUNT_DRIVEN_BY_OTHER",
}
# On Citus installs are locked tenant by tenant, what an ending will write is not locked ahead, and
# one process at a time publishes the events of a node.
ON_ONE_NODE = {
    "create_batch.LOCK",
    "results.LOCK_SCHEDULES",
    "updates.LOCK_ACTIVE_RUNS",
    "outbox.TAKE_FREE",
}
KEYS_WITHOUT_TENANT = """
SELECT i.indexrelid::regclass::text
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
WHERE c.relnamespace = 'ext_scheduler'::regnamespace AND i.indisunique
  AND NOT t.attnum = ANY (i.indkey)
"""
CASCADES = """
SELECT conrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND (confdeltype <> 'a' OR confupdtype <> 'a')
"""


def forgets_tenant(statement: Statement, tables: set[str]) -> bool:
    """Return whether a statement on tenant data does not name ``tenant_id``."""
    named = set(
        re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:ext_scheduler\.)?(\w+)", statement.sql)
    )
    return bool(named & tables) and "tenant_id" not in statement.sql


async def test_every_unique_key_of_our_tables_includes_the_tenant(pool: asyncpg.Pool) -> None:
    assert await pool.fetch(KEYS_WITHOUT_TENANT) == []
    await pool.execute("CREATE UNIQUE INDEX planted ON ext_scheduler.audit (id)")
    assert [row[0] for row in await pool.fetch(KEYS_WITHOUT_TENANT)] == ["ext_scheduler.planted"]


async def test_no_foreign_key_of_our_tables_cascades(pool: asyncpg.Pool) -> None:
    assert await pool.fetch(CASCADES) == []
    await pool.execute(
        """ALTER TABLE extension_bundle ADD FOREIGN KEY (version_id)
           REFERENCES extension_version (id) ON DELETE CASCADE"""
    )
    assert [row[0] for row in await pool.fetch(CASCADES)] == ["extension_bundle"]


async def test_every_statement_on_tenant_data_names_the_tenant(pool: asyncpg.Pool) -> None:
    tables = {row["table_name"] for row in await pool.fetch(TENANT_TABLES)}
    assert len(tables) >= 8
    tables.update(PLATFORM_TENANT_TABLES)
    found = list(statements())
    assert len(found) > 80
    assert {each.name for each in found if forgets_tenant(each, tables)} == ACROSS_TENANTS
    planted = Statement("x.Y", "DELETE FROM ext_scheduler.runs WHERE id = $1")
    assert forgets_tenant(planted, tables)


def locks_several_nodes(statement: Statement) -> bool:
    """Return whether a statement locks rows of distributed tables, perhaps of many tenants.

    Citus refuses that; what names one tenant is sent to that one's node as it is.
    """
    tables = {name.rpartition(".")[2] for name in (*citus.DISTRIBUTED, *citus.PLATFORM)}
    named = set(re.findall(r"\b(?:FROM|JOIN)\s+(?:ext_scheduler\.)?(\w+)", statement.sql))
    locks = re.search(r"\bFOR (NO KEY )?UPDATE\b", statement.sql)
    of_one = re.search(r"\btenant_id = \$\d", statement.sql)
    return bool(named & tables and locks and not of_one)


def test_rows_of_many_tenants_are_locked_only_on_a_single_node() -> None:
    assert {each.name for each in statements() if locks_several_nodes(each)} == ON_ONE_NODE
    planted = Statement("x.Y", "SELECT id FROM ext_scheduler.runs WHERE id = $1 FOR UPDATE")
    assert locks_several_nodes(planted)


def crosses_nodes(statement: Statement) -> bool:
    """Return whether a statement reads a table of the coordinator together with one of the nodes.

    Citus copies one of them for that: all timers, say, for a single request.
    """
    named = set(re.findall(r"\b(?:FROM|JOIN)\s+(?:ext_scheduler\.)?(\w+)", statement.sql))
    local = {"timers", "pgqueuer", "webhook_deliveries"}
    distributed = {name.rpartition(".")[2] for name in citus.DISTRIBUTED}
    return bool(named & local and named & distributed)


def test_requests_on_several_nodes_copy_no_table_between_them() -> None:
    rooms = {"sharded_changes", "sharded_views", "timer_sums", "outbox", "timers", "load"}
    requests = [each for each in statements() if each.name.partition(".")[0] in rooms]
    assert len(requests) > 20
    assert [each.name for each in requests if crosses_nodes(each)] == []
    planted = Statement(
        "x.Y", "SELECT FROM ext_scheduler.runs r JOIN ext_scheduler.timers t USING (a)"
    )
    assert crosses_nodes(planted)


def test_no_statement_gives_rows_without_a_type() -> None:
    assert [each.name for each in statements() if re.search(r"\bROW \(", each.sql)] == []


async def test_every_table_with_tenant_data_has_a_placement(pool: asyncpg.Pool) -> None:
    tables = {f"ext_scheduler.{row['table_name']}" for row in await pool.fetch(TENANT_TABLES)}
    partitions = {"ext_scheduler.runs_default"}
    assert tables - partitions == {*citus.DISTRIBUTED, *citus.LOCAL} - {citus.SCHEDULES}


async def test_every_statement_can_be_prepared(pool: asyncpg.Pool) -> None:
    # The catalog of the extension, which some statements read where it is present.
    await pool.execute(
        """CREATE TABLE pg_dist_partition (logicalrelid regclass, partkey text);
           CREATE FUNCTION column_to_column_name(t regclass, key text) RETURNS text LANGUAGE sql
             AS 'SELECT key';
           CREATE TABLE pg_dist_placement (shardid bigint, groupid integer);
           CREATE FUNCTION get_shard_id_for_distribution_column(t regclass, value text)
             RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"""
    )
    async with pool.acquire() as connection:
        for statement in statements():
            # Some have the name of a table put in before they are sent.
            if "{" not in statement.sql:
                await connection.prepare(statement.sql)


async def test_migrating_places_the_tables_where_the_extension_is_present(
    empty_database: str,
) -> None:
    # Functions and a catalog of the extension's names, which note down what they are asked.
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute(
            """CREATE TABLE pg_dist_partition (logicalrelid regclass, partkey text);
               CREATE FUNCTION column_to_column_name(t regclass, key text) RETURNS text LANGUAGE sql
                 AS 'SELECT key';
               CREATE FUNCTION create_reference_table(t text) RETURNS void LANGUAGE sql AS
                 'INSERT INTO pg_dist_partition VALUES (t::regclass, NULL)';
               CREATE FUNCTION create_distributed_table(t text, c text, colocate_with text)
                 RETURNS void LANGUAGE sql AS
                 'INSERT INTO pg_dist_partition VALUES (t::regclass, c)'"""
        )
        assert not await citus.is_distributed(connection)
        await migrate(connection)
        assert await citus.is_distributed(connection)
        placed = await connection.fetch("SELECT logicalrelid::text AS name FROM pg_dist_partition")
        names = {row["name"].rpartition(".")[2] for row in placed}
        wanted = {table.rpartition(".")[2] for table in (*citus.DISTRIBUTED, citus.ENDPOINTS)}
        assert names == wanted
        keys = await connection.fetchval(
            """SELECT pg_get_constraintdef(oid) FROM pg_constraint
               WHERE conname = 'tenant_extension_schedule_pkey'"""
        )
        assert keys == "PRIMARY KEY (tenant_id, id)"
        assert await citus.place(connection) == []
        await migrate(connection)
        assert await connection.fetchval("SELECT count(*) FROM pg_dist_partition") == len(placed)
    finally:
        await connection.close()
