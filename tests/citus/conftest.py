"""A database on a real Citus cluster in place of the one that all other tests use."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from service.storage.engine.migrate import migrate
from tests.citus.cluster import CitusCluster, citus_cluster

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(servers_directory: Path) -> Iterator[CitusCluster]:
    """Yield the cluster that the tests share."""
    with citus_cluster(servers_directory / "citus") as cluster:
        yield cluster


@pytest.fixture
async def database(cluster: CitusCluster) -> AsyncIterator[str]:
    """Yield the DSN of a freshly migrated database on every node, dropped afterwards."""
    name = f"test_{next(numbers)}"
    dsn = await cluster.create_database(name)
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
    finally:
        await connection.close()
    yield dsn
    await cluster.drop_database(name)
