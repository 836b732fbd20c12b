"""Draws the pictures of ``docs/console.md``: ``make pictures``."""

import asyncio
from pathlib import Path

from playwright.async_api import Page, expect

from contracts.admin_installs import SetTenantPausedInput
from contracts.admin_schedules import RunNowInput
from tests.support.browsing import PHONE, Added, Watched, addresses, watched, window

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
HEIGHT = 720
DESKTOP_PAGES = ("now", "run")
PHONE_PAGES = ("schedules",)
WIDTH = 1024


async def draw() -> None:
    """Run the system with some schedules, and write a picture of each chosen page."""
    PICTURES.mkdir(exist_ok=True)
    async with watched() as system:
        nightly, paused = [await system.add_schedule(name) for name in ("nightly", "invoices")]
        runs = [await system.call("runNow", RunNowInput(nightly.schedule_id)) for _ in range(3)]
        held = SetTenantPausedInput(paused.tenant_id, True, "the invoice is unpaid")
        await system.call("setTenantPaused", held)
        async with window(system, width=WIDTH) as page:
            await page.goto(f"{system.url}/runs/{runs[-1].run_id}?tenant={nightly.tenant_id}")
            await expect(page.locator("main .status").first).to_have_text("success")
            await _draw(page, system, nightly, runs[0].run_id, DESKTOP_PAGES)
            await page.goto(f"{system.url}/schedules/{paused.schedule_id}")
            await page.screenshot(path=PICTURES / "why.png")
        for number in range(40):
            hour, minute = number * 7 % 24, (number * 13 % 4) * 15
            await system.add_schedule(f"crowd-{number}", cron=f"{minute} {hour} * * *")
        async with window(system, width=WIDTH) as page:
            await page.goto(f"{system.url}/load?cron=0+3+*+*+*")
            await page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            await page.screenshot(path=PICTURES / "load.png")
        async with window(system, width=PHONE, dark=True) as page:
            await _draw(page, system, nightly, runs[0].run_id, PHONE_PAGES)


async def _draw(
    page: Page, system: Watched, added: Added, run_id: str, names: tuple[str, ...]
) -> None:
    width = page.viewport_size["width"] if page.viewport_size else WIDTH
    await page.set_viewport_size({"width": width, "height": HEIGHT})
    for name in names:
        await page.goto(system.url + addresses(added, run_id)[name])
        await page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    asyncio.run(draw())
