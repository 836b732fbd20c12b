"""The console in Chromium, on the whole system: what people see, do, and may not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from console.people import PAYLOAD, READ, Person
from contracts.admin_schedules import GetScheduleInput, RunHistoryInput, RunNowInput
from tests.support.browsing import (
    DESKTOP,
    PHONE,
    Watched,
    addresses,
    grave_faults,
    watched,
    window,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCROLLING_CARDS = """
[...document.querySelectorAll(".scroll")].filter((region) =>
  region.querySelector("table.cards") && region.scrollWidth > region.clientWidth).length
"""
WIDTHS = pytest.mark.parametrize("width", [DESKTOP, PHONE])
# A run crosses the whole system, on a machine that may be busy.
expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system() -> AsyncIterator[Watched]:
    """Yield the running system, which the tests of this file share."""
    async with watched() as running:
        yield running


async def choose(page: Page, path: str, name: str) -> None:
    """Open a list by its link, and one of its rows."""
    await page.locator(f'nav[aria-label="Pages"] a[href="{path}"]').click()
    await page.get_by_role("link", name=name, exact=True).click()


async def uninstall(page: Page, typed: str) -> None:
    """Type a name, and remove the install."""
    await page.get_by_text("Uninstall", exact=True).first.click()
    await page.get_by_label("to remove it").fill(typed)
    await page.get_by_role("button", name="Uninstall").click()


@WIDTHS
@pytest.mark.parametrize("dark", [False, True])
async def test_every_page_is_accessible_and_fits(system: Watched, width: int, dark: bool) -> None:
    added = await system.add_schedule(f"page-{width}-{dark}")
    started = await system.call("runNow", RunNowInput(added.schedule_id))
    async with window(system, width=width, dark=dark) as page:
        for name, path in addresses(added, started.run_id).items():
            await page.goto(system.url + path)
            await expect(page.locator("h1")).to_be_visible()
            assert (name, await grave_faults(page)) == (name, [])
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert (name, wide <= 0) == (name, True)
            assert (name, await page.evaluate(SCROLLING_CARDS)) == (name, 0)


async def test_the_path_of_a_long_name_fits_on_a_phone(system: Watched) -> None:
    added = await system.add_schedule("x" * 60)
    async with window(system, width=PHONE) as page:
        await page.goto(f"{system.url}/schedules/{added.schedule_id}/edit")
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@WIDTHS
async def test_tables_of_long_names_are_not_scrolled(system: Watched, width: int) -> None:
    added = await system.add_schedule(f"{'x' * 60}{width}")
    await system.call("runNow", RunNowInput(added.schedule_id))
    async with window(system, width=width) as page:
        for path in ("/schedules", "/tenants", "/installs", "/runs"):
            await page.goto(f"{system.url}{path}?tenant={added.tenant_id}")
            await expect(page.locator("tbody tr")).to_have_count(1)
            assert (path, await page.evaluate(SCROLLING_CARDS)) == (path, 0)


async def test_a_card_has_no_label_with_nothing_behind_it(system: Watched) -> None:
    added = await system.add_schedule("empty")
    async with window(system, width=PHONE) as page:
        await page.goto(f"{system.url}/schedules?tenant={added.tenant_id}")
        await expect(page.locator('td[data-label="State"]')).to_be_visible()
        await expect(page.locator('td[data-label="Last 20"]')).to_be_hidden()
        await system.call("runNow", RunNowInput(added.schedule_id))
        await expect(page.locator('td[data-label="Last 20"]')).to_be_visible()
        await page.goto(f"{system.url}/runs?tenant={added.tenant_id}&status=success")
        await expect(page.locator('td[data-label="Status"]')).to_be_visible()
        await expect(page.locator('td[data-label="Error"]')).to_be_hidden()


async def test_signs_in_once_with_a_link_and_is_refused_otherwise(system: Watched) -> None:
    link = system.link()
    async with window(system, person=None) as page:
        await page.goto(f"{system.url}/schedules")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await grave_faults(page) == []
        await page.goto(link)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Now")).to_be_visible()
        await page.get_by_role("link", name="ada").click()
        await page.get_by_role("button", name="Sign out").click()
        await page.goto(f"{system.url}/")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        used = await page.goto(link)
        assert used is not None
        assert used.status == 403
        await expect(page.get_by_role("alert")).to_be_visible()


async def test_offers_no_change_to_people_who_only_read(system: Watched) -> None:
    added = await system.add_schedule("read-only")
    id_ = added.schedule_id
    reader = Person(name="ben", tenant=added.tenant_id, permissions=(READ,))
    async with window(system, person=reader) as page:
        for path in (
            f"/schedules/{id_}",
            "/schedules",
            "/tenants",
            f"/installs/{added.install_id}",
        ):
            await page.goto(system.url + path)
            await expect(page.locator("main h1")).to_be_visible()
            await expect(page.locator('form[method="post"]')).to_have_count(0)
        refused = await page.goto(f"{system.url}/schedules/{id_}/edit")
        assert refused is not None
        assert refused.status == 403


@WIDTHS
async def test_a_run_appears_and_ends_without_reloading(system: Watched, width: int) -> None:
    id_ = (await system.add_schedule(f"live-{width}")).schedule_id
    async with window(system, width=width) as page:
        await page.goto(f"{system.url}/schedules/{id_}")
        await expect(page.get_by_text("It has not run yet.")).to_be_visible()
        await page.evaluate("window.opened = true")
        await system.call("runNow", RunNowInput(id_))
        history = page.get_by_role("region", name="History")
        await expect(history.get_by_text("success", exact=True)).to_be_visible()
        assert await page.evaluate("window.opened")


@WIDTHS
async def test_three_clicks_tell_why_a_paused_tenants_schedule_did_not_run(
    system: Watched, width: int
) -> None:
    name = f"why-{width}"
    added = await system.add_schedule(name)
    async with window(system, width=width) as page:
        await page.goto(f"{system.url}/tenants?tenant={added.tenant_id}")
        await page.get_by_label("Reason").fill("unpaid")
        await page.get_by_role("button", name="Pause").click()
        await page.goto(f"{system.url}/")
        await page.get_by_role("link", name="Schedules", exact=True).click()
        await page.get_by_role("link", name=name, exact=True).click()
        await expect(page.locator(".findings")).to_contain_text("unpaid")
        await expect(page.locator(".findings")).to_contain_text("ada")
        await page.goto(f"{system.url}/tenants?tenant={added.tenant_id}")
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()


@WIDTHS
async def test_a_schedule_is_run_paused_edited_and_deleted(system: Watched, width: int) -> None:
    name = f"changed-{width}"
    id_ = (await system.add_schedule(name)).schedule_id
    async with window(system, width=width) as page:
        await choose(page, "/schedules", name)
        await page.get_by_role("button", name="Run now").click()
        await expect(page.locator("main .status").first).to_have_text("success")
        await choose(page, "/schedules", name)
        await page.get_by_label("Reason").fill("too loud")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator(".findings")).to_contain_text("too loud")
        await page.get_by_role("button", name="Resume").click()
        await page.get_by_role("link", name="Edit").click()
        await page.get_by_label("Cron").fill("0 4 * * 1")
        await expect(page.locator("#preview")).to_contain_text("04:00")
        await page.get_by_label("Name").fill(f"{name}-again")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"{name}-again")
        await page.get_by_text("Delete", exact=True).first.click()
        await page.get_by_label("to delete it").fill(f"{name}-again")
        await page.get_by_role("button", name="Delete").click()
        await page.wait_for_url(f"{system.url}/schedules")
        gone = await page.goto(f"{system.url}/schedules/{id_}")
        assert gone is not None
        assert gone.status == 404


@WIDTHS
async def test_several_schedules_are_changed_at_once(system: Watched, width: int) -> None:
    added = [await system.add_schedule(f"several-{width}-{number}") for number in (1, 2)]
    ids = [one.schedule_id for one in added]
    async with window(system, width=width) as page:
        for action, enabled in (("Disable", False), ("Enable", True)):
            await page.goto(f"{system.url}/schedules?text=several-{width}")
            for box in await page.get_by_role("checkbox").all():
                await box.check()
            await page.get_by_role("button", name=action).click()
            await expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)
            found = [await system.call("getSchedule", GetScheduleInput(id_)) for id_ in ids]
            assert [one.schedule.enabled for one in found] == [enabled, enabled]
        # The page that follows a change may not be there yet: none of its boxes is checked either.
        await page.goto(f"{system.url}/schedules?text=several-{width}")
        for box in await page.get_by_role("checkbox").all():
            await box.check()
        await page.get_by_role("button", name="Run now").click()
        await expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)
        for id_ in ids:
            assert (
                len((await system.call("runHistory", RunHistoryInput(schedule_id=id_))).runs) == 1
            )


@WIDTHS
async def test_an_install_is_disabled_enabled_moved_and_removed_by_name(
    system: Watched, width: int
) -> None:
    added = await system.add_schedule(f"leaving-{width}")
    home = f"{system.url}/installs/{added.install_id}"
    newer = f"2.0.{width}"
    await system.publish_version(newer)
    async with window(system, width=width) as page:
        await page.goto(home)
        await page.get_by_role("button", name="Disable").click()
        await expect(page.get_by_text("disabled", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Enable").click()
        await expect(page.get_by_text("enabled", exact=True)).to_be_visible()
        await page.get_by_role("textbox", name="Version").fill(newer)
        await page.get_by_role("button", name="Show what would change").click()
        await expect(page.get_by_role("heading", name="Moved: 1")).to_be_visible()
        assert await grave_faults(page) == []
        await page.get_by_role("button", name="Move", exact=True).click()
        await page.wait_for_url(home)
        await expect(page.locator(".facts")).to_contain_text(newer)
        await page.goto(home)
        await uninstall(page, "another")
        await expect(page.locator("main")).to_contain_text("Not removed")
        await page.goto(home)
        await uninstall(page, system.stack.extension.manifest.name)
        await page.wait_for_url(f"{system.url}/installs")
        await page.goto(home)
        await expect(page.get_by_text("Install not found")).to_be_visible()


async def test_keys_search_and_go_to_pages(system: Watched) -> None:
    async with window(system) as page:
        await page.keyboard.press("g")
        await page.keyboard.press("s")
        await page.wait_for_url(f"{system.url}/schedules")
        await page.keyboard.press("/")
        await expect(page.get_by_label("Search")).to_be_focused()
        await page.goto(f"{system.url}/audit")
        await page.keyboard.press("g")
        await page.keyboard.press("n")
        await page.wait_for_url(f"{system.url}/")


async def test_events_and_audit_show_what_was_done(system: Watched) -> None:
    async with window(system) as page:
        await page.goto(f"{system.url}/events")
        id_ = (await system.add_schedule("seen")).schedule_id
        await expect(page.locator(f'main a[href="/schedules/{id_}"]').first).to_be_visible()
        await page.get_by_role("link", name="Audit", exact=True).click()
        await expect(page.get_by_text("createSchedule").first).to_be_visible()


@pytest.mark.parametrize(
    "script",
    [
        "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))",
        "document.body.setAttribute('style', 'color: red')",
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2/'}))",
    ],
)
async def test_the_policy_refuses_what_pages_do_without(system: Watched, script: str) -> None:
    async def visit() -> None:
        async with window(system) as page:
            await page.evaluate(script)
            await page.goto(f"{system.url}/schedules")

    with pytest.raises(AssertionError, match=r"(script|style|img)-src"):
        await visit()


@WIDTHS
async def test_the_load_of_the_week_leads_from_a_cell_to_its_tenants(
    system: Watched, width: int
) -> None:
    added = await system.add_schedule(f"crowded-{width}", cron="41 5 * * *")
    async with window(system, width=width) as page:
        await page.goto(f"{system.url}/load?tenant={added.tenant_id}")
        await page.locator("svg a").first.click()
        await page.wait_for_url("**#minute")
        tenants = page.get_by_role("region", name="Tenants of the minute")
        await expect(tenants.get_by_role("link", name=added.tenant_id)).to_be_visible()
        assert await grave_faults(page) == []
        await page.get_by_label("Cron").fill("41 * * * *")
        await page.get_by_label("Time zone").fill("Europe/Berlin")
        await page.get_by_role("button", name="Try it").click()
        await expect(page.get_by_role("status")).to_contain_text("168 slots in the week")
        await page.get_by_label("Cron").fill("99 * * * *")
        await page.get_by_role("button", name="Try it").click()
        await expect(page.get_by_role("alert")).to_contain_text("cron")
        await page.goto(f"{system.url}/load?tenant={added.tenant_id}")
        await page.locator("#crowded ~ ol a").first.click()
        await expect(page.locator("main")).to_contain_text("1 schedule of 1 tenant")
        await page.get_by_label("Minute, in").fill("2020-01-01T00:00")
        await page.get_by_role("button", name="Show whose").click()
        await expect(page.get_by_role("alert")).to_contain_text("Not a minute of the coming week")


@WIDTHS
async def test_a_run_is_run_again_and_shows_its_request_id(system: Watched, width: int) -> None:
    added = await system.add_schedule(f"again-{width}")
    started = await system.call("runNow", RunNowInput(added.schedule_id))
    first = f"{system.url}/runs/{started.run_id}?tenant={added.tenant_id}"
    async with window(system, width=width) as page:
        await page.goto(first)
        await expect(page.locator("main .status").first).to_have_text("success")
        await expect(page.locator(".facts")).to_contain_text("Request id")
        # A minute's manual runs are one: the same run answers, and its page is shown.
        await page.get_by_role("button", name="Run again").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Run ")
        await expect(page.locator("main .status").first).to_have_text("success")


@WIDTHS
async def test_every_table_is_had_as_csv_and_json(system: Watched, width: int) -> None:
    added = await system.add_schedule(f"files-{width}", "30 2 * * *")
    await system.call("runNow", RunNowInput(added.schedule_id))
    tenant = f"?tenant={added.tenant_id}"
    async with window(system, width=width) as page:
        await page.goto(f"{system.url}/events")
        await system.call(
            "runNow", RunNowInput((await system.add_schedule(f"e{width}")).schedule_id)
        )
        await expect(page.locator(".files")).to_be_visible()
        for path in (
            f"/schedules{tenant}",
            f"/schedules/{added.schedule_id}",
            f"/runs{tenant}",
            f"/tenants{tenant}",
            f"/installs{tenant}",
            f"/audit{tenant}",
            "/events",
            "/load",
        ):
            await page.goto(system.url + path)
            for name in ("CSV", "JSON"):
                async with page.expect_download() as started:
                    await page.locator(".files").get_by_role("link", name=name).click()
                file = Path(await (await started.value).path())
                text = await asyncio.to_thread(file.read_text)
                if name == "JSON":
                    assert (path, len(json.loads(text)["rows"]) > 0) == (path, True)
                else:
                    assert (path, len(text.splitlines()) > 1) == (path, True)


async def test_a_session_that_is_revoked_is_out_at_once(system: Watched) -> None:
    ben = Person(name="ben-to-go", tenant="of-nobody", permissions=(READ,))
    async with window(system, person=ben) as his, window(system) as hers:
        await hers.goto(f"{system.url}/sessions")
        row = hers.get_by_role("row").filter(has_text="ben-to-go")
        await row.get_by_role("button", name="Revoke").click()
        await expect(row).to_have_count(0)
        await his.goto(f"{system.url}/schedules")
        await expect(his.get_by_role("heading", name="Sign in")).to_be_visible()
        refused = await his.request.get(f"{system.url}/live")
        assert refused.status == 401


async def test_a_paused_tenant_is_said_on_the_first_page_and_found_in_the_audit(
    system: Watched,
) -> None:
    added = await system.add_schedule("audited")
    async with window(system) as page:
        await page.goto(f"{system.url}/tenants?tenant={added.tenant_id}")
        await page.get_by_label("Reason").fill("a look at the books")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await page.goto(f"{system.url}/")
        await expect(page.locator(".worries")).to_contain_text("paused")
        await page.goto(f"{system.url}/audit?tenant={added.tenant_id}")
        await page.get_by_label("What").fill("setTenantPaused")
        await page.get_by_label("Who").fill("console/ada")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.get_by_label("Who").fill("console/nobody")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator(".empty")).to_contain_text("No change fits")
        await page.goto(f"{system.url}/tenants?tenant={added.tenant_id}")
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()


@WIDTHS
async def test_every_page_reads_well_without_scripts(system: Watched, width: int) -> None:
    added = await system.add_schedule(f"plain-{width}")
    started = await system.call("runNow", RunNowInput(added.schedule_id))
    async with window(system, width=width, scripts=False) as page:
        for path in addresses(added, started.run_id).values():
            await page.goto(system.url + path)
            await expect(page.locator("h1")).to_be_visible()
        await page.goto(f"{system.url}/schedules/{added.schedule_id}/edit")
        await page.get_by_label("Cron").fill("15 6 * * *")
        await page.get_by_role("button", name="Preview the slots").click()
        await expect(page.locator("main")).to_contain_text("06:15")


async def test_payloads_are_shown_with_their_permission_only(system: Watched) -> None:
    added = await system.add_schedule("secretive")
    for permissions, shown in (((READ,), False), ((READ, PAYLOAD), True)):
        reader = Person(name="ben", tenant=added.tenant_id, permissions=permissions)
        async with window(system, person=reader) as page:
            await page.goto(f"{system.url}/schedules/{added.schedule_id}")
            await expect(page.locator("#payload-text")).to_have_count(1 if shown else 0)
            assert ('"beat"' in await page.content()) is shown


@WIDTHS
async def test_the_keyboard_alone_finds_why(system: Watched, width: int) -> None:
    name = f"by-keys-{width}"
    await system.add_schedule(name)
    async with window(system, width=width) as page:
        for key, path in (("l", "/load"), ("s", "/schedules")):
            await page.keyboard.press("g")
            await page.keyboard.press(key)
            await page.wait_for_url(system.url + path)
        await page.keyboard.press("/")
        await page.keyboard.type(name)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**text={name}**")
        await tab_to(page, name)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await tab_to(page, "What became of")
        await page.keyboard.type("02:30")
        await page.keyboard.press("Enter")
        await expect(page.locator(".findings")).to_contain_text("slot_")


async def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has this text, or this label, is focused; its focus has to show."""
    for _ in range(80):
        await page.keyboard.press("Tab")
        found, outlined = await page.evaluate(
            """() => { const at = document.activeElement;
            return [(at.labels?.[0] ?? at).textContent.trim(),
              getComputedStyle(at).outlineStyle !== "none"]; }"""
        )
        if found.startswith(text):
            assert outlined
            return
    raise AssertionError(f"no way to {text} by Tab")
