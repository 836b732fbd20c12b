"""The console in Chromium, on the whole system: what people see, do, and may not."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from console.people import READ, Person
from contracts.admin_schedules import GetScheduleInput, RunNowInput
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
WIDTHS = pytest.mark.parametrize("width", [DESKTOP, PHONE])
# A run crosses the whole system, on a machine that may be busy.
expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system() -> AsyncIterator[Watched]:
    """The running system, which the tests of this file share."""
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
