"""Webhooks: what leaves the outbox for them, how it arrives, and what happens when it does not."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web
from msgspec import Struct, field

from service.rules.webhooks import Webhook, retry_delay
from service.runtime.errors import CannotServeError
from service.runtime.metrics import Metrics
from service.runtime.webhooks_file import read_webhooks
from service.storage import removal
from service.storage.records import webhook_deliveries
from service.worker.outbox_publisher import OutboxPublisher
from service.worker.webhook_sender import LEASE, WebhookSender
from tests.support.bus_service import a_client
from tests.support.firing_stack import SLOT, FakeClock

SECRET = b"a secret of the receiver's"
INSTALL = UUID(int=5)
INSERT = """
INSERT INTO ext_scheduler.outbox (tenant_id, install_id, schedule_id, type, at, data)
VALUES ($1, $2, $3, $4, now(), '{"failures": 3}') RETURNING id
"""


class Receiver(Struct):
    """An HTTP server that answers as it is told, and remembers what it got."""

    url: str = ""
    status: int = 204
    silent: bool = False
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((request.path, dict(request.headers), await request.read()))
        if self.silent:
            await asyncio.sleep(60)
        headers = {"Location": "/elsewhere"} if 300 <= self.status < 400 else {}
        return web.Response(status=self.status, headers=headers)


class Setting(Struct):
    """A database with a receiver, and senders whose clock the test moves."""

    pool: asyncpg.Pool
    publisher: OutboxPublisher
    receiver: Receiver
    clock: FakeClock
    metrics: Metrics
    is_served: bool = True

    def sender(self, *webhooks: Webhook, timeout_s: float = 10.0) -> WebhookSender:
        chosen = webhooks or (Webhook(self.receiver.url + "/all", SECRET),)
        return WebhookSender(self.pool, chosen, self.metrics, self.clock, timeout_s=timeout_s)

    async def event(self, kind: str = "schedule.failing", tenant: str = "acme") -> UUID:
        """Commit an event and publish it."""
        # The publisher goes by the database's clock, the sender by the test's.
        if self.is_served:
            now = await self.pool.fetchval("SELECT now()")
            await self.pool.execute(webhook_deliveries.SERVED, now)
        id_: UUID = await self.pool.fetchval(INSERT, tenant, INSTALL, uuid4(), kind)
        await self.publisher.publish_batch()
        await self.pool.execute(
            "UPDATE ext_scheduler.webhook_deliveries SET created_at = $1, next_at = $1"
            " WHERE attempts = 0",
            self.clock.now,
        )
        return id_

    async def waiting(self) -> int:
        count: int = await self.pool.fetchval(
            "SELECT count(*) FROM ext_scheduler.webhook_deliveries"
        )
        return count

    def outcomes(self) -> dict[str, float]:
        name = "extension_scheduler_webhook_deliveries_total"
        values = {
            outcome: self.metrics.registry.get_sample_value(name, {"outcome": outcome})
            for outcome in ("delivered", "failed", "dropped")
        }
        return {outcome: value for outcome, value in values.items() if value}


@pytest.fixture
async def setting(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Setting]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with a_client(nats_url) as client:
        yield Setting(pool, OutboxPublisher(pool, client), receiver, FakeClock(SLOT), Metrics())
    await runner.cleanup()


async def test_an_event_arrives_signed_and_once(setting: Setting) -> None:
    id_ = await setting.event()
    assert await setting.sender().deliver() == 1
    assert await setting.sender().deliver() == 0
    ((path, headers, body),) = setting.receiver.got
    event = json.loads(body)
    assert (path, event["id"], event["type"]) == ("/all", str(id_), "schedule.failing")
    assert event["data"] == {"failures": 3}
    assert headers["Ext-Webhook-Id"] == str(id_)
    signed = headers["Ext-Webhook-Timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    assert headers["Ext-Webhook-Signature"] == f"v1={expected}"
    assert setting.outcomes() == {"delivered": 1}


@pytest.mark.parametrize(
    ("kind", "goes"),
    [
        ("schedule.failing", 1),
        ("schedule.recovered", 1),
        ("schedule.disabled", 1),
        ("schedule.missed", 1),
        ("schedule.created", 0),
        ("run.failed", 0),
    ],
)
async def test_only_what_people_want_to_be_told_goes(
    setting: Setting, kind: str, goes: int
) -> None:
    await setting.event(kind)
    assert await setting.waiting() == goes
    assert await setting.pool.fetchval("SELECT count(*) FROM ext_scheduler.outbox") == 0


async def test_a_tenant_has_its_own_webhook_or_that_of_all(setting: Setting) -> None:
    everyone = Webhook(setting.receiver.url + "/all", SECRET)
    own = Webhook(setting.receiver.url + "/acme", SECRET, "acme")
    for tenant in ("acme", "zeta"):
        await setting.event(tenant=tenant)
    await setting.sender(everyone, own).deliver()
    assert sorted(path for path, _, _ in setting.receiver.got) == ["/acme", "/all"]
    await setting.event(tenant="zeta")
    assert await setting.waiting() == 1
    await setting.sender(own).deliver()
    assert (len(setting.receiver.got), await setting.waiting()) == (2, 0), "zeta has none"


@pytest.mark.parametrize("status", [302, 307, 404, 500])
async def test_a_refused_event_is_tried_again_later_and_given_up_after_a_day(
    setting: Setting, status: int
) -> None:
    setting.receiver.status = status
    await setting.event()
    sender = setting.sender()
    await sender.deliver()
    assert await sender.deliver() == 0, "not at once"
    setting.clock.forward(12.1)
    assert await sender.deliver() == 1
    assert {path for path, _, _ in setting.receiver.got} == {"/all"}, "no redirect is followed"
    setting.clock.forward(25 * 3600)
    assert await sender.deliver() == 1
    assert await setting.waiting() == 0
    assert setting.outcomes() == {"failed": 2, "dropped": 1}


async def test_a_silent_receiver_and_one_that_is_away_are_failures(setting: Setting) -> None:
    setting.receiver.silent = True
    await setting.event()
    await setting.sender(timeout_s=0.1).deliver()
    await setting.event(tenant="zeta")
    await setting.sender(Webhook("http://127.0.0.1:1/", SECRET)).deliver()
    assert (setting.outcomes(), await setting.waiting()) == ({"failed": 2}, 2)


async def test_what_one_sender_has_taken_no_other_sends_until_its_lease_ends(
    setting: Setting,
) -> None:
    await setting.event()
    async with setting.pool.acquire() as connection:
        now = setting.clock.now
        assert len(await webhook_deliveries.take(connection, now, now + LEASE, 5)) == 1
    assert await setting.sender().deliver() == 0
    setting.clock.forward(LEASE.total_seconds())
    assert await setting.sender().deliver() == 1
    assert len(setting.receiver.got) == 1


async def test_nothing_is_handed_over_where_nobody_delivers(setting: Setting) -> None:
    setting.is_served = False
    long_ago = await setting.pool.fetchval("SELECT now() - interval '2 days'")
    await setting.pool.execute(webhook_deliveries.SERVED, long_ago)
    await setting.event()
    assert await setting.waiting() == 0
    await setting.pool.execute("DELETE FROM ext_scheduler.facts WHERE key LIKE 'webhooks%'")
    await setting.event()
    assert await setting.waiting() == 0


async def test_no_more_wait_than_may(setting: Setting) -> None:
    await setting.pool.execute(
        "INSERT INTO ext_scheduler.webhook_deliveries (tenant_id, id, install_id, body, created_at,"
        " next_at) SELECT 'acme', gen_random_uuid(), $1, '{}', now(), now()"
        " FROM generate_series(1, $2::integer)",
        INSTALL,
        webhook_deliveries.MAX_PENDING,
    )
    await setting.event()
    assert await setting.waiting() == webhook_deliveries.MAX_PENDING


async def test_deliveries_go_with_their_install(setting: Setting) -> None:
    await setting.event()
    async with setting.pool.acquire() as connection, connection.transaction():
        await removal.remove(connection, "acme", [INSTALL])
    assert await setting.waiting() == 0


def test_retries_back_off_to_an_hour() -> None:
    waits = [retry_delay(attempts, 0.5) for attempts in (1, 2, 3, 7, 500)]
    assert waits == [timedelta(seconds=seconds) for seconds in (10, 30, 90, 3600, 3600)]
    assert retry_delay(1, 0.0) == timedelta(seconds=8)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[webhook]]\nurl = "ftp://a"\nsecret_file = "s"', "must begin with http"),
        ('[[webhook]]\nurl = "https://a"\nsecret_file = "missing"', "No such file"),
        ('[[webhook]]\nurl = "https://a"\nsecret_file = "short"', "fewer than 16 bytes"),
        ('[[webhook]]\nurl = "https://a"\nsecret_file = "s"\n' * 2, "has one already"),
        ('[[webhook]]\nurl = "https://a"\nsecret_file = "s"\nsecret = "x"', "secret"),
        ("[[webhook", "webhooks.toml"),
        ("", "webhook"),
    ],
)
def test_a_file_that_cannot_be_meant_names_what_is_wrong(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "s").write_bytes(SECRET)
    (tmp_path / "short").write_text("x")
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    with pytest.raises(CannotServeError, match=complaint):
        read_webhooks(str(file))


def test_webhooks_are_read_without_showing_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(SECRET + b"\n")
    file = tmp_path / "webhooks.toml"
    file.write_text('[[webhook]]\nurl = "https://a.example/x?y=1"\nsecret_file = "s"\ntenant = "t"')
    (webhook,) = read_webhooks(str(file))
    expected: Any = ("https://a.example/x?y=1", SECRET, "t")
    assert (webhook.url, webhook.secret, webhook.tenant) == expected
    assert "secret" not in repr(webhook)
    assert read_webhooks("") == []


async def test_a_tenant_with_many_deliveries_delays_no_other(setting: Setting) -> None:
    for _ in range(20):
        await setting.event(tenant="noisy")
    quiet = await setting.event(tenant="quiet")
    await setting.pool.execute(
        "UPDATE ext_scheduler.webhook_deliveries SET next_at = next_at - interval '1 minute'"
        " WHERE tenant_id = 'noisy'"
    )
    assert await setting.sender().deliver() == 16
    sent = [json.loads(body)["tenantId"] for _, _, body in setting.receiver.got]
    assert (sent.count("quiet"), sent.count("noisy")) == (1, 15)
    assert str(quiet) in [headers["Ext-Webhook-Id"] for _, headers, _ in setting.receiver.got]
    assert await setting.waiting() == 5


async def test_a_tenant_cannot_use_up_the_room_for_deliveries(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_deliveries, "MAX_OF_TENANT", 2)
    for _ in range(4):
        await setting.event(tenant="noisy")
    await setting.event(tenant="quiet")
    rows = await setting.pool.fetch("SELECT tenant_id FROM ext_scheduler.webhook_deliveries")
    assert sorted(row["tenant_id"] for row in rows) == ["noisy", "noisy", "quiet"]
