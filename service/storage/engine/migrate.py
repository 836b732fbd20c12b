"""Forward-only numbered migrations, applied once each under an advisory lock."""

import hashlib
import re
from importlib import resources

from msgspec import Struct

from service.storage.engine import citus
from service.storage.engine.connection import Connection

LOCK_KEY = 0x657874_7363686564  # "extsched"

CREATE_MIGRATIONS_TABLE = """
CREATE SCHEMA IF NOT EXISTS ext_scheduler;
CREATE TABLE IF NOT EXISTS ext_scheduler.migrations (
  version integer PRIMARY KEY,
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
"""

MIGRATIONS_TABLE_EXISTS = "SELECT to_regclass('ext_scheduler.migrations') IS NOT NULL"

APPLIED = "SELECT version, name, checksum FROM ext_scheduler.migrations ORDER BY version"

RECORD = "INSERT INTO ext_scheduler.migrations (version, name, checksum) VALUES ($1, $2, $3)"


class MigrationError(Exception):
    """The database's migrations are inconsistent with this release's."""


class Migration(Struct, frozen=True):
    """One numbered file; ``checksum`` is the SHA-256 of its bytes, in hex."""

    version: int
    name: str
    sql: str
    checksum: str


def available() -> list[Migration]:
    """Return the migrations of this release, in order. Raises MigrationError on a gap."""
    migrations = []
    for entry in (resources.files("service.storage") / "migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name):
            body = entry.read_bytes()
            checksum = hashlib.sha256(body).hexdigest()
            migrations.append(Migration(int(match[1]), match[2], body.decode(), checksum))
    migrations.sort(key=lambda migration: migration.version)
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError("Migration files are not numbered 1, 2, 3, … without gaps")
    return migrations


async def pending(connection: Connection) -> list[Migration]:
    """Return the migrations not applied yet.

    Raises MigrationError when an applied one differs from this release's file, or is unknown to it.
    """
    known = {migration.version: migration for migration in available()}
    if await connection.fetchval(MIGRATIONS_TABLE_EXISTS):
        for row in await connection.fetch(APPLIED):
            migration = known.pop(row["version"], None)
            label = f"{row['version']:04d}_{row['name']}"
            if migration is None:
                raise MigrationError(
                    f"The database has migration {label}, which this release does not know"
                )
            if migration.checksum != row["checksum"]:
                raise MigrationError(f"Migration {label} was changed after it had been applied")
    return list(known.values())


async def migrate(connection: Connection) -> list[Migration]:
    """Apply what is pending, each in a transaction of its own; return what was applied.

    Any number of processes may call this at once: the others wait, then find nothing to do.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    try:
        todo = await pending(connection)
        await connection.execute(CREATE_MIGRATIONS_TABLE)
        for migration in todo:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    RECORD, migration.version, migration.name, migration.checksum
                )
        await citus.place(connection)
        return todo
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


def as_sql(migrations: list[Migration]) -> str:
    """Return a script that does the same by hand, for ``psql``."""
    parts = [CREATE_MIGRATIONS_TABLE.strip()]
    for migration in migrations:
        record = (
            "INSERT INTO ext_scheduler.migrations (version, name, checksum)"
            f" VALUES ({migration.version}, '{migration.name}', '{migration.checksum}');"
        )
        parts.append(f"BEGIN;\n{migration.sql.strip()}\n{record}\nCOMMIT;")
    return "\n\n".join(parts) + "\n"
