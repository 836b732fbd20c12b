"""``make bench-rpc``: what a responder answers a second, next to what the bus and the database can.

All servers are embedded and private; the responders are processes of their own, started as in
production; this process makes the load. Everything shares the machine's cores. Figures are medians
over the rounds, each of which measures everything once, so that both sides of a ratio are measured
under the same load.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg
import msgspec
import psutil

from bench import bare_sql, data
from bench.data import BenchInstall
from bench.echo import SUBJECT as ECHO_SUBJECT
from bench.load import Generator, Message, generator, message
from bench.report import RequestFigures, report
from contracts.context import (
    Claims,
    Key,
    body_sha256,
    generate_key,
    key_set_document,
    parse_key_set,
    sign,
)
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER, HOST_AUDIENCE, host_subject
from devstack.embedded import embedded_nats, embedded_postgres, private_directory
from devstack.embedded.servers import free_port
from service.runtime.settings import Settings
from service.storage.engine.migrate import migrate

ALGORITHMS = ("HS256", "EdDSA")
CONCURRENCY = (1, 16, 64)
LISTERS, CREATORS = 500, 4000
SERIAL = 8
"""How many times fewer requests are sent at concurrency 1."""


class RequestBench(msgspec.Struct, frozen=True):
    """The servers, and whom the load speaks for."""

    directory: Path
    database: str
    bus: str
    keys: dict[str, Key]
    listers: Sequence[BenchInstall]
    creators: Sequence[BenchInstall]
    lists: int
    creates: int


def request(op: str, fields: object, install: BenchInstall, key: Key) -> Message:
    """Sign one request, for the next two minutes."""
    body, now = msgspec.msgpack.encode(fields), int(time.time())
    claims = Claims(
        iss=key.issuer,
        aud=HOST_AUDIENCE,
        iat=now,
        exp=now + 120,
        jti=uuid4(),
        op=op,
        body_sha256=body_sha256(body),
        install_id=install.id,
        tenant_id=install.tenant_id,
    )
    headers = (
        f"NATS/1.0\r\n{CONTEXT_HEADER}: {sign(claims, key)}\r\n"
        f"{CONTENT_TYPE_HEADER}: application/msgpack\r\n\r\n"
    )
    return message(host_subject(op), headers.encode(), body)


def lists(stage: RequestBench, key: Key, count: int) -> list[Message]:
    """Return signed lists; a read may be repeated, so a few hundred are sent over and over."""
    signed = [request("list", {}, install, key) for install in stage.listers]
    return list(islice(cycle(signed), count))


def creates(stage: RequestBench, key: Key, count: int) -> list[Message]:
    """Return signed creates, each for a schedule of its own."""
    fields = {"endpoint": data.PATH, "cron": data.CRON, "payload": {"report": "daily"}}
    callers = islice(cycle(stage.creators), count)
    return [request("create", fields, install, key) for install in callers]


@contextmanager
def responder(stage: RequestBench) -> Iterator[subprocess.Popen[bytes]]:
    """Run one process with production settings except the rate limit, the quota and timeouts.

    A machine that does other work besides may keep a request waiting for a connection.
    """
    port = free_port()
    settings = {
        "database_url": stage.database,
        "nats_url": stage.bus,
        "key_set_file": str(stage.directory / "keys.json"),
        "http_port": str(port),
        "changes_per_minute": "1000000",
        "max_schedules": "1000000",
        "pool_acquire_timeout_ms": "5000",
    }
    variables = {f"EXT_SCHEDULER_{name.upper()}": value for name, value in settings.items()}
    log = stage.directory / f"responder-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--role", "responder"],
            env={**os.environ, **variables},
            stdout=output,
            stderr=output,
        )
    try:
        _await_ready(process, f"http://127.0.0.1:{port}/readyz", log)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError(f"the responder did not become ready:\n{log.read_text()[-2000:]}")


@contextmanager
def echo(url: str) -> Iterator[None]:
    """Run the echo in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.echo", url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield
    finally:
        process.terminate()
        process.wait(10)


async def measure_floor(stage: RequestBench, load: Generator) -> dict[str, float]:
    """Echo and bare SQL, calls a second: under load, and (``…_1``) one call after the other."""
    with echo(stage.bus):
        ping = [message(ECHO_SUBJECT, b"", b"x")] * (stage.lists * 3)
        await load.run(ping[: stage.lists], 64)
        echoed = await load.run(ping, 64)
        echoed_1 = await load.run(ping[: stage.lists // SERIAL], 1)
    pool, one = (stage.database, Settings().pool_size), (stage.database, 1)
    lists, creates = (bare_sql.list_one, stage.listers), (bare_sql.create_one, stage.creators)
    return {
        "echo": echoed.rate,
        "list_sql": await bare_sql.rate(*pool, *lists, stage.lists),
        "create_sql": await bare_sql.rate(*pool, *creates, stage.creates),
        "echo_1": echoed_1.rate,
        "list_sql_1": await bare_sql.rate(*one, *lists, stage.lists // SERIAL),
        "create_sql_1": await bare_sql.rate(*one, *creates, stage.creates // SERIAL),
    }


async def measure_service(stage: RequestBench, load: Generator, figures: RequestFigures) -> None:
    """Measure both operations, with both algorithms, at each concurrency."""
    for algorithm, key in stage.keys.items():
        for at_once in CONCURRENCY:
            fewer = SERIAL if at_once == 1 else 1
            for op, make, count in (
                ("list", lists, stage.lists // fewer),
                ("create", creates, stage.creates // fewer),
            ):
                prepared = make(stage, key, count)
                outcome = await load.run(prepared, at_once)
                figures.setdefault(f"{op} {algorithm} {at_once}", []).append(outcome)


async def measure_two(stage: RequestBench, load: Generator, figures: RequestFigures) -> None:
    """Measure the same load on two responders."""
    key = stage.keys["HS256"]
    for op, prepared in (
        ("list", lists(stage, key, stage.lists)),
        ("create", creates(stage, key, stage.creates)),
    ):
        figures.setdefault(f"{op} two responders 64", []).append(await load.run(prepared, 64))


async def prepare(database: str, others: int) -> tuple[list[BenchInstall], list[BenchInstall]]:
    """Migrate, and write installs and schedules: those who list, who create, and all others."""
    connection = await asyncpg.connect(database)
    try:
        await migrate(connection)
        listers = await data.installs(connection, "lister", LISTERS)
        await data.schedules(connection, "lister", data.SCHEDULES_EACH)
        creators = await data.installs(connection, "creator", CREATORS)
        await data.installs(connection, "other", others // data.SCHEDULES_EACH)
        await data.schedules(connection, "other", data.SCHEDULES_EACH)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return listers, creators


async def soak(stage: RequestBench, count: int) -> None:
    """Send ``count`` lists, a tenth at a time, and print the responder's memory after each."""
    load = await generator(stage.bus)
    key = stage.keys["HS256"]
    with responder(stage) as process:
        for tenth in range(10):
            outcome = await load.run(lists(stage, key, count // 10), 64, within=3600)
            memory = psutil.Process(process.pid).memory_info().rss / 2**20
            sent = count // 10 * (tenth + 1)
            print(f"{sent:9,} lists, {outcome.rate:7,.0f}/s: {memory:6.1f} MiB", flush=True)
    load.close()


async def measure(
    stage: RequestBench, rounds: int
) -> tuple[dict[str, float], RequestFigures, float]:
    """Run all rounds; return the floor, the service's figures, and its memory in MiB."""
    floors: list[dict[str, float]] = []
    figures: RequestFigures = {}
    load = await generator(stage.bus)
    with responder(stage) as process:
        await measure_service(stage, load, {})  # warm caches on both sides
        for number in range(rounds):
            floors.append(await measure_floor(stage, load))
            await measure_service(stage, load, figures)
            print(f"round {number + 1} of {rounds} done", flush=True)
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        with responder(stage):
            await measure_two(stage, load, {})
            for _ in range(rounds):
                await measure_two(stage, load, figures)
    load.close()
    return {name: median(each[name] for each in floors) for name in floors[0]}, figures, memory


def main() -> None:
    """Read the options, start the servers, measure, report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--lists", type=int, default=6000, help="lists in one measurement")
    options.add_argument("--creates", type=int, default=3000, help="creates in one measurement")
    options.add_argument("--others", type=int, default=0, help="schedules of other installs")
    options.add_argument("--soak", type=int, default=0, help="only send lists; show the memory")
    chosen = options.parse_args()
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        postgres = stack.enter_context(embedded_postgres(directory / "postgres"))
        nats = stack.enter_context(embedded_nats(directory / "nats"))
        jwks = [
            generate_key(algorithm, kid=algorithm, issuer="bench", audiences=[HOST_AUDIENCE])
            for algorithm in ALGORITHMS
        ]
        (directory / "keys.json").write_bytes(key_set_document(jwks))
        listers, creators = asyncio.run(prepare(postgres.dsn, chosen.others))
        keys = dict(parse_key_set(key_set_document(jwks)).keys)
        stage = RequestBench(
            directory,
            postgres.dsn,
            nats.url,
            keys,
            listers,
            creators,
            chosen.lists,
            chosen.creates,
        )
        if chosen.soak:
            asyncio.run(soak(stage, chosen.soak))
        else:
            report(*asyncio.run(measure(stage, chosen.rounds)))


if __name__ == "__main__":
    main()
