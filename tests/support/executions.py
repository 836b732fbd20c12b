"""Execute requests as a worker would send them, and a bridge that carries them."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import ClientSession
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.context import Claims, Key, body_sha256, sign
from contracts.execution import ExecuteResponse
from runner_bridge.executor import Executor, ExecutorSettings
from tests.support.callers import connected
from tests.support.tokens import KEYS, RUNNER
from tests.wire.samples_host import EXECUTE_SAMPLES

SUBJECT = "ext.runner.execute"
# Spelled as no encoder would: what arrives must be these very bytes.
BODY = b" " + msgspec.json.encode(EXECUTE_SAMPLES["request"]) + b" "


def body_with(timeout_ms: int = 30_000, **context: object) -> bytes:
    document = json.loads(BODY)
    document["limits"]["timeout_ms"] = timeout_ms
    document["context"] |= context
    return json.dumps(document).encode()


def token(body: bytes = BODY, key: Key = KEYS.keys["worker"], **changes: Any) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": key.issuer,
        "aud": RUNNER,
        "iat": now,
        "exp": now + 60,
        "jti": uuid4(),
        "op": "execute",
        "body_sha256": body_sha256(body),
    }
    return sign(Claims(**(claims | changes)), key)


async def ask(bus: Client, body: bytes = BODY, /, **headers: str) -> Msg:
    given = {"Ext-Context": token(body)} | {k.replace("_", "-"): v for k, v in headers.items()}
    return await bus.request(SUBJECT, body, timeout=60, headers=given)


async def ask_result(bus: Client, body: bytes = BODY, /, **headers: str) -> ExecuteResponse:
    return msgspec.json.decode((await ask(bus, body, **headers)).data, type=ExecuteResponse)


@asynccontextmanager
async def executing(nats_url: str, runner_url: str, **settings: Any) -> AsyncIterator[Executor]:
    async with connected(nats_url) as client, ClientSession() as session:
        executor = Executor(
            client, session, lambda: KEYS, ExecutorSettings(runner_url=runner_url, **settings)
        )
        await executor.start()
        try:
            yield executor
        finally:
            await executor.stop()
