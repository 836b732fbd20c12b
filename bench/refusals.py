"""``make bench-refusals``: what a flood of refused requests leaves in a responder's memory.

Bad tokens over the largest body, messages as large as a bus takes that was not configured, and
those of 15 MiB that the shipped ``nats.conf`` lets pass; the responder is a process of its own,
started as in production. Ends with status 1 where it grew too much.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg
import psutil
from nats.aio.client import Client

from bench.rpc import RequestBench, responder
from contracts.context import generate_key, key_set_document
from contracts.encoding import MAX_BODY_BYTES
from contracts.subjects import CONTEXT_HEADER, HOST_AUDIENCE, host_subject
from devstack.embedded import embedded_nats, embedded_postgres, private_directory
from service.storage.engine.migrate import migrate

MAX_PAYLOAD = 16 * 1024 * 1024
FLOODS = ((3_600, MAX_BODY_BYTES, 16), (173, 1_000_000, 16), (173, 15 * 1024 * 1024, 2))
"""How many messages of how many bytes, and how many of them at once: what waits for a client may be
64 MiB, or the server ends its connection."""
GROWTH_ALLOWED = 20 * 1024 * 1024


async def flood(url: str, pid: int) -> int:
    """Send all kinds; return by how many bytes the responder grew after a first tenth."""
    client = Client()
    await client.connect(url)
    headers = {CONTEXT_HEADER: "e30.e30.e30"}
    memory = psutil.Process(pid).memory_info

    async def send(count: int, size: int, at_once: int) -> None:
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await client.request(
                    host_subject("create"), bytes(size), timeout=60, headers=headers
                )

        await asyncio.gather(*(caller() for _ in range(at_once)))

    for count, size, at_once in FLOODS:
        await send(count // 10, size, at_once)
    before = memory().rss
    for count, size, at_once in FLOODS:
        await send(count, size, at_once)
        sys.stdout.write(
            f"{count} refusals of {size >> 10} KiB: {memory().rss - before:+,} bytes resident, "
            f"of {before:,}\n"
        )
    grown = memory().rss - before
    await client.close()
    return grown


async def migrated(database: str) -> None:
    """Migrate an empty database."""
    connection = await asyncpg.connect(database)
    try:
        await migrate(connection)
    finally:
        await connection.close()


def run(directory: Path) -> int:
    """Return how many bytes the responder grew."""
    key = generate_key("EdDSA", kid="bench", issuer="bench", audiences=[HOST_AUDIENCE])
    (directory / "keys.json").write_bytes(key_set_document([key]))
    config = directory / "nats.conf"
    config.write_text(f"max_payload: {MAX_PAYLOAD}\n")
    with (
        embedded_postgres(directory / "postgres") as database,
        embedded_nats(directory / "nats", config=config) as bus,
    ):
        asyncio.run(migrated(database.dsn))
        stage = RequestBench(directory, database.dsn, bus.url, {}, [], [], 0, 0)
        with responder(stage) as process:
            return asyncio.run(flood(bus.url, process.pid))


def main() -> None:
    """Run it in a directory of its own."""
    with private_directory() as directory:
        grown = run(directory)
    if grown > GROWTH_ALLOWED:
        sys.exit(f"grew by {grown:,} bytes; allowed are {GROWTH_ALLOWED:,}")


if __name__ == "__main__":
    main()
