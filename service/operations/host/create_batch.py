"""``create``: one schedule, or one for each of several installs, by three statements for all.

Each request is judged by the same rules, on what is true under the lock of its own install.
"""

from collections.abc import Sequence

from msgspec import Struct

from contracts.errors import ServiceError
from service.operations.change_context import (
    AppliedChange,
    ChangeContext,
    LookupRequest,
    context_of,
    load_context,
    lookup_query,
    replayed,
)
from service.operations.context import Answer, Call, OperationResult
from service.operations.host.authorization import denial, find_tenant, missing_install
from service.operations.host.transaction import record_of
from service.operations.schedule_changes import new_schedule
from service.rules.fields import CheckedCreate, check_create
from service.storage.engine.errors import is_contended, is_name_taken
from service.storage.platform import installs
from service.storage.platform.installs import Install
from service.storage.schedules import create_batch as storage
from service.storage.schedules import sharded_changes
from service.storage.schedules.create_batch import CreatedSchedule

Outcomes = list[Answer | Exception | None]


class CreateRequest(Struct, frozen=True):
    """A call that can be run here; ``index`` is where its outcome belongs."""

    index: int
    call: Call
    tenant_id: str
    checked: CheckedCreate

    @property
    def lookup(self) -> LookupRequest:
        """Return what a create needs to have looked up."""
        return LookupRequest(name=self.checked.name, selector=self.checked.endpoint)


class AuthorizedRequest(Struct, frozen=True):
    """A request whose install is locked, and may schedule."""

    request: CreateRequest
    install: Install


async def create(call: Call) -> OperationResult:
    """Create a schedule, due at its next slot from now."""
    (result,) = await create_batch([call])
    assert result is not None  # noqa: S101 - a single call always has a result
    return result


async def create_batch(calls: Sequence[Call]) -> list[OperationResult | None]:
    """Create a schedule for each call, all in one transaction.

    A single call waits for locks and always has a result. Several calls wait for none. The result
    of a call is None where it needs more: to wait for its install's row, to look up its tenant or
    why its install is missing, or to materialise endpoints. All results are None where one of the
    calls met a lock. An exception has undone all of them.
    """
    connection, single = calls[0].connection, len(calls) == 1
    log_fields = await find_tenant(calls[0]) if single else {}
    requests = [
        CreateRequest(index, call, tenant_id, check_create(call.raw, call.policy.limits))
        for index, call in enumerate(calls)
        if (tenant_id := call.claims.tenant_id or log_fields.get("tenant")) is not None
    ]
    for is_last in (False, True):
        outcomes: Outcomes = [None] * len(calls)
        try:
            async with connection.transaction():
                created = await _decide(requests, outcomes, may_wait=single)
                if created:
                    write = sharded_changes.write if calls[0].policy.sharded else storage.write
                    await write(connection, created)
            break
        except ServiceError as error:
            outcomes = [error]
            break
        except Exception as error:
            if single and is_name_taken(error) and not is_last:
                # Another session that locks no install took the name a moment earlier.
                continue
            if single or not is_contended(error):
                raise
            return [None] * len(calls)
    return [
        None if outcome is None else OperationResult(outcome, log_fields) for outcome in outcomes
    ]


async def _decide(
    requests: Sequence[CreateRequest], outcomes: Outcomes, *, may_wait: bool
) -> list[CreatedSchedule]:
    """Put each outcome in its place; return what is to be written for them to be true."""
    authorized = await _lock(requests, outcomes, may_wait=may_wait)
    created = []
    for member, context in zip(
        authorized, await _contexts(authorized, may_wait=may_wait), strict=True
    ):
        checked = member.request.checked
        if not may_wait and checked.endpoint is not None and not context.lookup.materialised:
            continue
        outcome = _decide_one(context, checked)
        if isinstance(outcome, AppliedChange):
            assert outcome.new is not None  # noqa: S101 - what is applied here is a new schedule
            created.append(CreatedSchedule(outcome.new, record_of(context, outcome)))
            outcome = outcome.answer
        outcomes[member.request.index] = outcome
    return created


async def _lock(
    requests: Sequence[CreateRequest], outcomes: Outcomes, *, may_wait: bool
) -> list[AuthorizedRequest]:
    if not requests:
        return []
    call = requests[0].call
    locked: Sequence[Install | None]
    if may_wait:
        locked = [await installs.lock(call.connection, requests[0].tenant_id, call.install_id)]
        if locked == [None]:
            raise await missing_install(call)
    else:
        lock = sharded_changes.lock if call.policy.sharded else storage.lock
        locked = await lock(
            call.connection,
            [request.tenant_id for request in requests],
            [request.call.install_id for request in requests],
        )
    authorized = []
    for request, install in zip(requests, locked, strict=True):
        if install is None:
            continue
        refusal = outcomes[request.index] = denial(install, request.call)
        if refusal is None:
            authorized.append(AuthorizedRequest(request, install))
    return authorized


async def _contexts(
    authorized: Sequence[AuthorizedRequest], *, may_wait: bool
) -> list[ChangeContext]:
    if not authorized:
        return []
    if may_wait:
        (member,) = authorized
        return [await load_context(member.request.call, member.install, member.request.lookup)]
    queries = [
        lookup_query(member.request.call, member.install, member.request.lookup)
        for member in authorized
    ]
    call = authorized[0].request.call
    look_up = sharded_changes.look_up if call.policy.sharded else storage.look_up
    lookups = await look_up(call.connection, queries)
    return [
        context_of(member.request.call, member.install, lookup)
        for member, lookup in zip(authorized, lookups, strict=True)
    ]


def _decide_one(
    context: ChangeContext, checked: CheckedCreate
) -> AppliedChange | Answer | Exception:
    try:
        if context.lookup.replay is not None:
            return replayed(context.call, context.lookup.replay)
        return new_schedule(checked, context)
    except ServiceError as error:
        return error
