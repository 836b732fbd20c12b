"""One call of the Runner's ``/v1/execute``: its response unchanged, or why there is none."""

import asyncio
from collections.abc import Mapping

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from msgspec import Struct

from contracts.encoding import Encoding, MalformedBody, decode
from contracts.execution import ExecuteResponse, StatusClass, classify_status

MAX_RESPONSE_BYTES = 262_144


class RunnerFailed(Exception):
    """The Runner gave no usable response; ``status`` is what an HTTP gateway would return."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RunnerRequest(Struct, frozen=True):
    """An HTTP request to the Runner; ``timeout_s`` from connecting to the last byte."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout_s: float


def runner_session() -> ClientSession:
    """Open a session for executions, which the caller closes; it keeps no cookies."""
    return ClientSession(cookie_jar=DummyCookieJar())


async def post_execution(session: ClientSession, request: RunnerRequest) -> bytes:
    """Post an execution and return the Runner's JSON document byte for byte.

    Raises:
        RunnerFailed: down (502), slow (504), too large or no ``ExecuteResponse`` (502).
    """
    try:
        async with session.post(
            request.url,
            data=request.body,
            # A compressed answer could be far larger than what arrives.
            headers={**request.headers, "accept-encoding": "identity"},
            timeout=ClientTimeout(total=request.timeout_s),
            allow_redirects=False,
        ) as response:
            return _check_response(response.status, await _read_limited(response))
    except TimeoutError:
        raise RunnerFailed(504, "Runner did not answer in time") from None
    except (ClientError, OSError) as error:
        raise RunnerFailed(502, f"Runner cannot be reached: {type(error).__name__}") from None


async def _read_limited(response: ClientResponse) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise RunnerFailed(502, "Runner answered in an encoding that was not asked for")
    try:
        await response.content.readexactly(MAX_RESPONSE_BYTES + 1)
    except asyncio.IncompleteReadError as complete:
        return complete.partial
    raise RunnerFailed(502, "Runner answered more than 256 KiB")


def _check_response(status: int, body: bytes) -> bytes:
    try:
        answer = decode(body, ExecuteResponse, Encoding.JSON)
    except MalformedBody:
        raise RunnerFailed(502, f"Runner answered HTTP {status} without a result") from None
    judgement = classify_status(answer.status)
    if judgement is StatusClass.INVALID:
        raise RunnerFailed(502, "Runner answered a status outside 100-599")
    if status >= 300 and judgement is StatusClass.SUCCESS and answer.error is None:
        raise RunnerFailed(502, f"Runner answered HTTP {status} with a successful result")
    return body
