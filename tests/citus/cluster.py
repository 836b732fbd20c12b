"""A Citus cluster of three nodes on this machine: a coordinator, and two workers."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct, structs

from devstack.embedded import Postgres, embedded_postgres

SETTINGS = {
    "shared_preload_libraries": "citus",
    "citus.node_conninfo": "sslmode=disable",
    "citus.shard_count": "8",
    "max_prepared_transactions": "100",
    "autovacuum": "off",
    "jit": "off",
}


class CitusCluster(Struct, frozen=True):
    """Three running servers, the coordinator first."""

    nodes: Sequence[Postgres]

    @property
    def password(self) -> str:
        """Return the superuser's password, which is the same on every node."""
        return self.nodes[0].password

    async def create_database(self, name: str) -> str:
        """Create a database with the extension on every node; return the coordinator's DSN."""
        # Every node connects to every other, as the superuser with the one password of all.
        authority = (
            f"INSERT INTO pg_dist_authinfo VALUES (0, 'postgres', 'password={self.password}')"
        )
        for node in self.nodes:
            await execute(node.dsn, f"CREATE DATABASE {name}")
            await execute(node.dsn_of(name), "CREATE EXTENSION citus")
            await execute(node.dsn_of(name), authority)
        coordinator, *workers = self.nodes
        connection = await asyncpg.connect(coordinator.dsn_of(name))
        try:
            await connection.execute(
                f"SELECT citus_set_coordinator_host('127.0.0.1', {coordinator.server.port})"
            )
            for worker in workers:
                await connection.execute(
                    f"SELECT citus_add_node('127.0.0.1', {worker.server.port})"
                )
        finally:
            await connection.close()
        return coordinator.dsn_of(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database on every node."""
        for node in self.nodes:
            await execute(node.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(dsn: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def citus_cluster(directory: Path) -> Iterator[CitusCluster]:
    """Run a cluster within the context, of the programs that ``DEVSTACK_POSTGRES_BIN`` names."""
    with ExitStack() as stack:
        coordinator, *workers = (
            stack.enter_context(embedded_postgres(directory / name, settings=SETTINGS))
            for name in ("coordinator", "worker-1", "worker-2")
        )
        nodes = [coordinator]
        for worker in workers:
            change = f"ALTER ROLE postgres PASSWORD '{coordinator.password}'"
            asyncio.run(execute(worker.dsn, change))
            nodes.append(structs.replace(worker, password=coordinator.password))
        yield CitusCluster(nodes)
