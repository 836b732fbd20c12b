"""A call to the Runner and what its success leaves behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from contracts.context import verify
from contracts.subjects import CONTEXT_HEADER, DEADLINE_HEADER, RUNNER_AUDIENCE
from service.storage.runs.queue import JobPayload
from service.worker.firing import RunExecutor
from service.worker.runner_client import RunnerClient
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.keys import KEYS, WORKER_KEY
from tests.support.platform import install
from tests.support.runner_double import status


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


async def test_success_is_recorded_on_run_and_schedule(stack: Stack) -> None:
    job = await stack.planned(payload={"a": [1, 2.5, "ü"]})
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("success", 1, 200)
    assert (run["worker"], run["error"]) == ("worker-1", None)
    assert run["started_at"] == run["finished_at"] == stack.clock.now
    row = await stack.schedule(job)
    assert (row["last_run_at"], row["last_run_status"]) == (stack.clock.now, "success")
    assert row["last_error"] is None
    assert row["revision"] == 1
    assert await stack.events() == ["run.succeeded"]
    assert stack.total("extension_scheduler_runs_total", trigger="schedule", status="success") == 1
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0


async def test_request_carries_what_the_runner_needs(stack: Stack) -> None:
    made = stack.made
    await stack.pool.execute(
        "INSERT INTO tenant_extension_install_secrets"
        " (install_id, tenant_id, ciphertext, algorithm, transit_key, transit_mount, version,"
        " expires_at) VALUES ($1, $2, 'Y2lwaGVy', 'aes', 'key', 'transit', 'v1', $3)",
        made.install_id,
        made.tenant_id,
        SLOT,
    )
    await stack.pool.execute(
        "UPDATE tenant_extension_install SET config = $1",
        '{"url": "https://x", "n": 3, "o": {"a": 1}}',
    )
    job = await stack.planned(payload={"a": 1})
    await stack.executor.execute(job)
    (call,) = stack.runner.calls
    context = call.request["context"]
    assert context.pop("request_id")
    assert context == {
        "tenant_id": made.tenant_id,
        "extension_id": str(made.registry_id),
        "install_id": str(made.install_id),
        "version_id": str(made.version_id),
        "content_hash": "sha256:abc",
        "config": {"url": "https://x", "n": "3", "o": '{"a": 1}'},
        "trigger": "schedule",
        "schedule_id": str(job.schedule_id),
        "scheduled_for": "2026-03-02T12:00:00Z",
        "attempt": 1,
    }
    http = call.request["http"]
    assert (http["method"], http["path"], http["query"]) == ("POST", "/api/tick", {})
    assert http["headers"] == {
        "x-alga-tenant": made.tenant_id,
        "x-alga-extension": str(made.registry_id),
        "x-alga-schedule-id": str(job.schedule_id),
        "x-alga-scheduled-for": "2026-03-02T12:00:00Z",
        "x-alga-attempt": "1",
        "x-alga-trigger": "schedule",
        "x-idempotency-key": str(job.run_id),
        "content-type": "application/json",
    }
    assert call.payload == {"a": 1}
    assert call.request["limits"] == {"timeout_ms": 30000}
    assert "cap:http.fetch" in call.request["providers"]
    assert call.request["secret_envelope"] == {
        "ciphertext_b64": "Y2lwaGVy",
        "algorithm": "aes",
        "key_path": "key",
        "mount": "transit",
        "version": "v1",
        "expires_at": "2026-03-02T12:00:00.000Z",
    }
    assert "user" not in call.request
    assert call.key == str(job.run_id)


async def test_schedule_name_goes_into_its_header_percent_encoded(stack: Stack) -> None:
    job = await stack.planned()
    await stack.pool.execute(
        "UPDATE tenant_extension_schedule SET name = $1", "Täglich, 50% & a/b\r\nx: 1"
    )
    await stack.executor.execute(job)
    (call,) = stack.runner.calls
    name = call.request["http"]["headers"]["x-alga-schedule-name"]
    assert name == "T%C3%A4glich%2C%2050%25%20%26%20a%2Fb%0D%0Ax%3A%201"


async def test_attempt_and_trigger_are_in_the_headers_of_the_extension(stack: Stack) -> None:
    job = await stack.planned()
    stack.runner.script = status(500)
    await stack.executor.execute(job)
    stack.clock.forward(10)
    await stack.executor.execute(job)
    first, second = (call.request["http"]["headers"] for call in stack.runner.calls)
    assert second == first | {"x-alga-attempt": "2"}
    stack.runner.script = status(200)
    stack.clock.forward(600)
    await stack.executor.execute(job)
    await stack.executor.execute(await stack.manual(job.schedule_id))
    assert stack.runner.calls[-1].request["http"]["headers"]["x-alga-trigger"] == "run_now"


async def test_request_is_signed_for_the_runner_by_the_databases_clock(stack: Stack) -> None:
    job = await stack.planned()
    await stack.executor.execute(job)
    (call,) = stack.runner.calls
    now = stack.clock.now.timestamp()
    claims = verify(
        call.headers[CONTEXT_HEADER],
        KEYS,
        audience=RUNNER_AUDIENCE,
        op="execute",
        body=call.body,
        now=now + 1,
    )
    assert str(claims.jti) == call.request["context"]["request_id"]
    assert claims.install_id == stack.made.install_id
    assert claims.exp - claims.iat <= 120
    assert now * 1000 <= int(call.headers[DEADLINE_HEADER]) <= (now + 60) * 1000


async def test_get_never_has_a_body(stack: Stack) -> None:
    async with stack.pool.acquire() as connection:
        made = await install(connection, materialised=("get", " api//status"))
    job = await stack.planned(made, payload={"kept": True})
    await stack.executor.execute(job)
    http = stack.runner.calls[0].request["http"]
    assert (http["method"], http["path"]) == ("GET", "/api/status")
    assert "body_b64" not in http
    assert "content-type" not in http["headers"]


async def test_payload_stored_as_json_text_is_read(stack: Stack) -> None:
    job = await stack.planned()
    await stack.pool.execute(
        "UPDATE tenant_extension_schedule SET payload_json = to_jsonb('{\"a\": 1}'::text)"
    )
    await stack.executor.execute(job)
    assert stack.runner.calls[0].payload == {"a": 1}


async def test_newest_bundle_and_config_row_count(stack: Stack) -> None:
    made = stack.made
    # As the platform has it.
    await stack.pool.execute("ALTER TABLE extension_bundle ALTER created_at DROP NOT NULL")
    await stack.pool.execute(
        "INSERT INTO extension_bundle (version_id, content_hash, created_at)"
        " VALUES ($1, 'feed', now() + interval '1 hour'), ($1, 'of unknown age', NULL)",
        made.version_id,
    )
    await stack.pool.execute(
        "INSERT INTO tenant_extension_install_config (install_id, tenant_id, config)"
        ' VALUES ($1, $2, \'{"from": "row"}\')',
        made.install_id,
        made.tenant_id,
    )
    await stack.executor.execute(await stack.planned())
    context = stack.runner.calls[0].request["context"]
    assert context["content_hash"] == "sha256:feed"
    assert context["config"] == {"from": "row"}


CONFIGS = [
    ("null", {}),
    ("{}", {}),
    ('{"a": 123456789012345678901}', {"a": "123456789012345678901"}),
    ('{"a": 1.0, "b": 0.10, "c": 12e2}', {"a": "1.0", "b": "0.10", "c": "1200"}),
    ('{"a": 1e400}', {"a": "1" + "0" * 400}),
    (
        '{"a": null, "b": true, "c": [1, {"d": ""}]}',
        {"a": "null", "b": "true", "c": '[1, {"d": ""}]'},
    ),
    ('{"a": "", "b": "\\u00e9\\"\\n", "c": "1"}', {"a": "", "b": 'é"\n', "c": "1"}),
    ('"{\\"a\\": 1.0}"', {"a": "1.0"}),
]


@pytest.mark.parametrize(("config", "sent"), CONFIGS)
async def test_config_values_that_are_no_strings_go_as_their_json_text(
    stack: Stack, config: str, sent: dict[str, str]
) -> None:
    await stack.pool.execute("UPDATE tenant_extension_install SET config = $1", config)
    await stack.executor.execute(await stack.planned())
    assert stack.runner.calls[0].request["context"]["config"] == sent


async def test_ended_run_is_not_called_again(stack: Stack) -> None:
    job = await stack.planned()
    await stack.executor.execute(job)
    assert await stack.executor.execute(job) is None
    assert len(stack.runner.calls) == 1


async def test_older_run_that_ends_late_does_not_overwrite_a_newer_one(stack: Stack) -> None:
    older = await stack.planned(slot=SLOT - timedelta(minutes=5))
    stack.clock.now = SLOT + timedelta(seconds=1)
    newer = await stack.manual(older.schedule_id)
    await stack.executor.execute(newer)
    stack.runner.script = status(404)
    await stack.executor.execute(older)
    assert (await stack.run(older))["status"] == "error"
    row = await stack.schedule(older)
    assert (row["last_run_status"], row["last_error"]) == ("success", None)


async def test_error_texts_are_cut_and_cleaned(stack: Stack) -> None:
    stack.runner.script = status(404, "a\0b" + "x" * 10_000)
    job = await stack.planned()
    await stack.executor.execute(job)
    error = (await stack.run(job))["error"]
    assert error.startswith("abx")
    assert len(error) == 4000


async def test_many_runs_share_their_statements(stack: Stack) -> None:
    async with stack.pool.acquire() as connection:
        ids = [
            await schedule_rows.schedule(connection, stack.made, due_at=SLOT) for _ in range(150)
        ]
    first = await stack.planned()
    others = await run_ids(stack, ids)
    jobs = [first, *(JobPayload(first.tenant_id, run, id_, SLOT) for id_, run in others)]
    await asyncio.gather(*(stack.executor.execute(job) for job in jobs))
    rows = await stack.pool.fetch("SELECT status, count(*) FROM ext_scheduler.runs GROUP BY 1")
    assert [tuple(row) for row in rows] == [("success", 151)]
    assert len({call.key for call in stack.runner.calls}) == 151


async def run_ids(stack: Stack, ids: list[Any]) -> list[tuple[Any, Any]]:
    rows = await stack.pool.fetch(
        "SELECT schedule_id, id FROM ext_scheduler.runs WHERE schedule_id = ANY ($1)", ids
    )
    return [(row["schedule_id"], row["id"]) for row in rows]


async def test_no_run_starts_while_stopping(stack: Stack) -> None:
    job = await stack.planned()
    assert stack.executor.room == stack.settings.in_flight
    stack.executor.stopping = True
    assert stack.executor.room == 0
    assert await stack.executor.execute(job) == timedelta(0)
    assert (await stack.run(job))["attempts"] == 0


async def test_no_run_starts_without_a_bus(stack: Stack, nats_url: str) -> None:
    job = await stack.planned()
    async with a_client(nats_url) as client:
        bus = RunnerClient(client, lambda: WORKER_KEY)
        executor = RunExecutor(stack.pool, bus, stack.metrics, stack.settings, now=stack.clock)
        assert executor.room == stack.settings.in_flight
    assert executor.room == 0
    assert await executor.execute(job) == timedelta(seconds=1)
    assert (await stack.run(job))["attempts"] == 0


async def test_a_run_that_waited_for_a_permit_does_not_start_while_stopping(stack: Stack) -> None:
    executor = stack.another(in_flight=1, permit_timeout_s=300.0)
    assert executor.limiter.try_acquire("another tenant")
    job = await stack.planned()
    waiting = asyncio.create_task(executor.execute(job))
    assert (await stack.run(job))["attempts"] == 0
    executor.stopping = True
    executor.limiter.release("another tenant", 0.0)
    assert await waiting == timedelta(0)
    assert (await stack.run(job))["attempts"] == 0
    assert (executor.limiter.in_use, stack.runner.calls) == (0, [])
