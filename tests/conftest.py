"""Real neighbours for every test: a database cloned from a migrated template, a NATS server.

One PostgreSQL server serves all tests of a process; with xdist each worker has its own. Servers
start when the first test asks for them, so that a file costs what it uses:

    .venv/bin/pytest tests/unit/test_cron.py
    .venv/bin/pytest tests/integration/test_planner.py -k lock

`make test-fast` runs what needs no server, without the sweeps over all time zones.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from devstack.embedded import Nats, Postgres, embedded_nats, embedded_postgres, private_directory
from service.storage.engine.migrate import migrate
from tests.support.pools import pool_of

# A busy machine is no finding: properties are held by what they see, not by how fast it comes.
settings.register_profile(
    "any-machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

TEMPLATE = "template_migrated"
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers_directory() -> Iterator[Path]:
    """Yield where this process' servers keep their files."""
    with private_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres(servers_directory: Path) -> Iterator[Postgres]:
    """Yield the server that the tests share: not to be stopped; start another one for that."""
    # Plans and costs are held exactly: no other process may gather statistics in between.
    calm = {"autovacuum": "off"}
    with embedded_postgres(servers_directory / "postgres", settings=calm) as server:
        asyncio.run(make_template(server))
        yield server


async def make_template(server: Postgres) -> None:
    """Migrate one database, to be cloned."""
    await administer(server, f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(server.dsn_of(TEMPLATE))
    try:
        await migrate(connection)
    finally:
        await connection.close()


async def administer(server: Postgres, statement: str) -> None:
    """Run a statement that needs to stand outside every transaction and test database."""
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[str]:
    """Yield the DSN of a database with nothing in it, dropped afterwards."""
    name = f"empty_{next(numbers)}"
    await administer(postgres, f"CREATE DATABASE {name}")
    yield postgres.dsn_of(name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    """Yield the DSN of a freshly migrated database, dropped afterwards."""
    name = f"test_{next(numbers)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    yield postgres.dsn_of(name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield one connection to ``database``."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield the connections to ``database``."""
    async with pool_of(database, min_size=1, max_size=10) as pool:
        yield pool


@pytest.fixture
def nats_server(servers_directory: Path) -> Iterator[Nats]:
    """Yield a NATS server of the test's own, which it may stop, kill and start."""
    with embedded_nats(servers_directory / f"nats-{next(numbers)}") as server:
        yield server


@pytest.fixture
def nats_url(nats_server: Nats) -> str:
    """Return the URL of ``nats_server``."""
    return nats_server.url
