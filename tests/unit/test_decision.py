"""Whether a claimed run is called, and with what: each obstacle, and each member of the request."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET, structs

from contracts.execution import ExecuteRequest, SecretEnvelope
from service.rules.call_ids import request_id
from service.storage.runs.attempts import RunRecord
from service.storage.runs.invocations import Invocation, Secrets
from service.worker.firing.decision import (
    CACHED_TEXT_CHARS,
    CONFIG_UNREADABLE,
    CONTENT_HASH_MISSING,
    ENDPOINT_MISSING,
    SUPERSEDED,
    Decision,
    EndWithoutCall,
    decide,
)

RUN = RunRecord(
    tenant_id="tenant-1",
    id=UUID(int=1),
    slot=datetime(2026, 3, 2, 12, 0, tzinfo=UTC),
    install_id=UUID(int=2),
    schedule_id=UUID(int=3),
    kind="scheduled",
    trigger="schedule",
    status="running",
    attempts=1,
    fence=5,
    lease_until=None,
    retry_at=None,
    next_slot=None,
    started_at=None,
    http_status=None,
    error=None,
    worker="worker-1",
)
CALLABLE = Invocation(
    exists=True,
    enabled=True,
    install_enabled=True,
    paused=False,
    name="Nightly sync/1",
    method=" post ",
    path="//sync",
    install_id=UUID(int=2),
    registry_id=UUID(int=6),
    version_id=UUID(int=7),
    content_hash="sha256:abc",
)
HEADERS = {
    "x-alga-tenant": "tenant-1",
    "x-alga-extension": str(UUID(int=6)),
    "x-alga-schedule-id": str(UUID(int=3)),
    "x-alga-schedule-name": "Nightly%20sync%2F1",
    "x-alga-scheduled-for": "2026-03-02T12:00:00Z",
    "x-alga-attempt": "1",
    "x-alga-trigger": "schedule",
    "x-idempotency-key": str(UUID(int=1)),
}


def decided(
    run: dict[str, Any] | None = None,
    *,
    owns_slot: bool = True,
    declared_is_granted: bool = False,
    **invocation: Any,
) -> Decision:
    return decide(
        structs.replace(RUN, **(run or {})),
        structs.replace(CALLABLE, **invocation),
        owns_slot=owns_slot,
        timeout_ms=30_000,
        declared_is_granted=declared_is_granted,
    )


def called(run: dict[str, Any] | None = None, **invocation: Any) -> ExecuteRequest:
    decision = decided(run, **invocation)
    assert isinstance(decision, ExecuteRequest)
    return decision


def failed(decision: Decision) -> tuple[int | None, str | None]:
    """Return status and error of a run that failed without a call, for good."""
    assert isinstance(decision, EndWithoutCall)
    assert decision.outcome is not None
    assert (decision.status, decision.reason, decision.outcome.final) == ("error", None, True)
    return decision.outcome.http_status, decision.outcome.error


def test_the_request_says_what_is_called_and_why() -> None:
    request = called()
    context = request.context
    assert context.request_id == request_id(RUN.id, 5)
    assert (context.tenant_id, context.extension_id) == ("tenant-1", str(UUID(int=6)))
    assert (context.install_id, context.version_id) == (str(UUID(int=2)), str(UUID(int=7)))
    assert (context.content_hash, context.config) == ("sha256:abc", {})
    assert (context.trigger, context.schedule_id) == ("schedule", str(UUID(int=3)))
    assert (context.scheduled_for, context.attempt) == ("2026-03-02T12:00:00Z", 1)
    assert (request.http.method, request.http.path) == ("POST", "/sync")
    assert (request.http.headers, request.http.body_b64) == (HEADERS, UNSET)
    assert request.limits.timeout_ms == 30_000
    assert request.secret_envelope is UNSET


def test_a_hash_without_its_kind_gets_it() -> None:
    assert called(content_hash="abc").context.content_hash == "sha256:abc"


@pytest.mark.parametrize(
    ("trigger", "shown"),
    [("run_now", "run_now"), ("schedule", "schedule"), ("catchup", "schedule")],
)
def test_a_run_by_hand_is_told_from_one_of_the_schedule(trigger: str, shown: str) -> None:
    request = called({"trigger": trigger, "attempts": 3})
    assert (request.context.trigger, request.http.headers["x-alga-trigger"]) == (shown, shown)
    assert (request.context.attempt, request.http.headers["x-alga-attempt"]) == (3, "3")


@pytest.mark.parametrize("name", [None, ""])
def test_a_schedule_without_a_name_has_no_header_for_it(name: str | None) -> None:
    assert "x-alga-schedule-name" not in called(name=name).http.headers


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exists": False, "enabled": False}, "schedule deleted"),
        ({"enabled": False, "paused": True}, "schedule disabled"),
        ({"paused": True, "install_enabled": False}, "tenant paused"),
        ({"install_enabled": False, "method": None}, "install disabled"),
    ],
)
def test_what_is_off_is_skipped_and_the_first_reason_told(
    changed: dict[str, Any], reason: str
) -> None:
    assert decided(**changed) == EndWithoutCall("skipped", reason)


def test_a_run_by_hand_calls_a_disabled_schedule_and_nothing_else_that_is_off() -> None:
    manual = {"kind": "manual", "trigger": "run_now"}
    assert called(manual, enabled=False).context.trigger == "run_now"
    assert decided(manual, paused=True) == EndWithoutCall("skipped", "tenant paused")


@pytest.mark.parametrize("missing", ["method", "path"])
def test_an_endpoint_that_is_missing_disables_the_schedule(missing: str) -> None:
    without: dict[str, Any] = {missing: None}
    decision = decided(**without)
    assert failed(decision) == (None, ENDPOINT_MISSING)
    assert isinstance(decision, EndWithoutCall)
    assert decision.disable


@pytest.mark.parametrize("content_hash", [None, ""])
def test_a_version_without_a_hash_is_not_called(content_hash: str | None) -> None:
    decision = decided(content_hash=content_hash)
    assert failed(decision) == (None, CONTENT_HASH_MISSING)
    assert isinstance(decision, EndWithoutCall)
    assert not decision.disable


def test_a_first_attempt_beside_another_run_is_an_overlap() -> None:
    overlap = EndWithoutCall("skipped_overlap", "overlap")
    assert decided({"attempts": 1}, owns_slot=False) == overlap
    assert decided({"attempts": 0}, owns_slot=False) == overlap


def test_a_retry_beside_another_run_has_failed_already() -> None:
    with_error = {"attempts": 2, "error": "boom", "http_status": 503}
    assert failed(decided(with_error, owns_slot=False)) == (503, "boom")
    assert failed(decided({"attempts": 2, "http_status": 503}, owns_slot=False)) == (
        None,
        SUPERSEDED,
    )


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (None, {}),
        ("null", {}),
        ('"null"', {}),
        ("{}", {}),
        ('{"a": "x", "b": 1.50, "c": {"d": [1, 2]}, "e": null}', None),
        ('"{\\"a\\": \\"x\\"}"', {"a": "x"}),
    ],
)
def test_a_configuration_is_of_texts(text: str | None, config: dict[str, str] | None) -> None:
    if config is None:
        config = {"a": "x", "b": "1.50", "c": '{"d": [1, 2]}', "e": "null"}
    assert called(config=text).context.config == config


@pytest.mark.parametrize(
    "text", ["", "[1]", "5", "{", '"x"', '"\\"{}\\""', '{"a": "\\ud800"}', "[" * 100_000]
)
def test_a_configuration_that_is_no_object_fails_the_run(text: str) -> None:
    assert failed(decided(config=text)) == (None, CONFIG_UNREADABLE)


def test_long_texts_are_read_as_short_ones_are() -> None:
    assert CACHED_TEXT_CHARS == 2048
    for length in (2030, 2048, 2049, 5000):
        text = json.dumps({"a": "x" * (length - len('{"a": ""}'))})
        request = called(config=text, payload=text)
        assert request.context.config == json.loads(text)
        assert body(request) == json.loads(text)


def body(request: ExecuteRequest) -> Any:
    assert isinstance(request.http.body_b64, str)
    return json.loads(base64.b64decode(request.http.body_b64))


def test_a_payload_is_the_body_and_says_what_it_is() -> None:
    request = called(payload='{"a": [1, 2.5]}')
    assert body(request) == {"a": [1, 2.5]}
    assert request.http.headers == {**HEADERS, "content-type": "application/json"}


@pytest.mark.parametrize(
    "changed", [{"payload": None}, {"payload": "null"}, {"method": "get", "payload": "{}"}]
)
def test_without_a_payload_and_of_a_get_there_is_no_body(changed: dict[str, Any]) -> None:
    request = called(**changed)
    assert (request.http.body_b64, request.http.headers) == (UNSET, HEADERS)


def test_capabilities_are_in_the_order_of_their_names() -> None:
    names = ["cap:scheduler.manage", "cap:http.fetch", "cap:log.emit", "cap:storage.kv"]
    columns: dict[str, Any] = {"granted": json.dumps(names), "declared": json.dumps(names)}
    held = called(**columns).providers
    assert held == sorted(held)
    assert {"cap:scheduler.manage", "cap:http.fetch"} <= set(held)


def test_a_declaration_is_a_grant_only_where_it_is_taken_for_one() -> None:
    declared: dict[str, Any] = {"declared": '["cap:scheduler.manage"]'}
    assert "cap:scheduler.manage" not in called(**declared).providers
    assert "cap:scheduler.manage" in called(**declared, declared_is_granted=True).providers
    by_config = {**declared, "providers": '["cap:scheduler.manage"]'}
    assert "cap:scheduler.manage" in called(**by_config).providers


def test_secrets_go_along_as_they_are_stored() -> None:
    secrets = Secrets("c2VjcmV0", "aes", "key", "mount", "v1", "2027-01-01")
    assert called(secrets=secrets).secret_envelope == SecretEnvelope(
        ciphertext_b64="c2VjcmV0",
        algorithm="aes",
        key_path="key",
        mount="mount",
        version="v1",
        expires_at="2027-01-01",
    )
    bare = Secrets("c2VjcmV0", None, None, None, None, None)
    assert called(secrets=bare).secret_envelope == SecretEnvelope(ciphertext_b64="c2VjcmV0")
