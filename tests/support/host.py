"""Host requests as a Runner makes them, put to a dispatcher without a bus in between."""

import time
from functools import partial
from typing import Any
from uuid import UUID, uuid4
from zlib import crc32

import asyncpg
import msgspec
from msgspec import Struct, structs

from contracts.context import Claims, Key, body_sha256, sign
from contracts.encoding import Encoding, encode
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER, HOST_AUDIENCE, host_subject
from service.flow_control.keyed_limiter import PerKeyLimiter
from service.messages import Reply, Request
from service.operations.context import Policy
from service.requests.batcher import NodeOf, RequestBatcher
from service.requests.dispatcher import Dispatcher
from service.rules.limits import Limits
from service.runtime.metrics import Metrics
from service.storage.engine.acquire import acquired
from service.storage.engine.kept_connections import Connect
from tests.support.keys import RUNNER_KEY, KeyHolder
from tests.support.platform import Installed
from tests.support.published import as_published


class Caller(Struct, frozen=True):
    """Speaks for one install."""

    dispatcher: Dispatcher
    installed: Installed
    key: Key = RUNNER_KEY
    encoding: Encoding = Encoding.MSGPACK

    async def __call__(self, op: str, **body: Any) -> dict[str, Any]:
        """Send a request with this body and return the decoded reply body."""
        return read(await self.send(op, body))

    async def send(
        self,
        op: str,
        body: dict[str, Any] | bytes,
        jti: UUID | None = None,
        claimed_op: str | None = None,
        **claims: Any,
    ) -> Reply:
        """Send exactly this; ``claims`` replace those of an honest Runner."""
        encoded = body if isinstance(body, bytes) else encode(body, self.encoding)
        token = sign(self.claims(claimed_op or op, encoded, jti or uuid4(), **claims), self.key)
        headers = {CONTEXT_HEADER: token, CONTENT_TYPE_HEADER: self.encoding.value}
        reply = await answered(self.dispatcher, request(op, encoded, headers))
        return as_published("host", op, reply)

    def claims(self, op: str, body: bytes, jti: UUID, **replaced: Any) -> Claims:
        """Return the claims of an honest Runner, but for what is replaced."""
        now = int(time.time())
        claims = Claims(
            iss=self.key.issuer,
            aud=HOST_AUDIENCE,
            iat=now,
            exp=now + 60,
            jti=jti,
            op=op,
            body_sha256=body_sha256(body),
            install_id=self.installed.install_id,
            tenant_id=self.installed.tenant_id,
        )
        return structs.replace(claims, **replaced)


async def answered(dispatcher: Dispatcher, request: Request) -> Reply:
    """Answer a request as the responder does: what is refused by its looks goes no further."""
    return dispatcher.screen(request) or await dispatcher.handle(request)


def request(op: str, body: bytes, headers: dict[str, str]) -> Request:
    return Request(
        subject=host_subject(op),
        op=op,
        audience=HOST_AUDIENCE,
        headers=headers,
        body=body,
        received=time.time(),
    )


def read(reply: Reply) -> dict[str, Any]:
    """Decode a reply body by its own content type."""
    if reply.headers[CONTENT_TYPE_HEADER] == Encoding.JSON.value:
        return msgspec.json.decode(reply.body, type=dict[str, Any])
    return msgspec.msgpack.decode(reply.body, type=dict[str, Any])


def dispatcher(
    pool: asyncpg.Pool,
    limits: Limits | None = None,
    *,
    connect: Connect | None = None,
    sharded: bool = False,
    node_of: NodeOf | None = None,
    **policy: Any,
) -> Dispatcher:
    """Return a dispatcher as the application makes it, with ``policy`` for its requests.

    ``sharded``: with the statements for several nodes, and batches for each of two.
    """
    batcher = RequestBatcher(
        connect or partial(acquired, pool, 30.0),
        Policy(limits=limits or Limits(), sharded=sharded, **policy),
        node_of=two_nodes if sharded and node_of is None else node_of,
    )
    return Dispatcher(
        keys=KeyHolder(),
        metrics=Metrics(),
        limiter=PerKeyLimiter(2, timeout_s=60.0),
        batcher=batcher,
    )


async def two_nodes(tenant_id: str) -> int:
    """Return the node of a tenant, as of a database that has two."""
    return crc32(tenant_id.encode()) % 2
