"""One request over the bus, with headers as they are, and its reply."""

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client

from devstack.conformance.cases import Violation

PATIENCE_S = 6.0
"""How long a caller waits beyond the time that its request takes."""


class NothingAnswersError(Exception):
    """Nobody subscribes to the subject, so there is nothing to judge."""


class BusReply(Struct, frozen=True):
    """A reply; the names of ``headers`` are as they were sent."""

    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """Return the body as JSON. Raises Violation."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Violation(f"the answer is not JSON: {self.body[:40]!r}") from None


async def ask(
    client: Client, subject: str, body: bytes, headers: dict[str, str], wait_s: float = PATIENCE_S
) -> BusReply:
    """Return the reply.

    Raises:
        Violation: there is none in time.
        NothingAnswersError: nothing subscribes.
    """
    try:
        reply = await client.request(subject, body, timeout=wait_s, headers=headers)
    except nats.errors.NoRespondersError:
        raise NothingAnswersError(f"nothing answers {subject}") from None
    except (TimeoutError, nats.errors.TimeoutError):
        raise Violation(f"no answer within {wait_s:g} s") from None
    return BusReply(dict(reply.headers or {}), reply.data)
