"""The whole system with its console, and Chromium to look at it with."""

import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from msgspec import Struct, structs
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from console.links import sign_link
from console.people import PERMISSIONS, Person, normalised
from contracts.admin_installs import Manifest
from contracts.admin_schedules import CreateScheduleInput
from contracts.context import parse_key_set, signing_key
from contracts.subjects import ADMIN_AUDIENCE
from devstack.administration import OperatorCall, administration
from devstack.stack import DevStack, running_stack
from service.storage.platform.registry import Registered, register

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# As root, which containers are, Chromium starts only without its sandbox; it opens nothing foreign.
ARGUMENTS = ("--disable-dev-shm-usage", *(("--no-sandbox",) if os.geteuid() == 0 else ()))
DESKTOP, PHONE = 1280, 390
HEIGHT = 900
POLICY_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("policy violated: " + event.violatedDirective + " " + event.blockedURI));
"""
ADA = Person(name="ada", tenant="*", permissions=normalised(PERMISSIONS))
GRAVE = {"serious", "critical"}


class Added(Struct, frozen=True):
    """A schedule, its install and its tenant."""

    tenant_id: str
    install_id: str
    schedule_id: str


class Watched(Struct, frozen=True):
    """A running system, its operator's calls, and a browser."""

    stack: DevStack
    call: OperatorCall
    browser: Browser

    @property
    def url(self) -> str:
        """Return where the console is."""
        return self.stack.console_url

    def link(self, person: Person = ADA) -> str:
        """Return a new link that signs a person in."""
        keys = parse_key_set((self.stack.home / "operator.json").read_bytes())
        return sign_link(self.url, person, signing_key(keys, ADMIN_AUDIENCE), time.time())

    async def add_schedule(self, name: str, cron: str = "30 2 29 2 *") -> Added:
        """Create a tenant with the sample extension, and a schedule, due every four years.

        A tenant each: how often schedules may be run by hand is limited by install.
        """
        tenant_id, extension = f"of-{name}", self.stack.extension
        made = await self._register(tenant_id, extension.manifest, extension.content_hash)
        fields = CreateScheduleInput(
            install_id=str(made.install_id),
            endpoint="POST /api/heartbeat",
            cron=cron,
            timezone="Europe/Berlin",
            name=name,
            payload={"beat": name},
        )
        created = await self.call("createSchedule", fields)
        return Added(tenant_id, str(made.install_id), str(created.schedule_id))

    async def publish_version(self, version: str) -> None:
        """Register another version of the sample extension, with the same endpoints."""
        manifest = structs.replace(self.stack.extension.manifest, version=version)
        digest = hashlib.sha256(version.encode()).hexdigest()
        await self._register(f"of-{version}", manifest, f"sha256:{digest}")

    async def _register(self, tenant_id: str, manifest: Manifest, digest: str) -> Registered:
        connection = await asyncpg.connect(self.stack.postgres.dsn)
        try:
            async with connection.transaction():
                return await register(
                    connection, tenant_id, manifest, digest, manifest.capabilities
                )
        finally:
            await connection.close()


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """Run the system and Chromium within the context."""
    async with (
        running_stack(min_interval_minutes=1) as stack,
        administration(stack.state) as call,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield Watched(stack, call, browser)
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    system: Watched,
    *,
    width: int = DESKTOP,
    dark: bool = False,
    person: Person | None = ADA,
    scripts: bool = True,
) -> AsyncIterator[Page]:
    """Open a window within the context, signed in as a person; then hold what it did.

    Raises AssertionError where it asked another host, violated the policy, or a script failed.
    """
    faults: list[str] = []

    def note_request(request: Request) -> None:
        if not request.url.startswith((f"{system.url}/", "data:")):
            faults.append(f"asked {request.url}")

    def note_message(message: ConsoleMessage) -> None:
        if "olicy" in message.text:
            faults.append(message.text)

    context = await system.browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme="dark" if dark else "light",
        timezone_id="Europe/Berlin",
        java_script_enabled=scripts,
    )
    context.on("request", note_request)
    context.on("console", note_message)
    context.on("weberror", lambda error: faults.append(f"script: {error.error}"))
    await context.add_init_script(POLICY_WATCH)
    try:
        page = await context.new_page()
        if person is not None:
            await page.goto(system.link(person))
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_url(f"{system.url}/")
        yield page
    finally:
        await context.close()
    if faults:
        raise AssertionError("; ".join(faults))


async def grave_faults(page: Page) -> list[Any]:
    """Return what axe finds serious or critical on a page: rule, and where."""
    found = (await Axe().run(page)).response["violations"]
    return [
        (fault["id"], fault["impact"], [node["target"] for node in fault["nodes"]])
        for fault in found
        if fault["impact"] in GRAVE
    ]


def addresses(added: Added, run_id: str) -> dict[str, str]:
    """Return the address of every page, by name."""
    return {
        "now": "/",
        "schedules": "/schedules",
        "schedule": f"/schedules/{added.schedule_id}",
        "edit": f"/schedules/{added.schedule_id}/edit",
        "runs": "/runs",
        "run": f"/runs/{run_id}?tenant={added.tenant_id}",
        "tenants": "/tenants",
        "installs": "/installs",
        "install": f"/installs/{added.install_id}",
        "load": "/load",
        "load of a minute": f"/load?at={_tomorrow()}&cron=30+2+*+*+*",
        "audit": "/audit",
        "events": "/events",
        "sessions": "/sessions",
        "refused": "/runs?since=nonsense&until=never",
        "error": "/schedules/00000000-0000-0000-0000-000000000000",
    }


def _tomorrow() -> str:
    return f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:00Z}"
