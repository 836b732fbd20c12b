"""A failing schedule reaches a person: from the Runner's answer to a signed request, by `serve`."""

import hashlib
import hmac
import json
from pathlib import Path

import asyncpg
from aiohttp import web

from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.keys import write_key_set
from tests.support.platform import TICK, install
from tests.support.responders import PATIENT, ready, start
from tests.support.runner_double import bus_runner, status

CAPABILITIES = ("cap:scheduler.manage", "cap:http.fetch")
SECRET = b"a secret of the receiver's"


async def test_a_worker_reports_a_failing_schedule_to_the_operators_webhook(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    received: list[tuple[str, str, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        headers = request.headers
        body = await request.read()
        timestamp, signature = headers["Ext-Webhook-Timestamp"], headers["Ext-Webhook-Signature"]
        received.append((timestamp, signature, body))
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "secret").write_bytes(SECRET)
    webhooks = tmp_path / "webhooks.toml"
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    webhooks.write_text(f'[[webhook]]\nurl = "{url}"\nsecret_file = "secret"\n')
    settings = {
        "database_url": database,
        "nats_url": nats_url,
        "key_set_file": str(write_key_set(tmp_path / "keys.json")),
        "runner_key_file": str(tmp_path / "keys.json"),
        "failing_after": "1",
        "catchup_spread_s": "1",
        "webhooks_file": str(webhooks),
        **PATIENT,
    }
    worker = start("worker", tmp_path, settings)
    try:
        await ready(worker)

        async def served() -> bool:
            fact = "SELECT count(*) FROM ext_scheduler.facts WHERE key = 'webhooks_served_at'"
            return bool(await pool.fetchval(fact))

        await eventually(served)
        async with bus_runner(nats_url) as extension:
            extension.script = status(404)
            async with pool.acquire() as connection:
                made = await install(
                    connection,
                    declared=CAPABILITIES,
                    granted=CAPABILITIES,
                    content_hash="sha256:abc",
                    materialised=TICK,
                )
                now = await connection.fetchval("SELECT date_trunc('minute', now())")
                id_ = await schedule_rows.schedule(connection, made, cron="* * * * *", due_at=now)
            await eventually(lambda: received != [])
    finally:
        worker.kill()
        await runner.cleanup()
    timestamp, signature, body = received[0]
    event = json.loads(body)
    assert (event["type"], event["scheduleId"]) == ("schedule.failing", str(id_))
    assert event["data"]["failures"] == 1
    expected = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signature == f"v1={expected}"
