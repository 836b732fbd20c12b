"""One call of the Runner's ``/v1/execute``: its answer as it came, or why there is none."""

import asyncio
from collections.abc import Mapping

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from msgspec import Struct

from contracts.encoding import Encoding, MalformedBody, decode
from contracts.execution import ExecuteResponse

MAX_RESPONSE_BYTES = 262_144


class RunnerFailed(Exception):
    """No answer of the Runner to pass on; ``status`` as an HTTP gateway would give it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Posted(Struct, frozen=True):
    """What is posted; ``timeout`` in seconds, from connecting to the last byte."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout: float


async def post_execution(session: ClientSession, call: Posted) -> bytes:
    """Post an execution and give the Runner's JSON document byte for byte.

    Raises:
        RunnerFailed: down (502), slow (504), too large or no ``ExecuteResponse`` (502).
    """
    try:
        async with session.post(
            call.url,
            data=call.body,
            # A compressed answer could be far larger than what arrives.
            headers={**call.headers, "accept-encoding": "identity"},
            timeout=ClientTimeout(total=call.timeout),
            allow_redirects=False,
        ) as response:
            return _checked(response.status, await _limited(response))
    except TimeoutError:
        raise RunnerFailed(504, "Runner did not answer in time") from None
    except (ClientError, OSError) as error:
        raise RunnerFailed(502, f"Runner cannot be reached: {type(error).__name__}") from None


async def _limited(response: ClientResponse) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise RunnerFailed(502, "Runner answered in an encoding that was not asked for")
    try:
        await response.content.readexactly(MAX_RESPONSE_BYTES + 1)
    except asyncio.IncompleteReadError as complete:
        return complete.partial
    raise RunnerFailed(502, "Runner answered more than 256 KiB")


def _checked(status: int, body: bytes) -> bytes:
    try:
        answer = decode(body, ExecuteResponse, Encoding.JSON)
    except MalformedBody:
        raise RunnerFailed(502, f"Runner answered HTTP {status} without a result") from None
    if status >= 300 and answer.status < 400 and answer.error is None:
        raise RunnerFailed(502, f"Runner answered HTTP {status} with a successful result")
    return body
