"""Bytes that no client library would send do not deafen a bridge."""

import time
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from contracts.execution import ExecuteRequest
from contracts.subjects import EXECUTE_SUBJECT
from devstack.embedded.servers import free_port
from devstack.processes import Program, running
from service.bus.client import NatsConnection
from service.worker.runner_client import RunnerCall, RunnerClient
from tests.support.keys import WORKER_KEY, write_key_set
from tests.support.raw_nats import a_wire, hpub, pub
from tests.support.runner_double import http_runner
from tests.wire.samples_host import EXECUTE_SAMPLES

HOSTILE = {
    "a reply subject that is no text": pub(EXECUTE_SUBJECT, b"_INBOX.\xff\xfe", b"x"),
    "an inline status that is no text": hpub(
        EXECUTE_SUBJECT, b"_INBOX.a", b"NATS/1.0 \xff\xfe\xfd\r\n\r\n", b"x"
    ),
    "a description that is no text": hpub(
        EXECUTE_SUBJECT, b"_INBOX.a", b"NATS/1.0 503 \xff\r\n\r\n", b"x"
    ),
    "headers that are no text": hpub(
        EXECUTE_SUBJECT, b"_INBOX.a", b"NATS/1.0\r\nA\xff: \xff\r\n: x\r\nb\r\n\r\n", b"x"
    ),
}


@pytest.fixture
def bridge(tmp_path: Path, nats_url: str) -> Program:
    port = free_port()
    return Program(
        name="bridge",
        arguments=["bridge"],
        settings={
            "nats_url": nats_url,
            "http_port": str(port),
            "key_set_file": str(write_key_set(tmp_path / "keys.json")),
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


async def test_a_bridge_still_answers_after_malformed_messages(
    tmp_path: Path, nats_url: str, bridge: Program
) -> None:
    request = EXECUTE_SAMPLES["request"]
    assert isinstance(request, ExecuteRequest)
    client = NatsConnection()
    async with http_runner() as runner:
        settings = {**bridge.settings, "runner_url": runner.url}
        program = msgspec.structs.replace(bridge, settings=settings)
        async with running(program, tmp_path / "bridge"), a_wire(nats_url) as wire:
            await client.connect(nats_url)
            for name, message in HOSTILE.items():
                await wire.send(message)
                # One connection, in order: what comes after the message is behind it.
                outcome = await RunnerClient(client, lambda: WORKER_KEY).call(
                    RunnerCall(request, uuid4(), at=time.time(), timeout_s=60.0)
                )
                assert (outcome.http_status, outcome.error) == (200, None), name
            await client.close()
    assert len(runner.calls) == len(HOSTILE)
