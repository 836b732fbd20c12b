"""What an operation is given, and what it results in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct

from contracts.context import Claims
from contracts.errors import Code, ErrorBody
from service.rules.limits import Limits
from service.storage.engine.connection import Connection


def database_time(now: datetime) -> datetime:
    """Return the database's time unchanged: the clock of every process but a test's."""
    return now


class Policy(Struct, frozen=True, kw_only=True):
    """What is the same for every request of a process.

    ``clock`` turns the database's time into the service's. ``declared_is_granted`` takes a declared
    capability for a granted one. The starts of one slot are spread over ``spread``. ``sharded``
    means that the database has several nodes.
    """

    limits: Limits
    spread: timedelta = timedelta(0)
    declared_is_granted: bool = False
    sharded: bool = False
    clock: Callable[[datetime], datetime] = database_time


class Call(Struct, frozen=True):
    """One verified request. Identity comes from ``claims``, never from the body (``raw``)."""

    connection: Connection
    output: type[Struct]
    claims: Claims
    raw: dict[str, Any]
    policy: Policy

    @property
    def install_id(self) -> UUID:
        """Return the install of a host operation; verification made sure that there is one."""
        assert self.claims.install_id is not None  # noqa: S101 - verified with the audience
        return self.claims.install_id


Answer = Struct
"""The operation's output, or ``ErrorBody`` for a negative result."""


class OperationResult(Struct, frozen=True):
    """The answer to a call, or the exception that it ends with.

    ``log_fields`` are what the request's log line states in addition to the claims.
    """

    outcome: Answer | Exception
    log_fields: Mapping[str, str] = {}


OperationFunction = Callable[[Call], Awaitable[OperationResult]]
"""Runs one call. Raises what it ends with, or returns it."""

BatchFunction = Callable[[Sequence[Call]], Awaitable[Sequence[OperationResult | None]]]
"""Runs one or more calls of one operation on one connection; results are in the order of the calls.

Changes are all of different installs. None stands for a call that has to be run alone; a single
call never results in None. What it raises concerns all calls.
"""


class OperationSpec(Struct, frozen=True):
    """A row of the table of operations; ``mutates`` as in the operation's contract.

    ``run_batch`` is None where calls cannot be run together.
    """

    run: OperationFunction
    output: type[Struct]
    mutates: bool
    run_batch: BatchFunction | None = None


def refusal(code: Code, error: str) -> ErrorBody:
    """Return a negative result without field errors."""
    return ErrorBody(code=code, error=error)


def field_refusal(errors: Mapping[str, str], code: Code = Code.VALIDATION_FAILED) -> ErrorBody:
    """Return a negative result; ``error`` repeats the first of the field errors.

    ``errors`` is in the order of the operation's input.
    """
    first = next(iter(errors.values()))
    return ErrorBody(code=code, error=first, field_errors=dict(errors) or UNSET)
