"""Whether a claimed run is called, and with what. Pure: everything was read before."""

import base64
from functools import lru_cache, partial
from typing import TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.execution import (
    ExecuteContext,
    ExecuteHttp,
    ExecuteLimits,
    ExecuteRequest,
    SecretEnvelope,
)
from service.rules.call_ids import request_id
from service.rules.capabilities import effective
from service.rules.columns import read_container
from service.rules.endpoints import normal_method, normal_path
from service.rules.outcomes import CallOutcome
from service.storage.runs.attempts import RunRecord
from service.storage.runs.invocations import Invocation, Secrets
from service.storage.runs.occurrences import slot_text

ENDPOINT_MISSING = "Endpoint is not declared by the installed version; schedule disabled"
CONFIG_UNREADABLE = "The install's configuration cannot be read"
CONTENT_HASH_MISSING = "The installed version has no content hash"
CACHED_TEXT_CHARS = 2048
"""Up to which length a text from a JSON column is remembered in its parsed form."""


_CONFIG = msgspec.json.Decoder(dict[str, msgspec.Raw] | str | None)

SUPERSEDED = "Another run of this schedule began before the retry"


class EndWithoutCall(Struct, frozen=True):
    """The run ends without a call: skipped with ``status`` and a ``reason``, or failed.

    A skipped run changes nothing on its schedule; with ``disable`` the schedule is disabled.
    """

    status: str = "error"
    reason: str | None = None
    outcome: CallOutcome | None = None
    disable: bool = False


Decision: TypeAlias = EndWithoutCall | ExecuteRequest
"""What becomes of a claimed attempt: an end, or the request to send to the Runner."""


def decide(
    run: RunRecord,
    invocation: Invocation,
    *,
    owns_slot: bool,
    timeout_ms: int,
    declared_is_granted: bool,
) -> Decision:
    """Decide by the state of schedule, install and version whether a run is called."""
    obstacle = _obstacle(run, invocation)
    if obstacle is not None:
        return obstacle
    config = _config(invocation.config)
    if config is None:
        return _failed(CONFIG_UNREADABLE)
    if not invocation.content_hash:
        return _failed(CONTENT_HASH_MISSING)
    if not owns_slot:
        # A retry that came too late has failed already; it is no mere overlap.
        if run.attempts <= 1:
            return EndWithoutCall("skipped_overlap", "overlap")
        return _failed(run.error, run.http_status) if run.error else _failed(SUPERSEDED)
    providers = effective(
        invocation.granted,
        invocation.providers,
        invocation.declared,
        declared_is_granted=declared_is_granted,
    )
    return ExecuteRequest(
        context=_context(run, invocation, config, invocation.content_hash),
        http=_http(run, invocation),
        limits=ExecuteLimits(timeout_ms=timeout_ms),
        providers=_ordered(providers),
        secret_envelope=_envelope(invocation.secrets),
    )


def _failed(error: str, http_status: int | None = None, *, disable: bool = False) -> EndWithoutCall:
    return EndWithoutCall(outcome=CallOutcome(http_status, error, final=True), disable=disable)


def _obstacle(run: RunRecord, invocation: Invocation) -> EndWithoutCall | None:
    """Return the end of a run that has nothing to call, else None."""
    reason = _skip_reason(run, invocation)
    if reason is not None:
        return EndWithoutCall("skipped", reason)
    if invocation.method is None or invocation.path is None:
        return _failed(ENDPOINT_MISSING, disable=True)
    return None


def _skip_reason(run: RunRecord, invocation: Invocation) -> str | None:
    if not invocation.exists:
        return "schedule deleted"
    if not invocation.enabled and run.kind != "manual":
        return "schedule disabled"
    if invocation.paused:
        return "tenant paused"
    return None if invocation.install_enabled else "install disabled"


def _context(
    run: RunRecord, invocation: Invocation, config: dict[str, str], content_hash: str
) -> ExecuteContext:
    prefix = "" if content_hash.startswith("sha256:") else "sha256:"
    return ExecuteContext(
        request_id=request_id(run.id, run.fence),
        tenant_id=run.tenant_id,
        extension_id=str(invocation.registry_id),
        install_id=str(invocation.install_id),
        version_id=str(invocation.version_id),
        content_hash=prefix + content_hash,
        config=config,
        trigger=_trigger(run),
        schedule_id=str(run.schedule_id),
        scheduled_for=slot_text(run.slot),
        attempt=run.attempts,
    )


def _http(run: RunRecord, invocation: Invocation) -> ExecuteHttp:
    method, path = normal_method(invocation.method or ""), _cached_path(invocation.path or "")
    headers = _headers(run, invocation)
    body = _body(invocation.payload) if method != "GET" else None
    if body is None:
        return ExecuteHttp(method=method, path=path, headers=headers)
    headers["content-type"] = "application/json"
    return ExecuteHttp(method=method, path=path, headers=headers, body_b64=body)


def _headers(run: RunRecord, invocation: Invocation) -> dict[str, str]:
    """Return the headers that describe the call to the extension, the same in every Runner."""
    name = {"x-alga-schedule-name": _cached_name(invocation.name)} if invocation.name else {}
    return {
        "x-alga-tenant": run.tenant_id,
        "x-alga-extension": str(invocation.registry_id),
        "x-alga-schedule-id": str(run.schedule_id),
        **name,
        "x-alga-scheduled-for": slot_text(run.slot),
        "x-alga-attempt": str(run.attempts),
        "x-alga-trigger": _trigger(run),
        "x-idempotency-key": str(run.id),
    }


def _trigger(run: RunRecord) -> str:
    return "run_now" if run.trigger == "run_now" else "schedule"


def _body(payload: str | None) -> str | None:
    if payload is None:
        return None
    return _cached_body(payload) if len(payload) <= CACHED_TEXT_CHARS else _read_body(payload)


def _read_body(payload: str) -> str | None:
    value = read_container(payload)
    return None if value is None else base64.b64encode(msgspec.json.encode(value)).decode()


def _config(text: str | None) -> dict[str, str] | None:
    """Return the configuration as text values; None where the column holds no object."""
    if text is None:
        return {}
    return _cached_config(text) if len(text) <= CACHED_TEXT_CHARS else _read_config(text)


def _read_config(text: str) -> dict[str, str] | None:
    try:
        values = _CONFIG.decode(text)
        if isinstance(values, str):  # some writers put JSON text into a JSON string
            values = _CONFIG.decode(values)
        if values is None:
            return {}  # a JSON null says as little as SQL's
        if isinstance(values, str):
            return None
        return {name: _text(bytes(raw)) for name, raw in values.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


# Slots recur, and the runs of an install share its configuration. No caller changes the results.
_cached_body = lru_cache(maxsize=2048)(_read_body)
_cached_config = lru_cache(maxsize=2048)(_read_config)
_cached_path = lru_cache(maxsize=2048)(normal_path)
_cached_name = lru_cache(maxsize=4096)(partial(quote, safe=""))


@lru_cache(maxsize=2048)
def _ordered(names: frozenset[str]) -> list[str]:
    return sorted(names)


def _text(raw: bytes) -> str:
    # Anything but a string stays unchanged: a number would not survive being read and written.
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


def _envelope(secrets: Secrets | None) -> SecretEnvelope | UnsetType:
    if secrets is None:
        return UNSET
    return SecretEnvelope(
        ciphertext_b64=secrets.ciphertext,
        algorithm=_or_unset(secrets.algorithm),
        key_path=_or_unset(secrets.transit_key),
        mount=_or_unset(secrets.transit_mount),
        version=_or_unset(secrets.version),
        expires_at=_or_unset(secrets.expires_at),
    )


def _or_unset(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text
