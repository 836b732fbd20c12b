"""Calls the sample's endpoints directly, as the platform's own screens would."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
from msgspec import UNSET

from contracts.execution import (
    ExecuteContext,
    ExecuteHttp,
    ExecuteLimits,
    ExecuteRequest,
    ExecuteResponse,
)
from devstack.errors import StackError
from devstack.stack import TENANT, DevStack

CALL_TIMEOUT_MS = 30_000
COMPILE_TIMEOUT_S = 300.0
"""Compiling the sample takes ten seconds of an idle processor; this one may be busy."""
COMPONENT_LOADING = b"component_loading: "


def execute_request(stack: DevStack, method: str, path: str, body: object = None) -> ExecuteRequest:
    """Return the Runner's document for one call of the sample; ``body`` is encoded as JSON."""
    sample = stack.sample
    encoded = UNSET if body is None else base64.b64encode(msgspec.json.encode(body)).decode()
    return ExecuteRequest(
        context=ExecuteContext(
            request_id=str(uuid4()),
            tenant_id=TENANT,
            extension_id=str(sample.rows.registry_id),
            install_id=str(sample.rows.install_id),
            version_id=str(sample.rows.version_id),
            content_hash=sample.content_hash,
        ),
        http=ExecuteHttp(
            method=method,
            path=path,
            headers={} if body is None else {"content-type": "application/json"},
            body_b64=encoded,
        ),
        limits=ExecuteLimits(timeout_ms=CALL_TIMEOUT_MS),
        providers=list(sample.manifest.capabilities),
    )


async def call_extension(stack: DevStack, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
    """Call the sample through the Runner's /v1/execute; return its JSON response.

    Raises StackError unless the call succeeds.
    """
    document = msgspec.json.encode(execute_request(stack, method, path, body))
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_MS / 1000 + 5)
    try:
        async with (
            asyncio.timeout(COMPILE_TIMEOUT_S),
            aiohttp.ClientSession(timeout=timeout) as session,
        ):
            response = await execute(session, stack.runner_url, document)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        raise StackError(f"no response from the Runner to {method} {path}: {error!r}") from None
    text = base64.b64decode(response.body_b64 or "").decode()
    if response.error or response.status >= 400:
        raise StackError(f"{method} {path} ended with {response.status}: {response.error or text}")
    return msgspec.json.decode(text)


async def execute(session: aiohttp.ClientSession, url: str, document: bytes) -> ExecuteResponse:
    """Post a document to a Runner; repeat while it is still compiling the component.

    Raises aiohttp.ClientError, TimeoutError, and msgspec.MsgspecError for an invalid response.
    """
    while True:
        async with session.post(f"{url}/v1/execute", data=document) as response:
            body = await response.read()
        if response.status != 503 or COMPONENT_LOADING not in body:
            return msgspec.json.decode(body, type=ExecuteResponse)
