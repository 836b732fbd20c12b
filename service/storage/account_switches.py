"""When tenants were paused and installs off, as the audit has it: for the account of schedules."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.rules.recorded_states import StateChange, StateValues, in_order
from service.storage.account_records import json_object
from service.storage.engine.connection import Connection

_SWITCHES = """
a.at, a.sequence, a.changes::text AS changes FROM ext_scheduler.audit a
WHERE a.tenant_id = $1::text
"""
_OF_TENANT = "AND a.op = 'setTenantPaused'"
_OF_INSTALL = "AND a.install_id = $3::uuid AND a.op = 'setInstallEnabled'"
_BEFORE = "AND a.at <= $2::timestamptz ORDER BY a.at DESC, a.id DESC LIMIT 1"
_AFTER = "AND a.at > $2::timestamptz ORDER BY a.at, a.id LIMIT 10000"
PAUSE_BEFORE = f"SELECT {_SWITCHES} {_OF_TENANT} {_BEFORE}"
PAUSES_AFTER = f"SELECT {_SWITCHES} {_OF_TENANT} {_AFTER}"
SWITCH_BEFORE = f"SELECT {_SWITCHES} {_OF_INSTALL} {_BEFORE}"
SWITCHES_AFTER = f"SELECT {_SWITCHES} {_OF_INSTALL} {_AFTER}"

IS_PAUSED = "SELECT count(*) > 0 FROM ext_scheduler.tenant_pauses p WHERE p.tenant_id = $1::text"

IS_ENABLED = """SELECT i.is_enabled AND i.status = 'enabled' FROM tenant_extension_install i
WHERE i.tenant_id = $1::text AND i.id = $2::uuid"""


class Switches(Struct, frozen=True):
    """What a tenant or an install was before ``changes``, and is ``now``."""

    earlier: StateValues
    changes: Sequence[StateChange]
    now: StateValues


async def pauses(connection: Connection, tenant_id: str, since: datetime) -> Switches:
    """Return when a tenant was paused and resumed since an instant."""
    was_off, switches = await _switches(connection, PAUSE_BEFORE, PAUSES_AFTER, (tenant_id, since))
    is_off = was_off
    if switches:
        is_off = bool(await connection.fetchval(IS_PAUSED, tenant_id))
    return Switches(
        StateValues(paused=was_off),
        [StateChange(at, StateValues(paused=off), sequence=number) for at, number, off in switches],
        StateValues(paused=is_off),
    )


async def of_install(
    connection: Connection, tenant_id: str, install_id: UUID, since: datetime
) -> Switches:
    """Return when an install was switched off and on since an instant."""
    values = (tenant_id, since, install_id)
    was_off, switches = await _switches(connection, SWITCH_BEFORE, SWITCHES_AFTER, values)
    is_off = not await connection.fetchval(IS_ENABLED, tenant_id, install_id)
    changes = in_order(
        StateChange(at, StateValues(install_off=off), sequence=number)
        for at, number, off in switches
    )
    # Of entries without numbers any may have come last.
    of_now = changes[-1:] if changes and changes[-1].sequence else changes
    if is_off and not (any(each.values.install_off for each in of_now) if of_now else was_off):
        # The platform did it by itself, and left no entry of when.
        changes = []
    now = StateValues(install_off=is_off or (was_off and not changes))
    return Switches(StateValues(install_off=was_off), changes, now)


async def _switches(
    connection: Connection, before: str, after: str, values: tuple[object, ...]
) -> tuple[bool, list[tuple[datetime, int, bool]]]:
    last = await connection.fetchrow(before, *values)
    rows = await connection.fetch(after, *values)
    found = [(row["at"], row["sequence"], _is_off(row["changes"])) for row in rows]
    return last is not None and _is_off(last["changes"]), found


def _is_off(text: str) -> bool:
    values = json_object(text)
    return values.get("paused") is True or values.get("enabled") is False
