"""The role that serves has what its statements need, and nothing else."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from service.runtime.metrics import Metrics
from service.storage.engine import clock, grants
from service.storage.records import expiry
from service.storage.runs import partitions, queue
from service.worker.maintenance import Maintenance
from service.worker.planner import Planner
from tests.support import schedule_rows
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.database_roles import Roles, quoted, two_roles
from tests.support.platform import TICK, install
from tests.support.pools import pool_of
from tests.support.statements import Statement, statements

# Templates, those of another program's tables or of Citus, and what migrating alone does.
NOT_RUN = re.compile(r"^(pg_boss|citus|migrate)\.")
NEXT_MONDAY = "date_trunc('week', now())::date + 7 * 60"


@pytest.fixture
async def roles(empty_database: str) -> AsyncIterator[Roles]:
    async with two_roles(empty_database) as roles:
        yield roles


@pytest.fixture
async def owner(roles: Roles) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(roles.owner_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def runtime(roles: Roles) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(roles.runtime_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def serving(roles: Roles) -> AsyncIterator[asyncpg.Pool]:
    async with pool_of(roles.runtime_dsn, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
def line(tmp_path: Path, nats_url: str, roles: Roles) -> CommandLine:
    return command_line(tmp_path, nats_url, database_url=roles.owner_dsn)


class Prepared(Statement, frozen=True):
    """A statement, and how to plan it: which asks for every right that it needs."""

    plan: str


async def prepared(connection: asyncpg.Connection) -> list[Prepared]:
    """Prepare every statement of the service."""
    result = []
    for number, statement in enumerate(statements()):
        if "{" in statement.sql or NOT_RUN.match(statement.name):
            continue
        count = max(map(int, re.findall(r"\$(\d+)", statement.sql)), default=0)
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        await connection.execute(f"PREPARE s{number} AS {statement.sql}")
        plan = f"EXPLAIN EXECUTE s{number}{arguments}"
        result.append(Prepared(statement.name, statement.sql, plan))
    return result


async def refused(connection: asyncpg.Connection, statement: Prepared) -> bool:
    try:
        await connection.execute(statement.plan)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


async def test_the_role_may_run_every_statement_and_needs_each_right(
    owner: asyncpg.Connection, runtime: asyncpg.Connection, roles: Roles
) -> None:
    every = await prepared(runtime)
    assert len(every) > 200
    assert [each.name for each in every if await refused(runtime, each)] == []
    assert await grants.missing(runtime, roles.runtime) == []
    unneeded = []
    for table, verbs in grants.TABLES.items():
        name = table.rpartition(".")[2]
        concerned = [each for each in every if re.search(rf"\b{name}\b", each.sql)]
        for verb in verbs:
            change = f"{verb} ON {table}"
            await owner.execute(f"REVOKE {change} FROM {quoted(roles.runtime)}")
            for each in concerned:
                if await refused(runtime, each):
                    break
            else:
                unneeded.append(change)
            await owner.execute(f"GRANT {change} TO {quoted(roles.runtime)}")
    # Its sole reader is the check of migrations.
    assert unneeded == ["SELECT ON ext_scheduler.migrations"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE ext_scheduler.mine (a integer)",
        "ALTER TABLE ext_scheduler.runs ADD COLUMN mine text",
        "DROP TABLE ext_scheduler.runs_default",
        "ALTER TABLE ext_scheduler.runs DETACH PARTITION ext_scheduler.runs_default",
        "DROP TABLE tenant_extension_schedule",
        "CREATE INDEX mine ON ext_scheduler.runs (worker)",
        "ALTER TABLE ext_scheduler.pgqueuer DISABLE TRIGGER ALL",
        "ALTER FUNCTION ext_scheduler.drop_run_partition(date) SECURITY INVOKER",
        "DROP SCHEMA ext_scheduler CASCADE",
        "TRUNCATE ext_scheduler.runs",
        "DELETE FROM ext_scheduler.audit",
        "UPDATE ext_scheduler.audit SET actor = 'me'",
        "TRUNCATE ext_scheduler.audit",
        "INSERT INTO ext_scheduler.migrations VALUES (8, 'mine', '')",
        "DELETE FROM ext_scheduler.migrations",
        "DELETE FROM extension_registry",
        "UPDATE extension_bundle SET content_hash = 'mine'",
        "UPDATE extension_api_endpoint SET handler = 'mine'",
        "UPDATE tenant_extension_install_secrets SET ciphertext = 'mine'",
        "INSERT INTO tenant_extension_install_config (tenant_id) VALUES ('t')",
        "SELECT * FROM ext_scheduler.pgqueuer_schedules",
        "SELECT * FROM ext_scheduler.pgqueuer_statistics",
        "SELECT * FROM platform_users",
        "SELECT * FROM pg_authid",
        "CREATE ROLE mine",
    ],
)
async def test_the_role_may_do_nothing_else(
    owner: asyncpg.Connection, runtime: asyncpg.Connection, statement: str
) -> None:
    await owner.execute("CREATE TABLE platform_users (password text)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await runtime.execute(statement)


@pytest.mark.parametrize(
    "call",
    [
        f"create_run_partition({NEXT_MONDAY} + 1)",
        "create_run_partition(NULL)",
        "create_run_partition('infinity')",
        "drop_run_partition(date_trunc('week', now())::date)",
        f"drop_run_partition({NEXT_MONDAY})",
        "drop_run_partition(NULL)",
        "drop_run_partition('-infinity')",
        "delete_expired_audit(now(), 1000)",
        "delete_expired_audit('infinity', 1000)",
        "delete_expired_audit(NULL, 1000)",
    ],
)
async def test_a_function_of_the_owner_refuses_what_serve_never_asks(
    runtime: asyncpg.Connection, call: str
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await runtime.execute(f"SELECT ext_scheduler.{call}")


async def test_only_partitions_of_the_runs_can_be_dropped(
    owner: asyncpg.Connection, runtime: asyncpg.Connection
) -> None:
    await owner.execute("CREATE TABLE ext_scheduler.runs_20240101 (a integer)")
    with pytest.raises(asyncpg.UndefinedTableError):
        await runtime.execute(partitions.DROP, date(2024, 1, 1))
    assert await owner.fetchval("SELECT count(*) FROM ext_scheduler.runs_20240101") == 0


async def test_functions_of_the_owner_are_not_for_everybody(
    owner: asyncpg.Connection, roles: Roles
) -> None:
    function, role = grants.FUNCTIONS[1], quoted(roles.runtime)
    await owner.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM {role}")
    outsider = await asyncpg.connect(roles.runtime_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await outsider.execute(partitions.DROP, date(2024, 1, 1))
    finally:
        await outsider.close()


async def test_a_name_in_the_callers_schema_does_not_reach_the_functions(
    owner: asyncpg.Connection, runtime: asyncpg.Connection
) -> None:
    """A temporary table named as a catalog is not what the owner's function reads."""
    await runtime.execute("CREATE TEMP TABLE pg_inherits (inhrelid oid, inhparent oid)")
    await runtime.execute("SET search_path = pg_temp, public")
    await runtime.execute(partitions.CREATE, date(2024, 1, 1))
    weeks = [week.start for week in await partitions.existing(owner)]
    assert datetime(2024, 1, 1, tzinfo=UTC) in weeks


async def test_maintenance_and_planner_work_as_the_role(
    serving: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    made = await install(owner, materialised=TICK)
    now = await clock.read(owner)
    await schedule_rows.schedule(owner, made, cron="0 0 1 1 *", due_at=now)
    await schedule_rows.schedule(owner, made)
    old = partitions.week_of(now - timedelta(days=70))
    await owner.execute(partitions.CREATE, old.start.date())
    await owner.execute(
        "INSERT INTO ext_scheduler.audit (tenant_id, at, op, trigger, actor, request_id)"
        " SELECT 't', now() - age, 'create', 'host_api', 'a', 'r'"
        " FROM unnest(ARRAY[interval '401 days', interval '1 day']) AS age"
    )
    maintenance = Maintenance(serving, Metrics())
    await maintenance.prepare()
    await maintenance.expire()
    await maintenance.repair()
    await maintenance.measure()
    await Planner(serving, Metrics()).plan_once()
    weeks = await partitions.existing(owner)
    assert old not in weeks
    assert partitions.week_of(now) in weeks
    assert await owner.fetchval("SELECT count(*) FROM ext_scheduler.audit") == 1
    assert await owner.fetchval("SELECT count(*) FROM ext_scheduler.timers") == 2
    async with serving.acquire() as connection:
        claimed = await queue.claim(connection, made.install_id, 10, timedelta(seconds=30))
        await queue.end(connection, [job.id for job in claimed.jobs], made.install_id)
        assert await expiry.remove_old(connection, expiry.AUDIT, now - timedelta(days=400), 10) == 0


async def test_rights_beyond_what_serve_needs_are_taken_away(
    owner: asyncpg.Connection, roles: Roles
) -> None:
    role = quoted(roles.runtime)
    await owner.execute(f"GRANT DELETE ON ext_scheduler.audit TO {role}")
    await owner.execute(f"GRANT CREATE ON SCHEMA ext_scheduler TO {role}")
    assert str(await grants.excess(owner, roles.runtime)).startswith("may create tables in schema")
    await owner.execute(f"REVOKE CREATE ON SCHEMA ext_scheduler FROM {role}")
    assert str(await grants.excess(owner, roles.runtime)) == "has DELETE on ext_scheduler.audit"
    for _ in range(2):
        await owner.execute(grants.as_sql(roles.runtime))
        assert str(await grants.excess(owner, roles.runtime)) == ""
        assert await grants.missing(owner, roles.runtime) == []


@pytest.mark.parametrize(
    ("role", "status", "expected"),
    [
        ("nobody_of_this_name", 1, "role nobody_of_this_name does not exist"),
        ("x" * 64, 2, "a role's name has 1 to 63 bytes"),
        ("line\nbreak", 2, "characters that are not allowed"),
    ],
)
async def test_a_role_that_cannot_be_granted_to_ends_in_one_line(
    line: CommandLine, role: str, status: int, expected: str
) -> None:
    assert expected in error_line(await line("migrate", "--grants", role), status)


async def test_the_owner_is_not_granted_its_own_rights(line: CommandLine, roles: Roles) -> None:
    message = error_line(await line("migrate", "--grants", roles.owner), 1)
    assert "owns the tables" in message
    assert (await line.ok("migrate")).out == "the database is up to date\n"


async def test_tables_of_another_owner_are_named(
    line: CommandLine, roles: Roles, empty_database: str
) -> None:
    platform = await asyncpg.connect(empty_database)
    try:
        await platform.execute("ALTER TABLE extension_bundle OWNER TO CURRENT_USER")
        await platform.execute(f"REVOKE ALL ON extension_bundle FROM {quoted(roles.runtime)}")
        await platform.execute(f"GRANT SELECT ON extension_bundle TO {quoted(roles.owner)}")
    finally:
        await platform.close()
    message = error_line(await line("migrate", "--grants", roles.runtime), 1)
    assert "SELECT, INSERT on public.extension_bundle" in message


async def test_migrate_grants_as_often_as_it_is_run_and_prints_the_same(
    line: CommandLine, roles: Roles
) -> None:
    for _ in range(2):
        out = (await line.ok("migrate", "--grants", roles.runtime)).out
        assert out.endswith("has what serve needs\n")
    printed = (await line.ok("migrate", "--grants", roles.runtime, "--sql")).out
    assert printed == grants.as_sql(roles.runtime)


async def test_check_tells_too_many_rights_from_too_few(
    line: CommandLine, roles: Roles, owner: asyncpg.Connection, empty_database: str
) -> None:
    words = ("check", "--role", "responder")
    assert "ok       rights:" in (await line(*words, database_url=roles.runtime_dsn)).out
    assert "warning  rights: role " in (out := (await line(*words)).out)
    assert "owns tables of schema ext_scheduler: more than serve needs" in out
    assert "is a superuser" in (await line(*words, database_url=empty_database)).out
    role = quoted(roles.runtime)
    await owner.execute(f"REVOKE UPDATE, DELETE ON ext_scheduler.runs FROM {role}")
    out = (await line(*words, database_url=roles.runtime_dsn)).out
    assert "lacks UPDATE, DELETE on ext_scheduler.runs" in out
    assert "run `ext-scheduler migrate --grants Runtime" in out
    refusal = await line("serve", database_url=roles.runtime_dsn)
    assert refusal.status == 1
    assert "lacks UPDATE, DELETE on ext_scheduler.runs: run `ext-scheduler mi" in refusal.err
    await owner.execute(f"REVOKE USAGE ON SCHEMA ext_scheduler FROM {role}")
    assert "permission denied" in (await line(*words, database_url=roles.runtime_dsn)).out
    refusal = await line("serve", database_url=roles.runtime_dsn)
    assert "lacks USAGE on schema ext_scheduler" in refusal.err
