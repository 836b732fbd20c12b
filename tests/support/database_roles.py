"""An owner role that migrates a database, and a runtime role that serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from service.storage.engine import grants
from service.storage.engine.migrate import migrate

PASSWORD = "of-both-roles"


class Roles(Struct, frozen=True):
    """Their names, and a DSN to connect as each; neither is a superuser."""

    owner: str
    runtime: str
    owner_dsn: str
    runtime_dsn: str


@asynccontextmanager
async def two_roles(dsn: str, *, granted: bool = True) -> AsyncIterator[Roles]:
    """Yield two new roles within the context, of which one owns the database at ``dsn``.

    It is migrated as its owner, and the rights are ``granted``, unless the test does so itself.
    """
    database = urlsplit(dsn).path.removeprefix("/")
    owner, runtime = f"owner_{database}", f'Runtime "{database}" $1'
    admin = await asyncpg.connect(dsn)
    try:
        for role in (owner, runtime):
            await admin.execute(f"CREATE ROLE {quoted(role)} LOGIN PASSWORD '{PASSWORD}'")
        await admin.execute(f"ALTER DATABASE {quoted(database)} OWNER TO {quoted(owner)}")
        roles = Roles(owner, runtime, as_role(dsn, owner), as_role(dsn, runtime))
        if granted:
            connection = await asyncpg.connect(roles.owner_dsn)
            await migrate(connection)
            await connection.execute(grants.as_sql(runtime))
            await connection.close()
        yield roles
    finally:
        await admin.execute(f"ALTER DATABASE {quoted(database)} OWNER TO CURRENT_USER")
        for role in (runtime, owner):
            await admin.execute(f"DROP OWNED BY {quoted(role)} CASCADE")
            await admin.execute(f"DROP ROLE {quoted(role)}")
        await admin.close()


def as_role(dsn: str, role: str) -> str:
    """Return the DSN with another user."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{PASSWORD}@{host}"))


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'
