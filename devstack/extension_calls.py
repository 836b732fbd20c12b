"""Calls an extension's endpoints directly, as the platform's own screens would."""

import asyncio
import base64
from pathlib import Path
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
from devstack.extension import InstalledExtension
from devstack.stack import TENANT, DevStack
from runner_bridge.dev_runner.sources import LOAD_METHOD

CALL_TIMEOUT_MS = 30_000
COMPILE_TIMEOUT_S = 300.0
"""Compiling the sample takes ten seconds of an idle processor; this one may be busy."""
COMPONENT_LOADING = b"component_loading: "


def execute_request(
    extension: InstalledExtension, method: str, path: str, body: object = None
) -> ExecuteRequest:
    """Return the Runner's document for one call; ``body`` is encoded as JSON."""
    encoded = UNSET if body is None else base64.b64encode(msgspec.json.encode(body)).decode()
    return ExecuteRequest(
        context=ExecuteContext(
            request_id=str(uuid4()),
            tenant_id=TENANT,
            extension_id=str(extension.rows.registry_id),
            install_id=str(extension.rows.install_id),
            version_id=str(extension.rows.version_id),
            content_hash=extension.content_hash,
        ),
        http=ExecuteHttp(
            method=method,
            path=path,
            headers={} if body is None else {"content-type": "application/json"},
            body_b64=encoded,
        ),
        limits=ExecuteLimits(timeout_ms=CALL_TIMEOUT_MS),
        providers=list(extension.manifest.capabilities),
    )


async def call_extension(stack: DevStack, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
    """Call the extension through the Runner's /v1/execute; return its JSON response.

    Raises StackError unless the call succeeds.
    """
    response = await post_request(
        stack.runner_url, execute_request(stack.extension, method, path, body)
    )
    text = base64.b64decode(response.body_b64 or "").decode()
    if response.error or response.status >= 400:
        raise StackError(f"{method} {path} ended with {response.status}: {response.error or text}")
    return msgspec.json.decode(text)


async def loading_problem(
    runner_url: str, extension: InstalledExtension, source: Path
) -> str | None:
    """Return why an extension that runs from its sources cannot be loaded; None if it can.

    What is wrong in a file of ``source`` begins with its path. Raises StackError where the Runner
    does not answer.
    """
    response = await post_request(runner_url, execute_request(extension, LOAD_METHOD, "/"))
    if response.status == 204:
        return None
    in_file = base64.b64decode(response.body_b64 or "").decode()
    return response.error or str(source / in_file)


async def post_request(runner_url: str, request: ExecuteRequest) -> ExecuteResponse:
    """Return a Runner's response, also a negative one. Raises StackError where there is none."""
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_MS / 1000 + 5)
    try:
        async with (
            asyncio.timeout(COMPILE_TIMEOUT_S),
            aiohttp.ClientSession(timeout=timeout) as session,
        ):
            return await execute(session, runner_url, msgspec.json.encode(request))
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
        call = f"{request.http.method} {request.http.path}"
        raise StackError(f"no response from the Runner to {call}: {error!r}") from None


async def execute(session: aiohttp.ClientSession, url: str, document: bytes) -> ExecuteResponse:
    """Post a document to a Runner; repeat while it is still compiling the component.

    Raises aiohttp.ClientError, TimeoutError, and msgspec.MsgspecError for an invalid response.
    """
    while True:
        async with session.post(f"{url}/v1/execute", data=document) as response:
            body = await response.read()
        if response.status != 503 or COMPONENT_LOADING not in body:
            return msgspec.json.decode(body, type=ExecuteResponse)
