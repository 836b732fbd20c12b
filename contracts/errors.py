"""Error codes, and the one body that every refusal and negative result has."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import UNSET, Struct, UnsetType


class Code(StrEnum):
    """Why an operation was not carried out. Closed: a client may match on all of them."""

    VALIDATION_FAILED = "VALIDATION_FAILED"
    """The body is unreadable or too large, or fields are wrong (`fieldErrors`)."""
    UNAUTHORIZED = "UNAUTHORIZED"
    """There is no valid signed context; the reason is in the service's log only."""
    DENIED = "DENIED"
    """Capability or permission missing; another tenant, version or extension; install disabled."""
    NOT_FOUND = "NOT_FOUND"
    """There is no such install, schedule or run, or none that the caller may see."""
    CONFLICT = "CONFLICT"
    """The name is taken, the revision differs, or the request id was used for another request."""
    SCHEDULE_REMAP_FAILED = "SCHEDULE_REMAP_FAILED"
    """The new version lacks endpoints of enabled schedules."""
    INSTALL_DISABLED = "INSTALL_DISABLED"
    """A disabled install cannot be run."""
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    """The install has as many schedules as it may have."""
    RATE_LIMITED = "RATE_LIMITED"
    """Too many changes or manual runs; `retryAfterMs` says when to try again."""
    INTERNAL = "INTERNAL"
    """A fault of the service, logged with the request id."""
    UNAVAILABLE = "UNAVAILABLE"
    """Database away, queue full or deadline passed: send the same request again."""


NUMBERS: Mapping[Code, int] = MappingProxyType(
    {
        Code.VALIDATION_FAILED: 400,
        Code.UNAUTHORIZED: 401,
        Code.DENIED: 403,
        Code.NOT_FOUND: 404,
        Code.CONFLICT: 409,
        Code.SCHEDULE_REMAP_FAILED: 409,
        Code.INSTALL_DISABLED: 409,
        Code.QUOTA_EXCEEDED: 429,
        Code.RATE_LIMITED: 429,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
    }
)
"""The number that goes into ``Nats-Service-Error-Code``; the code itself goes into the body."""


class Outcome(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The result of a change. Where ``success`` is false, ``code`` and ``error`` say why.

    ``field_errors`` maps a wire field name to a message; ``error`` repeats the first of them.
    """

    success: bool
    code: Code | None = None
    error: str | None = None
    field_errors: dict[str, str] | None = None
    retry_after_ms: int | None = None


class ErrorBody(Struct, frozen=True, rename="camel", kw_only=True):
    """The body of a service error, and of the negative result of any operation, reads included."""

    code: Code
    error: str
    success: bool = False
    field_errors: dict[str, str] | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class ServiceError(Exception):
    """What prevented an operation from being considered at all; ``message`` is safe to show.

    ``request_id`` is known on the caller's side only; so are ``field_errors``, those of a read.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        retry_after_ms: int | None = None,
        request_id: str | None = None,
        field_errors: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.request_id = request_id
        self.field_errors = field_errors

    def body(self) -> ErrorBody:
        """Return the body that goes over the wire."""
        return ErrorBody(
            code=self.code,
            error=self.message,
            field_errors=dict(self.field_errors) if self.field_errors else UNSET,
            retry_after_ms=UNSET if self.retry_after_ms is None else self.retry_after_ms,
        )
