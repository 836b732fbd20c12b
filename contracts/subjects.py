"""Every subject, queue group, audience and header name on the bus."""

import re

from contracts.base64url import encode_text

HOST_AUDIENCE = "ext.scheduler"
ADMIN_AUDIENCE = "ext.scheduler.admin"
RUNNER_AUDIENCE = "ext.runner"
AUDIENCES = frozenset({HOST_AUDIENCE, ADMIN_AUDIENCE, RUNNER_AUDIENCE})

SCHEDULER_QUEUE = "ext-scheduler"
RUNNER_QUEUE = "ext-runner"

EXECUTE_OP = "execute"
EXECUTE_SUBJECT = "ext.runner.execute"
EVENTS_PREFIX = "ext.scheduler.events"

CONTEXT_HEADER = "Ext-Context"
REQUEST_ID_HEADER = "Ext-Request-Id"
DEADLINE_HEADER = "Ext-Deadline"
IDEMPOTENCY_HEADER = "Ext-Idempotency-Key"
CONTENT_TYPE_HEADER = "Content-Type"
ERROR_HEADER = "Nats-Service-Error"
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
TRACE_HEADER = "traceparent"
TRACE_STATE_HEADER = "tracestate"

RUNNER_POOL_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
"""Names of Runner pools: one token of a subject."""
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
MAX_SUBJECT_BYTES = 4000
"""A server ends the connection over a longer line than its ``max_control_line``, 4,096 bytes."""


def host_subject(op: str) -> str:
    """Return the subject of a host operation, such as ``ext.scheduler.create``."""
    return f"{HOST_AUDIENCE}.{op}"


def admin_subject(op: str) -> str:
    """Return the subject of an admin operation, such as ``ext.scheduler.admin.runNow``."""
    return f"{ADMIN_AUDIENCE}.{op}"


def execute_subject(pool: str | None = None) -> str:
    """Return the subject of execute requests to a Runner pool, None for the default one.

    Raises ValueError when the name of the pool is no single token.
    """
    if pool is None:
        return EXECUTE_SUBJECT
    if len(pool) > 64 or not _PLAIN_TOKEN.fullmatch(pool):
        raise ValueError(f"the name of a Runner pool must match {RUNNER_POOL_PATTERN}: {pool!r}")
    return f"{EXECUTE_SUBJECT}.{pool}"


def event_subject(tenant_id: str, install_id: str, type: str) -> str:  # noqa: A002 - the wire's word
    """Return the subject of an event; the dot of ``type`` stays.

    A tenant id with characters outside ``A-Za-z0-9_-`` would be several tokens, or a wildcard, so
    it appears as ``~`` and its base64url. No plain id begins so: no two tenants share a subject.

    Raises:
        ValueError: the tenant id is empty or too long for a subject, the install id is no single
            token, or the type is not made of tokens.
    """
    if not tenant_id or not _PLAIN_TOKEN.fullmatch(install_id):
        raise ValueError("an event needs a tenant id and an install id of one token")
    if not all(_PLAIN_TOKEN.fullmatch(token) for token in type.split(".")):
        raise ValueError("an event needs a type of tokens with dots between")
    tenant = tenant_id if _PLAIN_TOKEN.fullmatch(tenant_id) else f"~{encode_text(tenant_id)}"
    subject = f"{EVENTS_PREFIX}.{tenant}.{install_id}.{type}"
    if len(subject) > MAX_SUBJECT_BYTES:
        raise ValueError(f"the tenant id is too long for a subject: {len(tenant_id)} characters")
    return subject
