"""Changes on a database of several nodes: a statement per table, for one request or many.

One statement over all tables has Citus copy rows between nodes, those of the timers in front, and
costs ten times as much. A statement with the tenants as a parameter goes to their nodes alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from uuid import UUID

from msgspec import structs

from service.storage.engine.connection import Connection
from service.storage.platform.installs import RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row
from service.storage.records import audit, outbox
from service.storage.records.replay import Replay
from service.storage.schedules import rows
from service.storage.schedules.change_lookup import (
    UUID_LENGTH,
    ChangeLookup,
    ChangeRecord,
    LookupQuery,
)
from service.storage.schedules.create_batch import LOCK_TIMEOUT, CreatedSchedule
from service.storage.schedules.rows import COLUMNS, Schedule, from_columns

# For the nodes too, which wait for locks of their own.
LIMIT_WAITING = f"""
SET LOCAL citus.propagate_set_commands TO 'local';
SET LOCAL lock_timeout TO '{LOCK_TIMEOUT}'
"""

# What another session has locked is left out, not waited for.
LOCK = f"""
SELECT {RIGHTS_COLUMNS}, v.api_endpoints::text AS manifest, v.id AS joined_version_id
{RIGHTS_FROM}
WHERE i.tenant_id = $1::text AND i.id = ANY ($2::uuid[])
FOR NO KEY UPDATE OF i SKIP LOCKED
"""

REPLAYS = """
SELECT r.tenant_id, r.scope, r.jti, r.op, r.body_sha256, r.result FROM ext_scheduler.idempotency r
WHERE r.tenant_id = ANY ($1::text[]) AND r.scope = ANY ($2::text[]) AND r.jti = ANY ($3::uuid[])
"""

WINDOWS = """
SELECT w.tenant_id, w.scope, w.accepted FROM ext_scheduler.rate_windows w
WHERE w.tenant_id = ANY ($1::text[]) AND w.scope = ANY ($2::text[])
"""

NAMES = """
SELECT n.tenant_id::text AS tenant_id, n.install_id, count(*) AS schedules,
  array_agg(n.id::text || n.name) FILTER (WHERE n.name = ANY ($3::text[])) AS holders
FROM tenant_extension_schedule n
WHERE n.tenant_id = ANY ($1::text[]) AND n.install_id = ANY ($2::uuid[])
GROUP BY n.tenant_id, n.install_id
"""

ENDPOINTS = """
SELECT p.version_id, p.id, upper(btrim(p.method)) AS method,
  regexp_replace('/' || btrim(p.path), '/+', '/', 'g') AS path
FROM extension_api_endpoint p WHERE p.version_id = ANY ($1::uuid[])
"""

DUE_AT = """
SELECT t.due_at FROM ext_scheduler.timers t
WHERE t.tenant_id = $1::text AND t.schedule_id = $2::uuid
"""

SCHEDULE = f"""
SELECT {COLUMNS}
FROM tenant_extension_schedule s
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
CROSS JOIN (SELECT $4::timestamptz AS due_at) AS t
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = $3::uuid
"""

INSERT_SCHEDULE = """
INSERT INTO tenant_extension_schedule
  (tenant_id, install_id, id, created_at, updated_at, endpoint_id, name, cron, timezone, enabled,
   payload_json, job_id, runner_schedule_id, revision, missing_endpoint)
VALUES ($1::text, $2::uuid, $3::uuid, $4::timestamptz, $4, $5::uuid, $6::text, $7::text, $8::text,
  $9::boolean, $10::jsonb, $11::uuid, $12::text, 1, false)
"""

INSERT_REPLAY = """
INSERT INTO ext_scheduler.idempotency (tenant_id, scope, jti, op, body_sha256, result, created_at)
VALUES ($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::bytea, $7::timestamptz)
"""

SET_WINDOW = """
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
VALUES ($1::text, $2::text, $3::timestamptz[], $4::timestamptz)
ON CONFLICT (tenant_id, scope) DO UPDATE
  SET accepted = excluded.accepted, updated_at = excluded.updated_at
"""


async def lock(
    connection: Connection, tenant_ids: Sequence[str], install_ids: Sequence[UUID]
) -> list[Install | None]:
    """Lock the rows of these installs, tenant by tenant, as ``create_batch.lock`` does."""
    await connection.execute(LIMIT_WAITING)
    wanted: dict[str, list[UUID]] = defaultdict(list)
    for tenant_id, install_id in zip(tenant_ids, install_ids, strict=True):
        wanted[tenant_id].append(install_id)
    locked = {}
    for tenant_id, ids in wanted.items():
        for row in await connection.fetch(LOCK, tenant_id, ids):
            # Another version than the row has now: see ``installs.lock``.
            if row["joined_version_id"] == row["version_id"]:
                locked[tenant_id, row["install_id"]] = from_row(row, row["manifest"])
    return [locked.get(key) for key in zip(tenant_ids, install_ids, strict=True)]


async def load(connection: Connection, query: LookupQuery) -> ChangeLookup:
    """Answer one query, with its schedule; call it with the install's row locked."""
    (lookup,) = await look_up(connection, [query])
    if query.schedule_id is None:
        return lookup
    return structs.replace(lookup, schedule=await _schedule(connection, query))


async def look_up(connection: Connection, queries: Sequence[LookupQuery]) -> list[ChangeLookup]:
    """Answer each query; call it with the installs' rows locked, in a later statement."""
    tenants = [query.tenant_id for query in queries]
    scopes = [query.scope for query in queries]
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    replays = {
        tuple(row[:3]): Replay(*row[3:])
        for row in await connection.fetch(
            REPLAYS, tenants, scopes, [query.jti for query in queries]
        )
    }
    windows = {
        tuple(row[:2]): row["accepted"] for row in await connection.fetch(WINDOWS, tenants, scopes)
    }
    names = [query.name for query in queries if query.name is not None]
    schedules = {
        tuple(row[:2]): (row["schedules"], _holders(row["holders"]))
        for row in await connection.fetch(
            NAMES, tenants, [query.install_id for query in queries], names
        )
    }
    endpoints: dict[UUID, list[tuple[UUID, str, str]]] = defaultdict(list)
    for row in await connection.fetch(ENDPOINTS, [query.version_id for query in queries]):
        endpoints[row["version_id"]].append((row["id"], row["method"], row["path"]))
    lookups = []
    for query in queries:
        count, holders = schedules.get((query.tenant_id, query.install_id), (0, {}))
        stored = endpoints[query.version_id]
        lookups.append(
            ChangeLookup(
                now=now,
                replay=replays.get((query.tenant_id, query.scope, query.jti)),
                accepted=windows.get((query.tenant_id, query.scope), ()),
                schedules=count,
                name_holder=None if query.name is None else holders.get(query.name),
                materialised=bool(stored),
                endpoints=[(id_, method) for id_, method, path in stored if path == query.path],
            )
        )
    return lookups


async def write(connection: Connection, created: Sequence[CreatedSchedule]) -> None:
    """Write schedules, timers, and what their creations leave behind."""
    await connection.executemany(INSERT_SCHEDULE, [_columns(each) for each in created])
    timed = [each for each in created if each.new.due_at is not None]
    await connection.executemany(rows.SET_TIMER, [_timer(each) for each in timed])
    await _record([each.record for each in created], connection)


async def record(connection: Connection, record: ChangeRecord) -> None:
    """Write what the change leaves behind, in the change's own transaction."""
    await _record([record], connection)


async def _record(records: Sequence[ChangeRecord], connection: Connection) -> None:
    replays = [(r.tenant_id, r.scope, r.jti, r.op, r.body_sha256, r.result, r.at) for r in records]
    await connection.executemany(INSERT_REPLAY, replays)
    await connection.executemany(audit.INSERT_ONE, [_entry(each) for each in records])
    await connection.executemany(outbox.INSERT_ONE, [_event(each) for each in records])
    windows = [(r.tenant_id, r.scope, r.accepted, r.at) for r in records]
    await connection.executemany(SET_WINDOW, windows)


async def _schedule(connection: Connection, query: LookupQuery) -> Schedule | None:
    due_at = await connection.fetchval(DUE_AT, query.tenant_id, query.schedule_id)
    row = await connection.fetchrow(
        SCHEDULE, query.tenant_id, query.install_id, query.schedule_id, due_at
    )
    return None if row is None else from_columns(row)


def _holders(texts: Sequence[str] | None) -> dict[str, UUID]:
    return {text[UUID_LENGTH:]: UUID(text[:UUID_LENGTH]) for text in texts or ()}


def _columns(created: CreatedSchedule) -> tuple[object, ...]:
    record, new = created.record, created.new
    job_id = new.id if new.enabled else None
    handle = f"extsched:{record.install_id}:{new.id}" if new.enabled else None
    first = (record.tenant_id, record.install_id, new.id, record.at)
    return (*chain(first, rows.values(new)[:-1]), job_id, handle)


def _timer(created: CreatedSchedule) -> tuple[object, ...]:
    record, new = created.record, created.new
    return record.tenant_id, new.id, record.install_id, new.cron, new.timezone, new.due_at


def _entry(record: ChangeRecord) -> tuple[object, ...]:
    key = (record.tenant_id, record.install_id, record.schedule_id)
    return (*key, record.op, "host_api", record.actor, str(record.jti), record.changes, record.at)


def _event(record: ChangeRecord) -> tuple[object, ...]:
    key = (record.tenant_id, record.install_id, record.schedule_id)
    return (*key, None, record.event, record.data, record.at)
