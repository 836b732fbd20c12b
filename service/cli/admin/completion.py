"""Shell completion of tenants, installs and schedules: a quick look over the bus, or nothing."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import typer

from service.cli.admin.client import AdminClient, open_client, read_options
from service.runtime import settings
from service.runtime.settings import FILE_VARIABLE

TIMEOUT_S = 2.0
MAX_ROWS = 200

FindSuggestions: TypeAlias = Callable[[AdminClient, str], Awaitable[list[str]]]


async def _tenants(client: AdminClient, text: str) -> list[str]:
    output = await client.call("listTenants", {"limit": MAX_ROWS})
    return [row.tenant_id for row in output.tenants if row.tenant_id.startswith(text)]


async def _installs(client: AdminClient, text: str) -> list[str]:
    tenant, slash, _ = text.partition("/")
    if not slash:
        return [f"{name}/" for name in await _tenants(client, text)]
    output = await client.call("listInstalls", {"tenantId": tenant, "limit": MAX_ROWS})
    return [f"{tenant}/{row.name}" for row in output.installs]


async def _schedules(client: AdminClient, text: str) -> list[str]:
    tenant, *_, install = text.split("/", 2)[:2] if text.count("/") > 1 else ("", "", "")
    if not tenant:
        installs = await _installs(client, text)
        return installs if "/" not in text else [f"{name}/" for name in installs]
    listed = await client.call("listInstalls", {"tenantId": tenant, "name": install})
    names = []
    for row in listed.installs:
        fields = {"tenantId": tenant, "installId": row.id, "limit": MAX_ROWS}
        schedules = (await client.call("listSchedules", fields)).schedules
        names += [f"{tenant}/{install}/{found.name}" for found in schedules if found.name]
    return names


def _without_tenant(search: FindSuggestions) -> FindSuggestions:
    """Return a search that leaves the tenant out where --tenant or the settings name one."""

    async def find(client: AdminClient, text: str) -> list[str]:
        tenant = client.options.tenant.strip("*")
        if not tenant or text.startswith(f"{tenant}/"):
            return await search(client, text)
        found = await search(client, f"{tenant}/{text}")
        return [name.removeprefix(f"{tenant}/") for name in found]

    return find


def _completing(search: FindSuggestions) -> Callable[[typer.Context, str], list[str]]:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            found = asyncio.run(asyncio.wait_for(_search(search, context, incomplete), TIMEOUT_S))
        except Exception:  # noqa: BLE001 - a shell that completes has no place for an error
            return []
        return [text for text in found if text.startswith(incomplete)]

    return complete


async def _search(search: FindSuggestions, context: typer.Context, incomplete: str) -> list[str]:
    # A shell that completes does not run the program, which would note where its settings are.
    config = context.find_root().params.get("config")
    loaded = settings.load({**os.environ, **({FILE_VARIABLE: str(config)} if config else {})})
    absent = dict.fromkeys(("subject", "tenant", "key", "permission", "timeout", "request_id"))
    given = {name: value for name, value in context.params.items() if name in absent}
    arguments = {**absent, "as_json": False, **given}
    async with open_client(loaded, read_options(loaded, arguments)) as client:
        return await search(client, incomplete)


COMPLETIONS: Mapping[str, Callable[[typer.Context, str], list[str]]] = MappingProxyType(
    {
        "tenantId": _completing(_tenants),
        "installId": _completing(_without_tenant(_installs)),
        "scheduleId": _completing(_without_tenant(_schedules)),
    }
)
"""Wire field → the function that completes it."""
