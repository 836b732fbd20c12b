"""The HTTP callback of an unmodified Runner, answered over the bus.

A Runner discards the body of anything but a 2xx, so a structured negative result is a 200 with
``success: false``; only a service error has its number as status. Members that are null are left
out, as a Runner would pass an extension the text ``null``.
"""

import asyncio
import hmac
import math
from collections.abc import Mapping
from logging import getLogger
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Struct

from contracts.encoding import Encoding, MalformedBody, decode_map, encode
from contracts.errors import NUMBERS, Code, ErrorBody, ServiceError
from contracts.schedules import HOST_OPS
from contracts.subjects import TRACE_HEADER
from contracts.tracing import trace_headers
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import SignedRequests

log = getLogger(__name__)

TOKEN_HEADER = "x-runner-auth"  # noqa: S105 - the name of a header
# More than the bus accepts: a payload arrives as JSON text within JSON, and is unescaped here.
MAX_BODY_BYTES = 1_048_576
BODY_TIMEOUT_S = 30.0


class CallbackHandler:
    """Serves one Runner, or several that share ``token``, which must not be empty.

    The body of a callback must have arrived within ``body_timeout_s``.
    """

    def __init__(
        self, requests: SignedRequests, token: str, body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        if not token:
            raise ValueError("the callback needs a token")
        self._requests = requests
        self._token = token.encode()
        self._body_timeout_s = body_timeout_s

    async def handle(self, request: web.Request, install_id: str) -> web.Response:
        """Call one operation; answer a failure with a JSON body that has its code."""
        if request.method != "POST":
            return _invalid_request(405, "Method not allowed", {"allow": "POST"})
        try:
            self._authenticate(request)
            if request.headers.get("content-encoding", "identity").lower() != "identity":
                return _invalid_request(415, "Content-Encoding is not supported")
            traceparent = trace_headers(request.headers).get(TRACE_HEADER)
            host = SchedulerHost(self._requests, _install(install_id), traceparent)
            async with asyncio.timeout(self._body_timeout_s):
                body = await _body(request)
            op, fields = _operation(body)
            outcome = await host.call(op, fields)
        except TimeoutError:
            return _invalid_request(408, "Request body did not arrive in time")
        except ServiceError as error:
            log.info("callback refused: %s", error.code, extra={"request_id": error.request_id})
            return _json(NUMBERS[error.code], error.body())
        return _json(200, _without_nulls(outcome))

    def _authenticate(self, request: web.Request) -> None:
        token = request.headers.get(TOKEN_HEADER, "").encode(errors="replace")
        if not hmac.compare_digest(token, self._token):
            raise ServiceError(Code.UNAUTHORIZED, "Not authorized")


def _install(install_id: str) -> InstallContext:
    try:
        identifier = UUID(install_id)
    except ValueError:
        identifier = None
    # UUID() also reads braces, a URN and missing hyphens.
    if identifier is None or str(identifier) != install_id.lower():
        raise ServiceError(Code.NOT_FOUND, "Install not found")
    return InstallContext(install_id=identifier)


async def _body(request: web.Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            _invalid("Request body is too large")
    try:
        return decode_map(bytes(body), Encoding.JSON)
    except MalformedBody as malformed:
        _invalid(str(malformed))


def _operation(members: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the operation's wire name and its fields from the Runner's body."""
    op = members.pop("operation", None)
    if not isinstance(op, str) or op not in HOST_OPS:
        _invalid("Unknown operation")
    if isinstance(members.get("payload"), str):
        members["payload"] = _payload(members["payload"], op)
    if not _is_encodable(members.get("payload")):
        members["payload"] = [math.nan]
    return op, members


def _is_encodable(payload: object) -> bool:
    """Return whether MessagePack can hold it: no integer beyond 64 bits, no lone surrogate.

    The service refuses NaN by the same rule, and reports the field along with the others.
    """
    try:
        encode(payload, Encoding.MSGPACK)
    except MalformedBody:
        return False
    return True


def _payload(text: str, op: str) -> object:
    if not text and op == "update":
        return None
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, RecursionError, ValueError):
        # The service refuses a text as a payload, and reports it along with the other field errors.
        return text


def _without_nulls(outcome: Struct) -> dict[str, Any]:
    """Drop empty members of the result and of the schedules in it, but never of a payload."""
    result = _present(msgspec.to_builtins(outcome))
    if "schedules" in result:
        result["schedules"] = [_present(schedule) for schedule in result["schedules"]]
    if "schedule" in result:
        result["schedule"] = _present(result["schedule"])
    return result


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _json(status: int, body: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=encode(body, Encoding.JSON),
        content_type=Encoding.JSON.value,
        headers=headers,
    )


def _invalid_request(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the answer to a request that HTTP itself rules out."""
    return _json(status, ErrorBody(code=Code.VALIDATION_FAILED, error=message), headers)


def _invalid(message: str) -> NoReturn:
    raise ServiceError(Code.VALIDATION_FAILED, message)
