"""A responder never stays out of its queue group, whatever failed."""

import asyncio

import pytest

from service.requests.queue_share import keep_share
from tests.support.bus_service import a_client, identity
from tests.support.eventually import eventually


class Member:
    """One that has left, and whose first way back fails."""

    def __init__(self, error: Exception) -> None:
        self.joined = False
        self._errors = [error]

    async def leave(self) -> None:
        self.joined = False

    async def rejoin(self) -> None:
        for error in self._errors:
            self._errors = []
            raise error
        self.joined = True


@pytest.mark.parametrize(
    "error", [RuntimeError("of a library"), ValueError("of ours"), OSError("network")], ids=repr
)
async def test_a_failed_way_back_is_tried_again(nats_url: str, error: Exception) -> None:
    member = Member(error)
    async with a_client(nats_url) as client:
        keeping = asyncio.create_task(keep_share(member, client, identity(), lambda: True))
        await eventually(lambda: member.joined or keeping.done())
        assert not keeping.done()
        keeping.cancel()
