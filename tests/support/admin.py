"""Admin requests as a platform server makes them, put to a dispatcher without a bus in between."""

import time
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct, structs

from contracts.context import Claims, Key, body_sha256, sign
from contracts.encoding import Encoding, encode
from contracts.subjects import ADMIN_AUDIENCE, CONTENT_TYPE_HEADER, CONTEXT_HEADER, admin_subject
from service.messages import Reply, Request
from service.requests.dispatcher import Dispatcher
from tests.support.host import read
from tests.support.keys import OPERATOR_KEY, PLATFORM_KEY
from tests.support.published import as_published

BOTH = ("extension:read", "extension:write")


class Admin(Struct, frozen=True):
    """An administrator of one tenant, or with an operator's key and ``*`` of all."""

    dispatcher: Dispatcher
    tenant_id: str = "tenant-1"
    key: Key = PLATFORM_KEY
    sub: str = "user-1"
    permissions: tuple[str, ...] = BOTH
    encoding: Encoding = Encoding.MSGPACK

    async def __call__(self, op: str, /, **body: Any) -> dict[str, Any]:
        """Send a request with this body and return the decoded reply body."""
        return read(await self.send(op, body))

    async def send(
        self, op: str, body: dict[str, Any], jti: UUID | None = None, **claims: Any
    ) -> Reply:
        """Send exactly this; ``claims`` replace those of an honest platform."""
        encoded = encode(body, self.encoding)
        token = sign(self.claims(op, encoded, jti or uuid4(), **claims), self.key)
        headers = {CONTEXT_HEADER: token, CONTENT_TYPE_HEADER: self.encoding.value}
        reply = await self.dispatcher.handle(
            Request(admin_subject(op), op, ADMIN_AUDIENCE, headers, encoded, time.time())
        )
        return as_published("admin", op, reply)

    def claims(self, op: str, body: bytes, jti: UUID, **replaced: Any) -> Claims:
        """Return the claims of an honest platform, but for what is replaced."""
        now = int(time.time())
        claims = Claims(
            iss=self.key.issuer,
            aud=ADMIN_AUDIENCE,
            iat=now,
            exp=now + 60,
            jti=jti,
            op=op,
            body_sha256=body_sha256(body),
            sub=self.sub,
            permissions=self.permissions,
            tenant_id=self.tenant_id,
        )
        return structs.replace(claims, **replaced)


def operator(dispatcher: Dispatcher) -> Admin:
    """Return a platform operator."""
    return Admin(dispatcher, tenant_id="*", key=OPERATOR_KEY, sub="operator-1")


def manifest(version: str = "1.0.0", *paths: str, **members: Any) -> dict[str, Any]:
    """Return a manifest with a POST endpoint at each path."""
    listed = [{"method": "POST", "path": path, "handler": "handle"} for path in paths or ("/a",)]
    return {
        "name": "demo",
        "publisher": "acme",
        "version": version,
        "capabilities": ["cap:scheduler.manage"],
        "api": {"endpoints": listed},
        **members,
    }


async def register(
    admin: Admin, version: str = "1.0.0", *paths: str, **body: Any
) -> dict[str, Any]:
    """Register a version as an operator, and install it in the tenant; returns the ids."""
    answer = await operator(admin.dispatcher)(
        "registerInstall",
        **{
            "tenantId": admin.tenant_id,
            "manifest": manifest(version, *paths),
            "contentHash": f"sha256:{version}",
            "grants": ["cap:scheduler.manage"],
            **body,
        },
    )
    assert answer["success"], answer
    return answer
