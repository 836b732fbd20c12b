"""Leave the share of a responder without a database to those that have theirs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from typing import Protocol

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client

from contracts.discovery import DATABASE
from service.bus.micro import Identity, group_ping

log = getLogger(__name__)

RECHECK_S = 2.0
"""How often a responder without a database asks whether another one has its own."""
REPLY_TIMEOUT_S = 1.0


class Member(Protocol):
    """A responder, as a member of the queue group."""

    joined: bool

    async def leave(self) -> None:
        """Leave the queue group."""

    async def rejoin(self) -> None:
        """Join it again. Raises BusUnavailableError."""


class _Ping(Struct):
    id: str
    metadata: dict[str, str] = {}


async def keep_share(
    member: Member, client: Client, identity: Identity, database_answers: Callable[[], bool]
) -> None:
    """Leave the queue group while only others have a database; until cancelled.

    Where none has, each stays, so that callers get ``UNAVAILABLE`` at once.
    """
    while True:
        try:
            if database_answers() or not await other_has_database(client, identity):
                if not member.joined:
                    await member.rejoin()
            elif member.joined:
                await member.leave()
        except Exception as error:  # noqa: BLE001 - who stops asking may stay away for good
            log.warning("place in the queue group not changed, trying again: %r", error)
        await asyncio.sleep(RECHECK_S)


async def other_has_database(client: Client, identity: Identity) -> bool:
    """Return whether another responder replies to a ping that its database answers."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        await client.publish(group_ping(identity), b"", reply=inbox)
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while True:
                reply = msgspec.json.decode((await subscription.next_msg()).data, type=_Ping)
                if reply.id != identity.id and reply.metadata.get(DATABASE) == "ok":
                    return True
    except (TimeoutError, nats.errors.Error, msgspec.MsgspecError):
        return False
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
