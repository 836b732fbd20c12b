"""Discovery on a real server: every instance answers, with figures that are true."""

import json

import nats.errors
import pytest

from service.messages import Reply, Request
from tests.support.bus_service import a_bus, a_client, echo, serving


async def test_discovery_shows_every_instance_and_its_true_figures(nats_url: str) -> None:
    async def picky(request: Request) -> Reply:
        if request.body == b"bad":
            return Reply({}, b"", (400, "VALIDATION_FAILED"))
        return await echo(request)

    async with (
        a_bus(nats_url) as bus,
        a_bus(nats_url) as other,
        a_client(nats_url) as client,
        serving(bus, picky, id="one"),
        serving(other, picky, id="two"),
    ):
        for body in (b"", b"bad", b"bad"):
            await client.request("ext.scheduler.get", body, timeout=60)
        inbox = await client.subscribe(client.new_inbox())
        for subject in ("$SRV.PING", "$SRV.INFO.ext-scheduler", "$SRV.STATS"):
            await client.publish(subject, b"", reply=inbox.subject)
        replies = [json.loads((await inbox.next_msg(timeout=60)).data) for _ in range(6)]
        assert sorted({reply["id"] for reply in replies}) == ["one", "two"]
        figures = [
            endpoint
            for reply in replies
            if reply["type"] == "io.nats.micro.v1.stats_response"
            for endpoint in reply["endpoints"]
            if endpoint["name"] == "get"
        ]
        assert sum(each["num_requests"] for each in figures) == 3
        assert sum(each["num_errors"] for each in figures) == 2
        assert {each["last_error"] for each in figures} <= {"", "400:VALIDATION_FAILED"}
        assert sum(each["processing_time"] for each in figures) > 0


async def test_one_instance_can_be_asked_by_its_id(nats_url: str) -> None:
    async with (
        a_bus(nats_url) as bus,
        a_bus(nats_url) as other,
        a_client(nats_url) as client,
        serving(bus, id="one"),
        serving(other, id="two"),
    ):
        reply = await client.request("$SRV.PING.ext-scheduler.two", b"", timeout=60)
        assert json.loads(reply.data)["id"] == "two"
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("$SRV.PING.ext-scheduler.three", b"", timeout=60)
