"""What an operation is given, and what it answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, field

from contracts.context import Claims
from contracts.errors import Code, ErrorBody
from service.rules.limits import Limits
from service.storage.engine.connection import Connection

Clock = Callable[[datetime], datetime]
"""Turns the database's time into the service's: the identity, except where a test moves it."""


class Call(Struct, frozen=True):
    """One verified request. Identity comes from ``claims``, never from the body (``raw``)."""

    connection: Connection
    output: type[Struct]
    claims: Claims
    raw: dict[str, Any]
    limits: Limits
    declared_is_granted: bool
    clock: Clock
    found: dict[str, str] = field(default_factory=dict)
    """What the log line of the request is to say beside the claims."""

    @property
    def install_id(self) -> UUID:
        """The install a host operation is about; verification made sure that there is one."""
        assert self.claims.install_id is not None  # noqa: S101 -- verified with the audience
        return self.claims.install_id


Answer = Struct
"""The operation's output, or ``ErrorBody`` for a negative result."""


Together = Callable[[Sequence[Call]], Awaitable[Sequence[Answer | Exception | None]]]
"""Answers several calls of one operation on one connection, in order.

Changes are all of different installs. For each call the answer, the exception that it ends with, or
None: this one has to be run alone. What it raises is about all of them.
"""


class Handler(Struct, frozen=True):
    """A row of the table of operations; ``mutates`` as in the operation's contract."""

    run: Callable[[Call], Awaitable[Answer]]
    output: type[Struct]
    mutates: bool
    together: Together | None = None


def refusal(code: Code, error: str) -> ErrorBody:
    """Return a negative result without field errors."""
    return ErrorBody(code=code, error=error)


def field_refusal(errors: Mapping[str, str], code: Code = Code.VALIDATION_FAILED) -> ErrorBody:
    """Return a negative result; ``error`` repeats the first of the field errors.

    ``errors`` is in the order of the operation's input.
    """
    first = next(iter(errors.values()))
    return ErrorBody(code=code, error=first, field_errors=dict(errors) or UNSET)
