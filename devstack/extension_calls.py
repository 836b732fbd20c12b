"""Calling the sample's endpoints directly, as the platform's own screens would."""

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
from devstack.stack import TENANT, Stack

LIMIT_MS = 30_000
PATIENCE_S = 300.0
"""Compiling the sample takes ten seconds of a processor that may have a lot else to do."""
STILL_COMPILED = b"component_loading: "


def execute_request(stack: Stack, method: str, path: str, body: object = None) -> ExecuteRequest:
    """Write the Runner's document for one call of the sample; ``body`` becomes JSON."""
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
        limits=ExecuteLimits(timeout_ms=LIMIT_MS),
        providers=list(sample.manifest.capabilities),
    )


async def call_extension(stack: Stack, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
    """Call the sample through the Runner's /v1/execute; return its answer, read as JSON.

    Raises StackError when it does not answer with success.
    """
    document = msgspec.json.encode(execute_request(stack, method, path, body))
    limit = aiohttp.ClientTimeout(total=LIMIT_MS / 1000 + 5)
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession(timeout=limit) as session:
            answer = await executed(session, stack.runner_url, document)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        raise StackError(f"the Runner did not answer {method} {path}: {error!r}") from None
    text = base64.b64decode(answer.body_b64 or "").decode()
    if answer.error or answer.status >= 400:
        raise StackError(f"{method} {path} ended with {answer.status}: {answer.error or text}")
    return msgspec.json.decode(text)


async def executed(session: aiohttp.ClientSession, url: str, document: bytes) -> ExecuteResponse:
    """Post a document to a Runner; again, for as long as it is still compiling the component.

    Raises aiohttp.ClientError, TimeoutError, and msgspec.MsgspecError for what is no answer.
    """
    while True:
        async with session.post(f"{url}/v1/execute", data=document) as response:
            body = await response.read()
        if response.status != 503 or STILL_COMPILED not in body:
            return msgspec.json.decode(body, type=ExecuteResponse)
