"""Admin operations of the running stack, as its operator."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import nats
import nats.errors

from contracts.admin import ADMIN_OPS
from contracts.admin_installs import UpdateInstallInput
from contracts.context import ALL_TENANTS, parse_key_set, signing_key
from contracts.errors import Outcome, ServiceError
from contracts.subjects import ADMIN_AUDIENCE
from devstack.errors import StackError
from devstack.progress import detail
from devstack.state import DevState
from runner_bridge.requests import Principal, SignedRequests

OPERATOR = Principal(
    audience=ADMIN_AUDIENCE,
    sub="dev",
    tenant_id=ALL_TENANTS,
    permissions=("extension:read", "extension:write"),
)

OperatorCall = Callable[[str, object], Coroutine[Any, Any, Any]]
"""Calls an operation with its input, and returns its output."""


async def move_install(call: OperatorCall, install_id: UUID, version: str) -> None:
    """Update an install to a registered version; print what it disables and enables."""
    moved = await call(
        "updateInstall",
        UpdateInstallInput(
            install_id=str(install_id), version=version, disable_missing_schedules=True
        ),
    )
    for schedule in moved.missing:
        detail(f"disabled {schedule.name}: {schedule.method} {schedule.path} is missing")
    for schedule in moved.reenabled:
        detail(f"enabled {schedule.name} again: {schedule.method} {schedule.path} is back")


@asynccontextmanager
async def administration(state: DevState) -> AsyncIterator[OperatorCall]:
    """Connect within the context. Calls raise StackError unless they succeed."""
    keys = parse_key_set(state.operator_key_file.read_bytes())
    try:
        client = await nats.connect(
            state.nats_url,
            user="operator",
            password=state.operator_password,
            inbox_prefix="_INBOX_operator",
            allow_reconnect=False,
            connect_timeout=3,
        )
    except (OSError, nats.errors.Error) as error:
        raise StackError(f"NATS of the development stack is unavailable: {error}") from None
    requests = SignedRequests(client, lambda: signing_key(keys, ADMIN_AUDIENCE))

    async def call(op: str, request: object) -> Any:  # noqa: ANN401 - the operation's output
        try:
            output = await requests.ask(OPERATOR, op, request, ADMIN_OPS[op].output)
        except ServiceError as error:
            raise StackError(f"{op}: {error}{until(error.retry_after_ms)}") from None
        if isinstance(output, Outcome) and not output.success:
            reason = output.field_errors or output.error
            raise StackError(f"{op}: {reason}{until(output.retry_after_ms)}")
        return output

    try:
        yield call
    finally:
        await client.close()


def until(retry_after_ms: int | None) -> str:
    """Return from when on a refused request would be accepted, in local time, where it says so."""
    if not retry_after_ms:
        return ""
    # A second later, since seconds are cut off here.
    at = datetime.now().astimezone() + timedelta(milliseconds=retry_after_ms + 999)
    return f"; accepted again from {at:%H:%M:%S}"
