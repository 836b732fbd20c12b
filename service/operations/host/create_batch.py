"""``create`` for several installs at once, by three statements for all of them.

Each is judged by the same rules as alone, on what is true under the lock of its own install.
"""

from collections.abc import Sequence

from msgspec import Struct

from contracts.errors import ServiceError
from service.operations.change_context import Ground, Made, ground_of, question_of, replayed
from service.operations.context import Answer, Call
from service.operations.host.authorization import denial
from service.operations.host.changes import asked_by
from service.operations.host.transaction import record_of
from service.operations.schedule_changes import new_schedule
from service.rules.fields import CheckedCreate, check_create
from service.storage.engine.errors import is_contended
from service.storage.platform.installs import Install
from service.storage.schedules import create_batch
from service.storage.schedules.create_batch import Created

Outcome = Answer | Exception | None


class _Wish(Struct, frozen=True):
    """A call that can be considered here; ``place`` is where its outcome belongs."""

    place: int
    call: Call
    tenant_id: str
    checked: CheckedCreate


class _Entitled(Struct, frozen=True):
    """A wish whose install is locked, and may schedule."""

    wish: _Wish
    install: Install


async def create_together(calls: Sequence[Call]) -> list[Outcome]:
    """Create a schedule for each call, all in one transaction.

    None where more is needed: a wait for the install's row, its tenant, the reason why there is no
    such install, endpoints to be materialised; and for all of them where one met a lock. What it
    raises undid them all.
    """
    outcomes: list[Outcome] = [None] * len(calls)
    wishes = [
        _Wish(place, call, call.claims.tenant_id, check_create(call.raw, call.limits))
        for place, call in enumerate(calls)
        if call.claims.tenant_id is not None
    ]
    if not wishes:
        return outcomes
    connection = calls[0].connection
    try:
        async with connection.transaction():
            created = await _decide(wishes, outcomes)
            if created:
                await create_batch.write(connection, created)
    except Exception as error:
        if not is_contended(error):
            raise
        return [None] * len(calls)
    return outcomes


async def _decide(wishes: Sequence[_Wish], outcomes: list[Outcome]) -> list[Created]:
    """Put each outcome in its place; return what is to be written for them to be true."""
    entitled = await _lock(wishes, outcomes)
    if not entitled:
        return []
    loaded = await create_batch.look_up(
        entitled[0].wish.call.connection,
        [
            question_of(each.wish.call, each.install, asked_by(each.wish.checked))
            for each in entitled
        ],
    )
    created = []
    for each, found in zip(entitled, loaded, strict=True):
        ground = ground_of(each.wish.call, each.install, found)
        outcome = _judge(ground, each.wish.checked)
        if isinstance(outcome, Made):
            assert outcome.new is not None  # noqa: S101 -- what is made here is a schedule
            created.append(Created(outcome.new, record_of(ground, outcome)))
            outcome = outcome.answer
        outcomes[each.wish.place] = outcome
    return created


async def _lock(wishes: Sequence[_Wish], outcomes: list[Outcome]) -> list[_Entitled]:
    installs = await create_batch.lock(
        wishes[0].call.connection,
        [wish.tenant_id for wish in wishes],
        [wish.call.install_id for wish in wishes],
    )
    entitled = []
    for wish, install in zip(wishes, installs, strict=True):
        if install is None:
            continue
        refusal = outcomes[wish.place] = denial(install, wish.call)
        if refusal is None:
            entitled.append(_Entitled(wish, install))
    return entitled


def _judge(ground: Ground, checked: CheckedCreate) -> Made | Outcome:
    if checked.endpoint is not None and not ground.loaded.materialised:
        return None
    try:
        if ground.loaded.replay is not None:
            return replayed(ground.call, ground.loaded.replay)
        return new_schedule(checked, ground)
    except ServiceError as error:
        return error
