"""``make bench-console``: the time to the first byte of each page, with 1,000,000 schedules.

NATS, a responder and a console run as processes of their own; 5,000,000 run records lie over the
retention's 30 days. Every page is asked for when nothing of it is known any more. PostgreSQL is
embedded, and without fsync: nothing here is about how fast it writes.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from msgspec import Struct

from console.bus import FRESH_S
from console.links import sign_link
from console.people import PERMISSIONS, Person, normalised
from contracts.context import parse_key_set, signing_key
from contracts.subjects import ADMIN_AUDIENCE
from devstack.embedded import embedded_nats, embedded_postgres
from devstack.embedded.servers import HOST
from devstack.home import Ports, nats_passwords, write_keys
from devstack.places import NATS_CONF
from devstack.processes import running
from devstack.stack import roles
from service.storage.engine.migrate import migrate
from service.storage.runs import partitions

SCHEDULES_EACH, RUNS_EACH, DAYS = 50, 5, 30
PREFIX = "bench"
MINUTES_EACH = DAYS * 24 * 60 // RUNS_EACH
"""One run of each schedule lies in each such period."""
TARGET_MS = 300
STATES = "ARRAY['success', 'success', 'success', 'success', 'error']"
INSTALLS = """
WITH registry AS (
  INSERT INTO extension_registry (publisher, name) VALUES ('bench', 'reports') RETURNING id
), version AS (
  INSERT INTO extension_version (registry_id, version, api_endpoints, capabilities)
  SELECT id, '1.0.0', '[]', '["cap:scheduler.manage"]' FROM registry RETURNING id, registry_id
), endpoint AS (
  INSERT INTO extension_api_endpoint (version_id, method, path, handler)
  SELECT id, 'POST', '/api/report', 'h' FROM version
)
INSERT INTO tenant_extension_install (tenant_id, registry_id, version_id, granted_caps)
SELECT $1::text || '-' || n, v.registry_id, v.id, '["cap:scheduler.manage"]'
FROM version v, generate_series(1, $2::integer) n
"""
SCHEDULES = """
INSERT INTO tenant_extension_schedule (install_id, tenant_id, endpoint_id, name, cron, timezone,
  enabled, last_run_at, last_run_status, created_at, updated_at)
SELECT i.id, i.tenant_id, e.id, 'report ' || n, n || ' ' || n % 24 || ' * * *', 'UTC', true,
  now() - n * interval '1 hour', CASE WHEN n = 7 THEN 'error' ELSE 'success' END,
  now() - interval '60 days', now() - interval '60 days'
FROM tenant_extension_install i JOIN extension_api_endpoint e ON e.version_id = i.version_id,
  generate_series(1, $1::integer) n
"""
TIMERS = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT tenant_id, id, install_id, cron, timezone,
  date_trunc('day', now()) + interval '1 day 1 minute' * split_part(cron, ' ', 1)::integer
FROM tenant_extension_schedule
"""
RUNS = f"""
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, queued_at, started_at, finished_at, duration_ms, http_status, worker)
SELECT s.tenant_id, gen_random_uuid(), s.install_id, s.id, t.slot, 'scheduled', 'schedule',
  ({STATES})[1 + t.minute % 5], 1, t.slot, t.slot + interval '8 milliseconds',
  t.slot + interval '20 milliseconds', 12, 200, 'worker'
FROM tenant_extension_schedule s,
  LATERAL (SELECT ($1::integer * {MINUTES_EACH} + (hashtext(s.id::text) & 2147483647)
    % {MINUTES_EACH}) AS minute) m,
  LATERAL (SELECT m.minute, date_trunc('minute', now()) - m.minute * interval '1 minute' AS slot) t
"""
TABLES = (
    "tenant_extension_schedule, tenant_extension_install, ext_scheduler.timers, ext_scheduler.runs"
)


class PageTime(Struct, frozen=True):
    """The median and the longest time to the first byte, in milliseconds."""

    path: str
    median_ms: float
    longest_ms: float


async def fill(connection: asyncpg.Connection, schedules: int) -> None:
    """Make tenants with 50 schedules each, and five runs of each over the last month."""
    await migrate(connection)
    now = await connection.fetchval("SELECT now()")
    for week in range(DAYS // 7 + 2):
        await partitions.make_ahead(connection, now - week * partitions.WEEK, weeks=0)
    await partitions.make_ahead(connection, now)
    await connection.execute(INSTALLS, PREFIX, max(1, schedules // SCHEDULES_EACH))
    await connection.execute(SCHEDULES, SCHEDULES_EACH)
    await connection.execute(TIMERS)
    for number in range(RUNS_EACH):
        await connection.execute(RUNS, number)
    await connection.execute(f"VACUUM ANALYZE {TABLES}")


@asynccontextmanager
async def served(home: Path, dsn: str) -> AsyncIterator[str]:
    """Run NATS, a responder and a console within the context; yield the console's address."""
    passwords, ports = nats_passwords(home), Ports(home)
    environment = {
        f"EXT_SCHEDULER_NATS_{user.upper()}_PASSWORD": password
        for user, password in passwords.items()
    }
    write_keys(home)
    async with AsyncExitStack() as stack:
        nats = stack.enter_context(
            embedded_nats(home / "nats", config=NATS_CONF, environment=environment)
        )
        settings = {
            "database_url": dsn,
            "nats_url": nats.url,
            "key_set_file": str(home / "keys.json"),
            "runner_key_file": str(home / "worker.json"),
        }
        for program in roles(home, settings, passwords, ports):
            if program.name in {"responder", "console"}:
                await stack.enter_async_context(running(program, home / program.name))
        yield f"http://{HOST}:{ports.take('console')}"


async def measure(home: Path, url: str, schedule_id: str, run_id: str) -> list[PageTime]:
    """Ask for each page a few times, each time when the last answer is no longer fresh."""
    tenant = f"{PREFIX}-1"
    paths = (
        "/",
        "/schedules",
        f"/schedules?tenant={tenant}",
        "/schedules?sort=next",
        f"/schedules?tenant={tenant}&sort=last",
        "/schedules?failing=yes",
        "/schedules?held=yes",
        "/schedules?text=report+33",
        "/schedules?text=nothing+like+it",
        f"/schedules/{schedule_id}",
        f"/schedules/{schedule_id}?at=02:30",
        "/tenants",
        "/installs",
        "/load",
        f"/load?tenant={tenant}",
        f"/load?at={soon()}",
        "/audit?op=setTenantPaused",
        "/runs",
        "/runs?status=error",
        f"/runs/{run_id}?tenant={tenant}",
    )
    key = signing_key(parse_key_set((home / "operator.json").read_bytes()), ADMIN_AUDIENCE)
    person = Person(name="bench", tenant="*", permissions=normalised(PERMISSIONS))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        link = sign_link(url, person, key, time.time())
        form = {"link": urlsplit(link).query.removeprefix("link=")}
        async with session.post(f"{url}/sign-in", data=form) as response:
            assert response.status == 200
        return [await first_bytes(session, url, path) for path in paths]


def soon() -> str:
    """Return the minute of tomorrow in which most of the schedules are due."""
    return f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}T02:02:00Z"


async def first_bytes(session: aiohttp.ClientSession, url: str, path: str) -> PageTime:
    """Return how long the first byte of a page took."""
    took = []
    for _ in range(5):
        await asyncio.sleep(FRESH_S * 1.1)
        began = time.perf_counter()
        async with session.get(url + path) as response:
            took.append((time.perf_counter() - began) * 1000)
            assert response.status == 200, await response.text()
            await response.read()
    return PageTime(path, sorted(took)[len(took) // 2], max(took))


async def run(schedules: int) -> None:
    """Fill, serve, measure, print."""
    with TemporaryDirectory() as directory, embedded_postgres() as postgres:
        home = Path(directory)
        began = time.perf_counter()
        connection = await asyncpg.connect(postgres.dsn)
        await fill(connection, schedules)
        row = await connection.fetchrow(
            "SELECT schedule_id, id FROM ext_scheduler.runs WHERE tenant_id = $1 LIMIT 1",
            f"{PREFIX}-1",
        )
        assert row is not None
        await connection.close()
        took = timedelta(seconds=round(time.perf_counter() - began))
        print(f"{schedules:,} schedules, {schedules * RUNS_EACH:,} runs, filled in {took}\n")
        async with served(home, postgres.dsn) as url:
            times = await measure(home, url, str(row[0]), str(row[1]))
    print("| page | median ms | longest ms |\n| --- | --- | --- |")
    for page in times:
        path = page.path.replace(str(row[0]), "ID").replace(str(row[1]), "ID")
        print(f"| `{path}` | {page.median_ms:.0f} | {page.longest_ms:.0f} |")
    slow = [page.path for page in times if page.median_ms > TARGET_MS]
    print(f"\nabove {TARGET_MS} ms: {', '.join(slow) or 'none'}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000_000)
    asyncio.run(run(parser.parse_args().schedules))


if __name__ == "__main__":
    main()
