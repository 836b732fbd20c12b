"""New schedules, each of another install: locked, looked up and written by a statement each."""

from collections.abc import Sequence
from itertools import accumulate, chain, islice
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.parameters import many_rows, one_row
from service.storage.platform.installs import RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row
from service.storage.schedules.change_lookup import (
    LOOKUP_COLUMNS,
    RECORD_COLUMNS,
    RECORDING,
    WRITTEN_COLUMNS,
    ChangeLookup,
    ChangeRecord,
    LookupQuery,
    from_lookups,
    lookups,
    query_values,
    record_values,
)
from service.storage.schedules.rows import INSERTING, NEW_COLUMNS, NewSchedule, values

LOCK_TIMEOUT = "100ms"
"""Bounds how long one of several keeps the others waiting: for a name that another session has just
taken and not yet committed."""

# What another session has locked is left out, not waited for.
LOCK = f"""
SELECT given.place, {RIGHTS_COLUMNS}, v.api_endpoints::text AS manifest,
  v.id AS joined_version_id
{RIGHTS_FROM}
JOIN {many_rows({"tenant_id": "text", "install_id": "uuid"})}
  ON given.tenant_id = i.tenant_id AND given.install_id = i.id
WHERE (SELECT set_config('lock_timeout', '{LOCK_TIMEOUT}', true)) IS NOT NULL
FOR NO KEY UPDATE OF i SKIP LOCKED
"""

LOOK_UP = f"""
SELECT given.place, {lookups({name: f"given.{name}" for name in LOOKUP_COLUMNS})}
FROM {many_rows(LOOKUP_COLUMNS)}
"""

# An array of arrays has to be a rectangle, so the windows come as parts of one array.
_PARTS = {"first_accepted": "integer", "last_accepted": "integer"}
_WRITTEN = {**RECORD_COLUMNS, **NEW_COLUMNS, **_PARTS}
WRITE = f"""
WITH new_rows AS (
  SELECT *, (${len(_WRITTEN) + 1}::timestamptz[])[first_accepted:last_accepted] AS accepted
  FROM {many_rows(_WRITTEN)}
), {INSERTING}, {RECORDING}
"""

# Each statement is a round trip, and the install stays locked during it.
WRITE_ONE = (
    f"WITH new_rows AS ({one_row({**WRITTEN_COLUMNS, **NEW_COLUMNS})}), {INSERTING}, {RECORDING}"
)


class CreatedSchedule(Struct, frozen=True):
    """A schedule to be written, and what its creation leaves behind."""

    new: NewSchedule
    record: ChangeRecord


async def lock(
    connection: Connection, tenant_ids: Sequence[str], install_ids: Sequence[UUID]
) -> list[Install | None]:
    """Lock the rows of these installs until the transaction ends; return them with manifests.

    An install is None where the tenant has no such install, where another session has locked it,
    and where another session has just changed it. From here on the transaction waits for no lock
    longer than ``LOCK_TIMEOUT``.
    """
    locked: list[Install | None] = [None] * len(install_ids)
    for row in await connection.fetch(LOCK, tenant_ids, install_ids):
        # Where they differ, the joined version is not that of the row: see ``installs.lock``.
        if row["joined_version_id"] == row["version_id"]:
            locked[row["place"] - 1] = from_row(row, row["manifest"])
    return locked


async def look_up(connection: Connection, queries: Sequence[LookupQuery]) -> list[ChangeLookup]:
    """Answer each query; call it with the installs' rows locked, in a later statement."""
    columns = zip(*map(query_values, queries), strict=True)
    rows = await connection.fetch(LOOK_UP, *islice(columns, len(LOOKUP_COLUMNS)))
    return [from_lookups(row) for row in sorted(rows, key=lambda row: row["place"])]


async def write(connection: Connection, created: Sequence[CreatedSchedule]) -> None:
    """Write schedules, timers, and what their creations leave behind."""
    if len(created) == 1:
        only = created[0]
        await connection.execute(WRITE_ONE, *record_values(only.record), *values(only.new))
        return
    columns = [*zip(*(record_values(each.record) for each in created), strict=True)]
    windows = columns.pop()
    columns += zip(*(values(each.new) for each in created), strict=True)
    last = [*accumulate(map(len, windows))]
    first = [end - len(window) + 1 for end, window in zip(last, windows, strict=True)]
    await connection.execute(WRITE, *columns, first, last, [*chain.from_iterable(windows)])
