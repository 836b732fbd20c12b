"""Creates that are answered together: the same answers and the same rows as of each alone."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct, structs

from service.messages import Reply
from service.rules.limits import Limits
from service.storage.platform import installs
from service.storage.schedules import create_batch, sharded_changes
from tests.support.host import Caller, read
from tests.support.measured_dispatcher import WRITTEN, MeasuredDispatcher
from tests.support.platform import Installed, install

NOW = datetime(2026, 3, 29, 0, 59, 30, 123456, tzinfo=UTC)
LIMITS = Limits(max_schedules=3, changes_per_minute=4)
HEARTBEAT = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
MATERIALISED = """
INSERT INTO extension_api_endpoint (version_id, method, path, handler)
VALUES ($1, 'POST', '/api/heartbeat', 'h'), ($1, 'GET', '/api/both', 'g'),
  ($1, 'POST', '/api/both', 'p'), ($1, ' get ', ' api//odd/ ', 'o')
"""
HAS_SCHEDULES = """
INSERT INTO tenant_extension_schedule
  (id, install_id, tenant_id, name, cron, created_at, updated_at)
SELECT gen_random_uuid(), $1, $2, 'taken ' || n, '0 * * * *', $4, $4
FROM generate_series(1, $3::integer) n
"""
HAS_CHANGED = """
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
SELECT $1, 'install:' || $2::uuid::text, $3::timestamptz[], $4
"""


class Case(Struct, frozen=True, kw_only=True):
    """One create, and the state that its install is in. ``made`` of the schedules are there."""

    body: dict[str, Any]
    claims: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    made: int = 0
    seconds_ago: tuple[int, ...] = ()
    materialised: bool = True
    known: bool = True
    has_version: bool = True
    sent_before: dict[str, Any] | None = None


def succeeding(source: random.Random) -> Case:
    """Return a create that is made, of any kind."""
    payload: Any = source.choice([None, {}, [1, 2.5, {"ü": "x" * source.randrange(3000)}]])
    body = {
        "endpoint": source.choice(
            ["/api/heartbeat", "get  api//odd/", "/api/both", "POST /api/both"]
        ),
        "cron": source.choice(["*/5 * * * *", "30 2 29 3 *", "0 9 * * 1", "59 23 31 12 *"]),
        "timezone": source.choice([None, "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]),
        "enabled": source.choice([None, True, False]),
        "name": source.choice([None, " named ", "naïve ☃"]),
        "payload": payload,
    }
    ago = tuple(source.sample(range(-30, 200), source.randrange(4)))
    return Case(body=body, made=source.randrange(3), seconds_ago=ago)


def special() -> list[Case]:
    """Return each way in which a create may end otherwise, or need more than the others."""
    return [
        Case(body={}),
        Case(body={**HEARTBEAT, "cron": "* * * * *", "name": "taken 1"}, made=1),
        Case(body={**HEARTBEAT, "endpoint": "DELETE /api/heartbeat"}),
        Case(body={**HEARTBEAT, "payload": "text", "timezone": 5, "enabled": "yes"}),
        Case(body={**HEARTBEAT, "name": "taken 2"}, made=2),
        Case(body=HEARTBEAT, made=3),
        Case(body=HEARTBEAT, seconds_ago=(1, 5, 20, 59)),
        Case(body=HEARTBEAT, made=3, seconds_ago=(1, 1, 1, 1)),
        Case(body=HEARTBEAT, seconds_ago=(1, 5, 20, 61)),
        Case(body=HEARTBEAT, sent_before=HEARTBEAT),
        Case(body=HEARTBEAT, sent_before=HEARTBEAT, made=2, seconds_ago=(1, 2, 3)),
        Case(body=HEARTBEAT, sent_before={**HEARTBEAT, "cron": "5 * * * *"}),
        Case(body=HEARTBEAT, columns={"enabled": False}),
        Case(body=HEARTBEAT, columns={"status": "suspended"}),
        Case(body=HEARTBEAT, columns={"granted": ()}),
        Case(body={}, columns={"declared": ("cap:log.emit",)}),
        Case(body=HEARTBEAT, claims={"providers": ("cap:log.emit",)}),
        Case(body=HEARTBEAT, claims={"version_id": str(UUID(int=1))}),
        Case(body=HEARTBEAT, claims={"extension_id": str(UUID(int=1))}),
        Case(body=HEARTBEAT, claims={"tenant_id": "another"}),
        Case(body=HEARTBEAT, claims={"tenant_id": None}),
        Case(body=HEARTBEAT, known=False),
        Case(body=HEARTBEAT, materialised=False),
        Case(body={**HEARTBEAT, "endpoint": "/none"}, materialised=False),
        Case(body={"cron": "0 * * * *"}, materialised=False),
        Case(body={"cron": "0 * * * *"}, has_version=False),
    ]


LOCKED_ALONE = 7
"""Of the special ones: no tenant, a wrong one, no install, two without endpoints, and one without a
version, which is looked for twice."""


async def prepared(pool: asyncpg.Pool, case: Case, tenant_id: str) -> Installed:
    """Return an install in the state of the case."""
    installed = await install(pool, tenant_id=tenant_id, **case.columns)
    ids = (installed.install_id, tenant_id)
    if case.materialised:
        await pool.execute(MATERIALISED, installed.version_id)
    if not case.has_version:
        await pool.execute("DELETE FROM extension_version WHERE id = $1", installed.version_id)
    await pool.execute(HAS_SCHEDULES, *ids, case.made, NOW - timedelta(hours=1))
    if case.seconds_ago:
        accepted = [NOW - timedelta(seconds=ago) for ago in case.seconds_ago]
        await pool.execute(HAS_CHANGED, tenant_id, installed.install_id, accepted, NOW)
    return installed if case.known else structs.replace(installed, install_id=uuid4())


def measured(
    pool: asyncpg.Pool, *, together: bool, limits: Limits = LIMITS, sharded: bool = False
) -> MeasuredDispatcher:
    """Return a dispatcher whose clock stands still."""
    return MeasuredDispatcher(
        pool, together=together, limits=limits, clock=lambda _: NOW, sharded=sharded
    )


async def left_by(pool: asyncpg.Pool, installed: Installed) -> list[str]:
    """Return all rows of a tenant, with its own ids replaced by what they are."""
    rows = []
    for table in WRITTEN:
        found = await pool.fetch(
            f"""SELECT to_jsonb(t) - 'sequence' - CASE WHEN '{table}' LIKE '%schedule' THEN ''
                  ELSE 'id' END AS row FROM {table} t WHERE tenant_id = $1""",
            installed.tenant_id,
        )
        rows += [f"{table} {row['row']}" for row in found]
    names = {str(installed.install_id): "INSTALL", installed.tenant_id: "TENANT"}
    for row in await pool.fetch(
        "SELECT id, method || path AS name FROM extension_api_endpoint WHERE version_id = $1",
        installed.version_id,
    ):
        names[str(row["id"])] = row["name"]
    for row in await pool.fetch(
        "SELECT id, name FROM tenant_extension_schedule WHERE tenant_id = $1", installed.tenant_id
    ):
        names[str(row["id"])] = f"SCHEDULE {row['name']}"
        # As it stands in the stored answer: bytes, which the row shows in hexadecimal.
        names[str(row["id"]).encode().hex()] = f"SCHEDULE {row['name']}"
    for identity, name in names.items():
        rows = [row.replace(identity, name) for row in rows]
    return sorted(rows)


def content(reply: Reply) -> Any:
    """Return a reply but for the id of the new schedule."""
    answer = read(reply)
    return {**answer, "scheduleId": "scheduleId" in answer}, reply.error


async def sent(measured: MeasuredDispatcher, installed: Installed, case: Case, jti: UUID) -> Reply:
    return await Caller(measured.dispatcher, installed).send(
        "create", case.body, jti, **case.claims
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sharded", [False, True], ids=["one node", "several nodes"])
async def test_batched_creates_equal_single_creates_in_answers_and_rows(
    pool: asyncpg.Pool, seed: int, sharded: bool
) -> None:
    source = random.Random(seed)
    cases = [*special(), *(succeeding(source) for _ in range(24))]
    source.shuffle(cases)
    one_by_one = measured(pool, together=False)
    at_once = measured(pool, together=True, sharded=sharded)
    jtis = [uuid4() for _ in cases]
    left = [await prepared(pool, case, f"left-{n}-") for n, case in enumerate(cases)]
    right = [await prepared(pool, case, f"right-{n}-") for n, case in enumerate(cases)]
    for case, jti, *twins in zip(cases, jtis, left, right, strict=True):
        if case.sent_before is not None:
            before = structs.replace(case, body=case.sent_before)
            for twin in twins:
                await sent(one_by_one, twin, before, jti)
    alone = [await sent(one_by_one, *each) for each in zip(left, cases, jtis, strict=True)]
    together = await asyncio.gather(
        *(sent(at_once, *each) for each in zip(right, cases, jtis, strict=True))
    )
    assert list(map(content, together)) == list(map(content, alone))
    for one, other in zip(left, right, strict=True):
        assert await left_by(pool, one) == await left_by(pool, other)
    assert at_once.statements[installs.LOCK] == LOCKED_ALONE
    if sharded:
        assert at_once.statements[sharded_changes.LOCK] > 0
        assert at_once.statements[sharded_changes.NAMES] < len(cases) / 2
    else:
        assert at_once.statements[create_batch.LOCK] < len(cases) / 4
