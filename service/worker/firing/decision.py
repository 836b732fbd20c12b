"""Whether a claimed run is called, and with what. Pure: everything was read before."""

import base64
from functools import lru_cache
from typing import TypeAlias
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.execution import (
    ExecuteContext,
    ExecuteHttp,
    ExecuteLimits,
    ExecuteRequest,
    SecretEnvelope,
)
from service.rules.capabilities import effective
from service.rules.columns import read_container
from service.rules.endpoints import normal_method, normal_path
from service.storage.runs.attempts import Run
from service.storage.runs.invocations import Invocation, Secrets
from service.storage.runs.occurrences import slot_text

ENDPOINT_GONE = "Endpoint is not declared by the installed version; schedule disabled"
CONFIG_UNREADABLE = "The install's configuration cannot be read"
NO_CONTENT = "The installed version has no content hash"
SHORT = 2048
"""Length up to which what was read from a JSON column is remembered."""

_CONFIG = msgspec.json.Decoder(dict[str, msgspec.Raw] | str | None)

OVERTAKEN = "Another run of this schedule began before the retry"


class Skip(Struct, frozen=True):
    """The run ends without a call and leaves no trace on the schedule."""

    status: str


class Fail(Struct, frozen=True):
    """The run ends as an error without a call; perhaps its schedule is to be disabled."""

    error: str
    disable: bool = False
    http_status: int | None = None
    """Of the attempt before, where the error is that attempt's."""


class Go(Struct, frozen=True):
    """The call is to be made."""

    request: ExecuteRequest


Decision: TypeAlias = Skip | Fail | Go


def decide(
    run: Run, found: Invocation, *, holding: bool, timeout_ms: int, declared_is_granted: bool
) -> Decision:
    """Go through what may have been found."""
    obstacle = _obstacle(run, found)
    if obstacle is not None:
        return obstacle
    config = _config(found.config)
    if config is None:
        return Fail(CONFIG_UNREADABLE)
    if not found.content_hash:
        return Fail(NO_CONTENT)
    if not holding:
        # A retry that came too late has failed already; it was not merely in the way.
        if run.attempts <= 1:
            return Skip("skipped_overlap")
        return Fail(run.error, http_status=run.http_status) if run.error else Fail(OVERTAKEN)
    providers = effective(
        found.granted, found.providers, found.declared, declared_is_granted=declared_is_granted
    )
    return Go(
        ExecuteRequest(
            context=_context(run, found, config, found.content_hash),
            http=_http(run, found),
            limits=ExecuteLimits(timeout_ms=timeout_ms),
            providers=_ordered(providers),
            secret_envelope=_envelope(found.secrets),
        )
    )


def _obstacle(run: Run, found: Invocation) -> Skip | Fail | None:
    """Why there is nothing to call, if so."""
    if not found.exists or not (found.enabled or run.kind == "manual"):
        return Skip("skipped")
    if not found.install_enabled or found.paused:
        return Skip("skipped")
    if found.method is None or found.path is None:
        return Fail(ENDPOINT_GONE, disable=True)
    return None


def _context(
    run: Run, found: Invocation, config: dict[str, str], content_hash: str
) -> ExecuteContext:
    prefix = "" if content_hash.startswith("sha256:") else "sha256:"
    return ExecuteContext(
        request_id=str(uuid4()),
        tenant_id=run.tenant_id,
        extension_id=str(found.registry_id),
        install_id=str(found.install_id),
        version_id=str(found.version_id),
        content_hash=prefix + content_hash,
        config=config,
        trigger="run_now" if run.trigger == "run_now" else "schedule",
        schedule_id=str(run.schedule_id),
        scheduled_for=slot_text(run.slot),
        attempt=run.attempts,
    )


def _http(run: Run, found: Invocation) -> ExecuteHttp:
    method, path = normal_method(found.method or ""), _short_path(found.path or "")
    headers = {"x-alga-tenant": run.tenant_id, "x-alga-extension": str(found.registry_id)}
    body = _body(found.payload) if method != "GET" else None
    if body is None:
        return ExecuteHttp(method=method, path=path, headers=headers)
    headers["content-type"] = "application/json"
    return ExecuteHttp(method=method, path=path, headers=headers, body_b64=body)


def _body(payload: str | None) -> str | None:
    if payload is None:
        return None
    return _short_body(payload) if len(payload) <= SHORT else _read_body(payload)


def _read_body(payload: str) -> str | None:
    value = read_container(payload)
    return None if value is None else base64.b64encode(msgspec.json.encode(value)).decode()


def _config(text: str | None) -> dict[str, str] | None:
    """The configuration as text values; None where the column holds no object."""
    if text is None:
        return {}
    return _short_config(text) if len(text) <= SHORT else _read_config(text)


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


# Slots recur, and the runs of an install share its configuration. Nobody changes what is returned.
_short_body = lru_cache(maxsize=2048)(_read_body)
_short_config = lru_cache(maxsize=2048)(_read_config)
_short_path = lru_cache(maxsize=2048)(normal_path)


@lru_cache(maxsize=2048)
def _ordered(names: frozenset[str]) -> list[str]:
    return sorted(names)


def _text(raw: bytes) -> str:
    # Anything but a string as it stands: a number would not survive being read and written.
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
