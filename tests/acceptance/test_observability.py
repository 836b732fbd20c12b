"""What operators see of a busy responder and worker: metrics by the list, lines, and no secrets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from contracts.context import Reason
from contracts.schedules import HOST_OPS
from devstack.embedded import Nats, embedded_nats
from tests.support.busy_session import PAYLOAD, Samples, Session, busy_session, scrape
from tests.support.eventually import eventually
from tests.support.observed import PREFIX, RUN_STATUSES, SPECIFIED
from tests.support.responders import Process
from tests.support.shipped_nats import CONFIG, ENVIRONMENT


@pytest.fixture
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-observed", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


def named(samples: Samples) -> dict[str, list[dict[str, str]]]:
    """Return the labels of the series of each metric of ours, parts of histograms put together."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in samples:
        if name.startswith(PREFIX):
            short = name.removeprefix(PREFIX)
            for part in ("_bucket", "_sum", "_count"):
                short = short.removesuffix(part)
            values = {label: value for label, value in labels if label != "le"}
            found.setdefault(short, []).append(values)
    return found


async def test_every_metric_exists_counts_and_has_bounded_labels(
    tmp_path: Path, server: Nats, database: str, pool: asyncpg.Pool
) -> None:
    async with busy_session(server, database, pool, tmp_path) as session:
        # What is counted is counted after the commit that the session waited for.
        await eventually(lambda: counted(session))
        responder, worker = await scrape(session.responder), await scrape(session.worker)
    for samples in (responder, worker):
        found = named(samples)
        assert set(found) >= {name for name, labels in SPECIFIED.items() if not labels}
        for name, series in found.items():
            for labels in series:
                assert set(labels) == set(SPECIFIED[name]), name
                assert all(value in SPECIFIED[name][label] for label, value in labels.items())
    assert set(named(responder)) | set(named(worker)) == set(SPECIFIED)


async def counted(session: Session) -> bool:
    check_responder(await scrape(session.responder))
    check_worker(await scrape(session.worker))
    return True


def check_responder(samples: Samples) -> None:
    def of(name: str, **labels: str) -> float:
        return samples[PREFIX + name, tuple(sorted(labels.items()))]

    for op in HOST_OPS:
        assert of("api_calls_total", operation=op, status="ok") == 1, op
        assert of("api_duration_seconds_count", operation=op) >= 1, op
    assert of("api_calls_total", operation="create", status="refused") == 1
    assert of("api_calls_total", operation="list", status="failed") == 1
    assert of("api_calls_total", operation="runNow", status="failed") == 0
    assert of("api_errors_total", operation="create", code="VALIDATION_FAILED") == 1
    assert of("api_errors_total", operation="list", code="UNAUTHORIZED") == 1
    assert of("auth_failures_total", reason=Reason.AUDIENCE.value) == 1
    assert of("messages_dropped_total", reason="no_reply_subject") == 1
    assert of("messages_dropped_total", reason="queue_full") == 0
    assert of("inflight", kind="request") == 0
    assert of("pool_connections", pool="responder", state="open") >= 1
    assert of("pool_connections", pool="responder", state="limit") == 16
    assert of("nats_connected") == 1
    assert samples["process_resident_memory_bytes", ()] > 0


def check_worker(samples: Samples) -> None:
    def of(name: str, **labels: str) -> float:
        return samples[PREFIX + name, tuple(sorted(labels.items()))]

    ended = {
        status: sum(
            of("runs_total", trigger=trigger, status=status) for trigger in ("schedule", "catchup")
        )
        for status in RUN_STATUSES
    }
    assert ended == {"success": 2, "error": 1, "skipped": 0, "skipped_overlap": 0}
    assert of("run_duration_seconds_count") == 4
    assert of("fire_lateness_seconds_count") == 4
    assert of("retries_total") == 1
    assert of("missed_slots_total") >= 1
    assert of("inflight", kind="invocation") == 1
    assert of("pool_connections", pool="worker", state="open") >= 1
    assert of("nats_connected") == 1


def logged(process: Process, message: str) -> list[dict[str, Any]]:
    """Return the complete lines with this message; all of the log must be JSON."""
    complete = process.log.read_text().rpartition("\n")[0].splitlines()
    return [line for line in map(msgspec.json.decode, complete) if line["message"] == message]


async def test_log_lines_show_each_operation_and_run_but_no_secret(
    tmp_path: Path, server: Nats, database: str, pool: asyncpg.Pool
) -> None:
    async with busy_session(server, database, pool, tmp_path) as session:
        # Runs are logged after the commit that the session waited for.
        await eventually(lambda: len(logged(session.worker, "run")) == 4)
        # So may requests be, after the answer.
        await eventually(lambda: len(logged(session.responder, "request")) == len(HOST_OPS) + 2)
    check_request_lines(session)
    check_run_lines(session)
    for process in (session.responder, session.worker):
        text = process.log.read_text()
        assert len(text) > 1000
        assert [secret for secret in session.secrets if secret in text] == []
    assert PAYLOAD in session.secrets
    assert len(session.secrets) > 20


def check_request_lines(session: Session) -> None:
    requests = logged(session.responder, "request")
    outcomes = [(line["operation"], line["outcome"]) for line in requests]
    assert sorted(outcomes) == sorted(
        [*((op, "ok") for op in HOST_OPS), ("create", "refused"), ("list", "failed")]
    )
    for line in requests:
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert line["duration_ms"] >= 0
        if line["outcome"] != "failed":
            assert line["tenant"] == session.installed.tenant_id, "known from the database"
            assert line["install"] == str(session.installed.install_id)
            assert len(line["request_id"]) == 36
    (failed,) = [line for line in requests if line["outcome"] == "failed"]
    assert (failed["code"], failed["reason"]) == ("UNAUTHORIZED", "audience")


def check_run_lines(session: Session) -> None:
    runs = logged(session.worker, "run")
    assert sorted(line["outcome"] for line in runs) == ["error", "queued", "success", "success"]
    asked = {call.request["context"]["request_id"] for call in session.runner.calls}
    for line in runs:
        assert line["tenant"] == session.installed.tenant_id
        assert line["install"] == str(session.installed.install_id)
        assert {"schedule", "run", "trigger", "attempt", "duration_ms", "http_status"} <= set(line)
        assert line["request_id"] in asked
        assert "error" not in line, "what an extension answers may repeat its payload"
