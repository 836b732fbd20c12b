"""The whole path over the shipped ``nats.conf``: across its accounts, as its users."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from contracts.encoding import MAX_BODY_BYTES
from devstack.embedded import Nats, ServerFailed, embedded_nats
from service.bus.connection import (
    BusSettings,
    BusUnavailableError,
    confirm_subscriptions,
    connect,
    probe,
)
from service.bus.micro import own_ping
from service.messages import Reply, Request
from tests.support.bus_service import ADMIN_OPS, HOST_OPS, a_runner, identity
from tests.support.eventually import eventually
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, EVENT, USERS, connected, the_service


@pytest.fixture(scope="module")
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-conf", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


@pytest.mark.parametrize("user", ["runner", "operator"])
@pytest.mark.parametrize("op", HOST_OPS)
async def test_host_operations_are_answered_across_accounts(
    server: Nats, user: str, op: str
) -> None:
    async with the_service(server), connected(server, user) as (client, _):
        reply = await client.request(f"ext.scheduler.{op}", b"body", timeout=60)
        assert reply.data == b"body"
        assert reply.headers == {"Ext-Request-Id": op}


@pytest.mark.parametrize("user", ["platform", "operator"])
@pytest.mark.parametrize("op", ADMIN_OPS)
async def test_admin_operations_are_answered_across_accounts(
    server: Nats, user: str, op: str
) -> None:
    async with the_service(server), connected(server, user) as (client, _):
        reply = await client.request(f"ext.scheduler.admin.{op}", b"body", timeout=60)
        assert reply.data == b"body"


async def test_concurrent_requests_get_each_their_own_answer(server: Nats) -> None:
    async with (
        the_service(server),
        the_service(server, "two"),
        connected(server, "runner") as (
            client,
            denials,
        ),
    ):
        bodies = [b"%d" % number for number in range(500)]
        replies = await asyncio.gather(
            *(client.request("ext.scheduler.list", body, timeout=60) for body in bodies)
        )
        assert [reply.data for reply in replies] == bodies
        assert denials == []


async def test_the_service_calls_a_runner_and_gets_its_answer(server: Nats) -> None:
    async def answer(body: bytes) -> bytes:
        return body + b" done"

    async with the_service(server) as bus, connected(server, "runner") as (runner, _):
        async with a_runner(runner, answer):
            reply = await bus.client.request("ext.runner.execute", b"work", timeout=60)
            assert reply.data == b"work done"
        with pytest.raises(nats.errors.NoRespondersError):
            await bus.client.request("ext.runner.execute", b"work", timeout=60)


async def test_the_server_stamps_the_user_and_ignores_the_callers_claim(server: Nats) -> None:
    async def who(request: Request) -> Reply:
        return Reply({}, request.headers["Nats-Request-Info"].encode())

    async with (
        the_service(server, handle=who),
        connected(server, "runner") as (client, _),
    ):
        forged = {"Nats-Request-Info": '{"acc":"OPERATORS"}'}
        seen = await client.request("ext.scheduler.list", b"", timeout=60, headers=forged)
        assert json.loads(seen.data)["acc"] == "RUNNERS"
        assert json.loads(seen.data)["user"] == "runner"


async def test_a_client_with_the_common_inbox_prefix_gets_no_answer(server: Nats) -> None:
    async with the_service(server), connected(server, "runner", "_INBOX") as (client, denials):
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("ext.scheduler.list", b"", timeout=0.3)
        await eventually(lambda: denials)
        assert "permissions violation for subscription" in denials[0]


async def test_accounts_do_not_receive_messages_of_each_other(server: Nats) -> None:
    """An inbox is a wall of its own account, and events reach those who import them."""
    async with (
        connected(server, "runner") as (runner, _),
        connected(server, "operator") as (operator, _),
        the_service(server) as bus,
    ):
        other = await runner.subscribe("_INBOX_runner.>")
        events = await operator.subscribe("ext.scheduler.events.>")
        await asyncio.gather(runner.flush(), operator.flush())
        await bus.client.publish(EVENT, b"happened")
        assert (await events.next_msg(timeout=60)).data == b"happened"
        assert other.pending_msgs == 0


async def test_an_operator_discovers_every_instance(server: Nats) -> None:
    async with (
        the_service(server, "one"),
        the_service(server, "two"),
        connected(server, "operator") as (operator, _),
    ):
        inbox = await operator.subscribe(operator.new_inbox())
        for subject in ("$SRV.PING", "$SRV.INFO.ext-scheduler", "$SRV.STATS.ext-scheduler.two"):
            await operator.publish(subject, b"", reply=inbox.subject)
        replies = [json.loads((await inbox.next_msg(timeout=60)).data) for _ in range(5)]
        kinds = sorted((reply["type"].split(".")[-1], reply["id"]) for reply in replies)
        assert kinds == [
            ("info_response", "one"),
            ("info_response", "two"),
            ("ping_response", "one"),
            ("ping_response", "two"),
            ("stats_response", "two"),
        ]


async def test_the_service_confirms_its_subscriptions_and_probes_itself(server: Nats) -> None:
    async with the_service(server) as bus:
        await confirm_subscriptions(bus)
        await probe(bus, wait=60)
        await probe(bus, own_ping(identity()), wait=60)
        assert bus.denials == []


async def test_the_latency_of_answers_is_sampled_for_operators(server: Nats) -> None:
    async with (
        the_service(server),
        connected(server, "runner") as (runner, _),
        connected(server, "operator") as (operator, _),
    ):
        samples = await operator.subscribe("ext.latency.*")
        await operator.flush()

        async def sampled() -> bool:
            await runner.request("ext.scheduler.list", b"", timeout=60)
            return samples.pending_msgs > 0

        await eventually(sampled)
        sample = await samples.next_msg(timeout=60)
        assert sample.subject == "ext.latency.host"
        assert json.loads(sample.data)["status"] == 200


@pytest.mark.parametrize("user", USERS)
async def test_a_wrong_password_is_refused(server: Nats, user: str) -> None:
    settings = BusSettings(servers=(server.url,), user=user, password="wrong")
    with pytest.raises(BusUnavailableError, match="refused user"):
        await connect(settings)


async def test_connecting_without_a_password_is_refused(server: Nats) -> None:
    with pytest.raises(BusUnavailableError, match="refused a client without credentials"):
        await connect(BusSettings(servers=(server.url,)))


async def test_the_server_applies_the_written_limits(server: Nats) -> None:
    def variables() -> dict[str, Any]:
        with urllib.request.urlopen(f"{server.monitoring_url}/varz", timeout=60) as answer:
            read: dict[str, Any] = json.load(answer)
            return read

    seen = await asyncio.to_thread(variables)
    assert seen["max_payload"] == 16 * 1024 * 1024
    assert seen["max_connections"] == 4096
    assert seen["max_control_line"] == 4096
    assert seen["http_host"] == "127.0.0.1"


@pytest.mark.parametrize("user", ["runner", "operator"])
async def test_callers_send_little_more_than_the_largest_body_and_receive_more(
    server: Nats, user: str
) -> None:
    reply = b"x" * 13_000_000

    async def boast(_request: Request) -> Reply:
        return Reply({}, reply)

    async with the_service(server, handle=boast), connected(server, user) as (client, errors):
        largest = b"x" * MAX_BODY_BYTES
        headers = {"Ext-Context": "x" * 4096}
        answer = await client.request("ext.scheduler.list", largest, timeout=60, headers=headers)
        assert answer.data == reply
        await client.publish("ext.scheduler.list", b"x" * (272 * 1024 + 1))
        # The server ends the connection; whether the client reads why first is a matter of luck.
        await eventually(lambda: errors != [] or client.is_closed or client.stats["reconnects"] > 0)


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_a_missing_credential_keeps_the_server_from_starting(missing: str) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    with (
        pytest.raises(ServerFailed, match=missing),
        embedded_nats(config=CONFIG, environment=environment),
    ):
        pass
