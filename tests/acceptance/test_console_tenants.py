"""Tenants, installs, audit and events in the console: what they show, and what their forms do."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from tests.support import schedule_rows
from tests.support.console_stack import ADA, Visitor, publish, running_console, visitor
from tests.support.eventually import eventually
from tests.support.platform import TICK, add_version, install


@pytest.fixture
async def ada(tmp_path: Path, database: str) -> AsyncIterator[Visitor]:
    """Yield an operator who is signed in."""
    async with running_console(tmp_path, database) as stack, visitor(stack.url) as browser:
        await browser.sign_in(ADA)
        yield browser


async def test_a_tenant_is_paused_with_a_reason_and_resumed(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    await install(connection, tenant_id="acme", materialised=TICK)
    form = {"tenant": "acme", "paused": "yes", "reason": "unpaid"}
    assert (await ada.submit("/tenants", "/tenants?paused=no", form)).status == 303
    page = await ada.get("/tenants?paused=yes")
    assert "by operator/ada : unpaid" in page.words
    assert (await ada.submit("/tenants", "/tenants", {**form, "paused": "no"})).status == 303
    assert "No tenant fits" in (await ada.get("/tenants?paused=yes")).words
    unknown = await ada.submit("/tenants", "/tenants", {**form, "tenant": "acmee"})
    assert unknown.status == 404
    audit = await ada.get("/audit?tenant=acme")
    assert audit.words.count("setTenantPaused") == 2
    rows = msgspec.json.decode((await ada.get("/audit?as=json")).text)["rows"]
    assert {row["actor"] for row in rows} == {"operator/ada"}


async def test_an_install_is_disabled_moved_after_a_look_and_removed_by_name(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made = await install(connection, tenant_id="acme", materialised=TICK)
    id_ = await schedule_rows.schedule(connection, made)
    home = f"/installs/{made.install_id}"
    assert home in (await ada.get("/installs?tenant=acme")).text
    await ada.submit(home, f"{home}/enabled", {"enabled": "no"})
    assert home in (await ada.get("/installs?enabled=no")).text
    await ada.submit(home, f"{home}/enabled", {"enabled": "yes"})
    new = await connection.fetchval("SELECT gen_random_uuid()")
    await add_version(connection, made.registry_id, new, (), (), "sha256:01")
    plan = {"version": f"1.0.{new.int % 1_000_000}", "action": "plan"}
    planned = await ada.submit(home, f"{home}/update", plan)
    assert (planned.status, str(id_) in planned.text) == (200, True)
    refused = await ada.submit(home, f"{home}/update", {**plan, "action": "apply"})
    assert (refused.status, str(id_) in refused.text) == (400, True)
    shown = await ada.submit(home, f"{home}/update", {**plan, "disable_missing": "yes"})
    assert "Endpoint missing in the new version: 1" in shown.words
    version = "SELECT version_id FROM tenant_extension_install"
    assert await connection.fetchval(version) == made.version_id
    moved = await ada.submit(
        home, f"{home}/update", {**plan, "disable_missing": "yes", "action": "apply"}
    )
    assert moved.status == 303
    assert await connection.fetchval(version) == new
    name = f"demo-{made.registry_id}"
    assert (await ada.submit(home, f"{home}/uninstall", {"confirm": "demo"})).status == 400
    assert (await ada.submit(home, f"{home}/uninstall", {"confirm": name})).status == 303
    assert (await ada.get(home)).status == 404


async def test_events_appear_as_they_happen(tmp_path: Path, database: str) -> None:
    async with running_console(tmp_path, database) as stack, visitor(stack.url) as browser:
        await browser.sign_in(ADA)
        empty = await browser.get("/events")
        assert "No event since the console was started" in empty.words
        await publish(stack, "acme")

        async def is_heard() -> bool:
            return "<td>run.succeeded</td>" in (await browser.get("/events")).text

        await eventually(is_heard)
        fits = "/events?tenant=acme&type=run.succeeded"
        assert "<td>run.succeeded</td>" in (await browser.get(fits)).text
        for other in ("tenant=globex", "type=run.failed", f"schedule={uuid4()}"):
            nothing = await browser.get(f"/events?{other}")
            assert "No event since the console was started fits" in nothing.words
            assert "<td>" not in nothing.text
