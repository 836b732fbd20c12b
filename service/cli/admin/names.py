"""Names of schedules and installs, and beginnings of ids, where an id is asked for.

``acme/reports/nightly`` is a schedule of tenant acme, ``acme/reports`` an install; the publisher
may stand before the extension where its name is not enough. With --tenant the tenant is left out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.inputs import UUID_PATTERN
from service.cli.admin.client import AdminClient
from service.cli.errors import EXIT_NOT_FOUND, EXIT_USAGE, CommandError

PREFIX_PATTERN = re.compile("[0-9a-fA-F-]{4,35}")
RUN_PREFIX_PATTERN = re.compile("[0-9a-fA-F-]{8,35}")
"""As much of a run's id as tables show, at least: the first run that begins so is taken."""
RUN_PAGES = 10
MAX_MATCHES = 5
PAGE_ROWS = 200


async def resolve(client: AdminClient, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments with ids in place of names and beginnings of ids.

    What is neither stays as it is, for the service to refuse. Raises CommandError where a name is
    unknown or ambiguous.
    """
    resolved = dict(arguments)
    if text := _unresolved(arguments.get("install_id")):
        resolved["install_id"] = await _install_id(client, text)
    if text := _unresolved(arguments.get("schedule_id")):
        resolved["schedule_id"] = await _schedule_id(client, text)
    if RUN_PREFIX_PATTERN.fullmatch(arguments.get("run_id") or ""):
        resolved["run_id"] = await _run_id(client, arguments["run_id"])
    return resolved


def _unresolved(text: object) -> str | None:
    if not isinstance(text, str) or re.fullmatch(UUID_PATTERN, text):
        return None
    return text if "/" in text or PREFIX_PATTERN.fullmatch(text) else None


async def _install_id(client: AdminClient, text: str) -> str:
    if "/" not in text and PREFIX_PATTERN.fullmatch(text):
        output = await client.call("listInstalls", {"idPrefix": text, "limit": MAX_MATCHES})
        return _only("install", text, [(row.id, _install_name(row)) for row in output.installs])
    parts = text.split("/")
    installs = await _installs(client, parts)
    return _only("install", text, [(row.id, _install_name(row)) for row in installs])


async def _schedule_id(client: AdminClient, text: str) -> str:
    if "/" not in text and PREFIX_PATTERN.fullmatch(text):
        output = await client.call("listSchedules", {"idPrefix": text, "limit": MAX_MATCHES})
        return _only("schedule", text, [(row.id, row.name or "") for row in output.schedules])
    parts, matches = text.split("/"), []
    # A schedule's name may contain slashes: the extension is found by as many parts as it takes.
    for count in range(1, len(parts)):
        for install in await _installs(client, parts[:count]):
            name = "/".join(parts[count:])
            matches += [
                (row.id, f"{_install_name(install)}/{row.name}")
                for row in await _schedules(client, install.tenant_id, install.id)
                if row.name == name
            ]
    return _only("schedule", text, list(dict.fromkeys(matches)))


async def _run_id(client: AdminClient, text: str) -> str:
    """Return the id that begins so, of the newest runs: no index begins with the id."""
    fields: dict[str, Any] = {"limit": PAGE_ROWS}
    searched = 0
    for _ in range(RUN_PAGES):
        page = await client.call("runHistory", fields, f"looking for run {text}")
        searched += len(page.runs)
        if found := [(run.id, "") for run in page.runs if run.id.startswith(text.lower())]:
            return _only("run", text, found)
        if not page.next_cursor:
            raise CommandError(f"no run {text!r}", EXIT_NOT_FOUND)
        fields["cursor"] = page.next_cursor
    narrower = "" if client.options.tenant.strip("*") else ", or look in one --tenant"
    raise CommandError(
        f"no run {text!r} among the newest {searched}: give its whole id, which --json"
        f" shows{narrower}",
        EXIT_NOT_FOUND,
    )


async def _installs(client: AdminClient, parts: Sequence[str]) -> list[Any]:
    """Return the installs of [tenant/][publisher/]extension."""
    tenant = client.options.tenant.strip("*")
    readings = []
    if tenant and len(parts) in {1, 2}:
        readings.append((tenant, *parts))
    if len(parts) in {2, 3} and (not tenant or parts[0] == tenant):
        readings.append(tuple(parts))
    installs: list[Any] = []
    for owner, *publisher, name in readings:
        fields = {"tenantId": owner, "name": name, "limit": MAX_MATCHES}
        if publisher:
            fields["publisher"] = publisher[0]
        if all(fields.values()):
            installs += (await client.call("listInstalls", fields)).installs
    return installs


async def _schedules(client: AdminClient, tenant: str, install_id: str) -> list[Any]:
    rows: list[Any] = []
    fields: dict[str, Any] = {"tenantId": tenant, "installId": install_id, "limit": PAGE_ROWS}
    while True:
        page = await client.call("listSchedules", fields)
        rows += page.schedules
        if not page.next_cursor:
            return rows
        fields["cursor"] = page.next_cursor


def _install_name(row: Any) -> str:  # noqa: ANN401 - an InstallInfo
    return f"{row.tenant_id}/{row.publisher}/{row.name}"


def _only(kind: str, text: str, matches: Sequence[tuple[str, str]]) -> str:
    """Return the id of the only match of (id, name). Raises CommandError."""
    if not matches:
        raise CommandError(f"no {kind} {text!r}", EXIT_NOT_FOUND)
    if len(matches) > 1:
        listed = ", ".join(f"{id_} ({name})" if name else id_ for id_, name in matches)
        raise CommandError(f"{kind} {text!r} is ambiguous: {listed}", EXIT_USAGE)
    return matches[0][0]
