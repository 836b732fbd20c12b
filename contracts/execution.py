"""The request to the Runner on ``ext.runner.execute`` and its response: its snake_case JSON.

Optional members are left out when written; reading takes ``null`` for them as well, because other
programs call a Runner too.
"""

from enum import Enum
from typing import TypeVar

from msgspec import UNSET, Struct, UnsetType, field

T = TypeVar("T")


class ExecuteContext(Struct, frozen=True, kw_only=True):
    """The install that is called, and why.

    ``request_id`` is the token's ``jti``, another one for each call; ``trigger`` is ``schedule`` or
    ``run_now``; ``content_hash`` reads ``sha256:…``; config values that are not strings travel as
    their JSON text. The optional members are absent when a Runner is called for something other
    than a schedule.
    """

    request_id: str
    tenant_id: str
    extension_id: str
    install_id: str | UnsetType | None = UNSET
    version_id: str | UnsetType | None = UNSET
    content_hash: str | UnsetType | None = UNSET
    config: dict[str, str] = field(default_factory=dict)
    trigger: str | UnsetType | None = UNSET
    schedule_id: str | UnsetType | None = UNSET
    scheduled_for: str | UnsetType | None = UNSET
    attempt: int | UnsetType | None = UNSET


class ExecuteHttp(Struct, frozen=True, kw_only=True):
    """The call itself; ``body_b64`` is the base64 of the payload's JSON, never with GET.

    For a schedule, ``headers`` describe the call to the extension, whichever Runner it runs in:
    ``x-alga-tenant``, ``x-alga-extension``, ``x-alga-schedule-id``, ``x-alga-schedule-name``
    (UTF-8, percent-encoded; absent without a name), ``x-alga-scheduled-for`` (the slot),
    ``x-alga-attempt``, ``x-alga-trigger`` (``schedule`` or ``run_now``) and
    ``x-idempotency-key``: the occurrence, the same on every attempt.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body_b64: str | UnsetType | None = UNSET


class ExecuteLimits(Struct, frozen=True):
    """The Runner's own limit, the innermost of the nested timeouts."""

    timeout_ms: int


class SecretEnvelope(Struct, frozen=True, kw_only=True):
    """The install's encrypted secrets, forwarded unopened; every member is text."""

    ciphertext_b64: str
    algorithm: str | UnsetType | None = UNSET
    key_path: str | UnsetType | None = UNSET
    mount: str | UnsetType | None = UNSET
    version: str | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET


class ExecuteRequest(Struct, frozen=True, kw_only=True):
    """The Runner's ``/v1/execute`` document; ``providers`` are the effective capabilities."""

    context: ExecuteContext
    http: ExecuteHttp
    limits: ExecuteLimits
    providers: list[str] = field(default_factory=list)
    secret_envelope: SecretEnvelope | UnsetType | None = UNSET


def _no_headers() -> dict[str, str]:
    # Not ``dict`` itself, which would be left out when written: a Runner's answer always has them.
    return {}


class ExecuteResponse(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The Runner's response; it succeeded without ``error`` and with such a ``status``."""

    status: int
    headers: dict[str, str] = field(default_factory=_no_headers)
    body_b64: str | None = None
    error: str | None = None


class StatusClass(Enum):
    """What the status of a Runner's response says of the call."""

    SUCCESS = "success"
    FAILURE = "failure"
    INVALID = "invalid"


def classify_status(status: object) -> StatusClass:
    """Return the class of a status: 200 to 399 is success, another HTTP status failure.

    Anything but an integer from 100 to 599 is invalid, and the response with it nonsense.
    """
    if type(status) is not int or not 100 <= status <= 599:
        return StatusClass.INVALID
    return StatusClass.SUCCESS if 200 <= status < 400 else StatusClass.FAILURE


def given(value: T | UnsetType | None) -> T | None:
    """Read an optional member: absent and ``null`` are the same."""
    return None if isinstance(value, UnsetType) else value
