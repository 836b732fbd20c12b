"""Runner pools on the shipped ``nats.conf`` with generated users: who receives which calls."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import nats.errors
import pytest
from aiohttp import ClientSession

from contracts.subjects import execute_subject
from devstack.embedded import Nats, embedded_nats
from runner_bridge.executor import Executor, ExecutorSettings
from service.bus.client import NatsConnection
from service.bus.connection import BusSettings, BusUnavailableError, connect
from service.runtime.metrics import Metrics
from service.worker.firing import FiringSettings, RunExecutor
from service.worker.runner_client import RunnerClient
from tests.support.admin import Admin, operator
from tests.support.bus_service import a_bus, a_client
from tests.support.eventually import eventually
from tests.support.firing_stack import STEADY, FakeClock, Stack
from tests.support.host import dispatcher, read
from tests.support.keys import KEYS, WORKER_KEY
from tests.support.platform import TICK, install
from tests.support.runner_double import OK, RunnerDouble, answering, http_runner
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, the_service

PROGRAM = Path(sys.executable).parent / "ext-scheduler"
RUNNERS = {"one": None, "two": None, "berlin": "eu", "dallas": "us"}
HOST_OPS = ("list", "get", "create", "update", "delete", "getEndpoints")


def generate(*runners: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "nats-users", *runners], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    directory = tmp_path_factory.mktemp("pools")
    text = CONFIG.read_text()
    assert '    #include "./runners.conf"\n' in text
    (directory / "nats.conf").write_text(text.replace('#include "./r', 'include "./r'))
    names = [name if pool is None else f"{name}@{pool}" for name, pool in RUNNERS.items()]
    (directory / "runners.conf").write_text(generate(*names).stdout)
    passwords = {f"EXT_SCHEDULER_NATS_RUNNER_{name.upper()}_PASSWORD": name for name in RUNNERS}
    with embedded_nats(
        directory / "server",
        config=directory / "nats.conf",
        environment={**ENVIRONMENT, **passwords},
    ) as server:
        yield server


@asynccontextmanager
async def connected(server: Nats, name: str) -> AsyncIterator[tuple[NatsConnection, list[str]]]:
    denials: list[str] = []

    async def note(error: Exception) -> None:
        denials.append(str(error))

    async with a_client(
        server.url,
        user=f"runner_{name}",
        password=name,
        inbox_prefix=f"_INBOX_runner_{name}",
        error_cb=note,
    ) as client:
        yield client, denials


async def may_subscribe(server: Nats, name: str, subject: str, queue: str = "") -> bool:
    async with connected(server, name) as (client, denials):
        await client.subscribe(subject, queue=queue)
        await client.flush()
        return not denials


async def may_publish(server: Nats, name: str, subject: str) -> bool:
    async with connected(server, name) as (client, denials):
        await client.publish(subject, b"{}")
        await client.flush()
        return not denials


@pytest.mark.parametrize(
    ("name", "subject", "queue"),
    [
        ("one", "_INBOX_runner_two.>", ""),
        ("one", "_INBOX_runner_two.x", ""),
        ("one", "_INBOX_runner.>", ""),
        ("one", "_INBOX_service.>", ""),
        ("one", "_INBOX.>", ""),
        ("one", "_R_.>", ""),
        ("one", ">", ""),
        ("one", "ext.runner.execute", ""),
        ("one", "ext.runner.execute", "another"),
        ("one", "ext.runner.execute.eu", "ext-runner"),
        ("one", "ext.runner.execute.*", "ext-runner"),
        ("one", "ext.scheduler.list", "ext-scheduler"),
        ("berlin", "_INBOX_runner_dallas.>", ""),
        ("berlin", "ext.runner.execute", "ext-runner"),
        ("berlin", "ext.runner.execute.us", "ext-runner"),
        ("berlin", "ext.runner.execute.us", ""),
        ("berlin", "ext.runner.execute.eu", ""),
        ("berlin", "ext.runner.execute.*", "ext-runner"),
        ("berlin", "ext.runner.>", "ext-runner"),
    ],
)
async def test_a_runner_cannot_listen_to_another_or_to_another_pool(
    server: Nats, name: str, subject: str, queue: str
) -> None:
    assert not await may_subscribe(server, name, subject, queue)


@pytest.mark.parametrize("name", RUNNERS)
async def test_a_runner_has_its_inbox_its_pool_and_the_host_operations(
    server: Nats, name: str
) -> None:
    assert await may_subscribe(server, name, f"_INBOX_runner_{name}.>")
    assert await may_subscribe(server, name, execute_subject(RUNNERS[name]), "ext-runner")
    for op in HOST_OPS:
        assert await may_publish(server, name, f"ext.scheduler.{op}")


@pytest.mark.parametrize(
    "subject",
    [
        "ext.runner.execute",
        "ext.runner.execute.eu",
        "ext.scheduler.admin.runNow",
        "ext.scheduler.events.t.i.run.failed",
        "_INBOX_runner_two.x",
        "_INBOX_service.x",
        "$SRV.PING",
        "anything",
    ],
)
async def test_a_runner_cannot_publish_beyond_the_host_operations(
    server: Nats, subject: str
) -> None:
    assert not await may_publish(server, "one", subject)


async def test_a_runner_gets_the_answers_to_its_own_requests(server: Nats) -> None:
    async with (
        the_service(server),
        connected(server, "one") as (one, _),
        connected(server, "two") as (two, _),
    ):
        for client in (one, two):
            reply = await client.request("ext.scheduler.list", b"body", timeout=60)
            assert reply.data == b"body"


async def test_generated_users_replace_the_shared_one(server: Nats) -> None:
    settings = BusSettings(servers=(server.url,), user="runner", password=PASSWORDS["runner"])
    with pytest.raises(BusUnavailableError, match="refused user"):
        await connect(settings)


async def test_a_runner_with_an_nkey_needs_no_password(tmp_path: Path) -> None:
    seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
    public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    generated = generate(f"one@eu={public}")
    assert "password" not in generated.stdout
    (tmp_path / "runners.conf").write_text(generated.stdout)
    config = tmp_path / "nats.conf"
    config.write_text(CONFIG.read_text().replace('#include "./r', 'include "./r'))
    (tmp_path / "seed").write_text(seed)
    with embedded_nats(tmp_path / "server", config=config, environment=ENVIRONMENT) as server:
        async with a_client(
            server.url, nkeys_seed=str(tmp_path / "seed"), inbox_prefix="_INBOX_runner_one"
        ) as client:
            await client.subscribe("ext.runner.execute.eu", queue="ext-runner")
            await client.flush()
            assert client.is_connected


@pytest.mark.parametrize(
    ("runners", "message"),
    [
        (["a.b"], "not a Runner: 'a.b'"),
        (["a@e.u"], "not a Runner"),
        (["a@"], "not a Runner"),
        (["a=UNSAFE"], "not a Runner"),
        (["a@*"], "not a Runner"),
        (["a-b", "a_b"], "a-b and a_b would share EXT_SCHEDULER_NATS_RUNNER_A_B_PASSWORD"),
        (["a", "a"], "a and a would share"),
    ],
)
def test_runners_that_cannot_be_told_apart_are_refused(runners: list[str], message: str) -> None:
    result = generate(*runners)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_pool_that_is_no_token_of_a_subject_is_refused() -> None:
    for pool in ("", "a.b", "*", ">", "a b", "a\n", "x" * 65):
        with pytest.raises(ValueError, match="name of a Runner pool"):
            execute_subject(pool)


# --- who is called ---------------------------------------------------------------------------


@asynccontextmanager
async def bridge(server: Nats, name: str) -> AsyncIterator[RunnerDouble]:
    """Run a bridge as this Runner's user, in its pool, before a Runner that notes calls."""
    async with (
        http_runner() as runner,
        connected(server, name) as (client, denials),
        ClientSession() as session,
    ):
        settings = ExecutorSettings(runner_url=runner.url, pool=RUNNERS[name])
        executor = Executor(client, session, lambda: KEYS, settings)
        await executor.start()
        yield runner
        await executor.stop()
        assert denials == []


@asynccontextmanager
async def firing(pool: asyncpg.Pool, server: Nats) -> AsyncIterator[Stack]:
    """Yield a worker as the user ``service``, and an install of tenant-1."""
    async with a_bus(
        server.url,
        user="service",
        password=PASSWORDS["service"],
        inbox_prefix="_INBOX_service",
    ) as bus:
        async with pool.acquire() as connection:
            made = await install(connection, materialised=TICK)
        clock, metrics = FakeClock(datetime.now(UTC)), Metrics()
        settings = FiringSettings(worker="worker-1", runner_timeout_s=30.0, retries=STEADY)
        client = RunnerClient(bus.client, lambda: WORKER_KEY)
        executor = RunExecutor(pool, client, metrics, settings, now=clock)
        stub = RunnerDouble(answering(OK))
        yield Stack(pool, bus.client, stub, clock, metrics, made, settings, executor)


async def fire(stack: Stack) -> asyncpg.Record:
    stack.clock.now = datetime.now(UTC)  # the bridge judges deadlines by the real time
    slot = stack.clock.now.replace(second=0, microsecond=0)
    job = await stack.planned(slot=slot, cron="0 0 29 2 *")
    await stack.executor.execute(job)
    return await stack.run(job)


async def test_a_tenant_is_called_by_the_bridges_of_its_pool_alone(
    pool: asyncpg.Pool, server: Nats
) -> None:
    everyones = operator(dispatcher(pool))
    async with (
        firing(pool, server) as stack,
        bridge(server, "one") as shared,
        bridge(server, "berlin") as eu,
        bridge(server, "dallas") as us,
    ):
        assert (await fire(stack))["status"] == "success"
        for chosen, expected in (("eu", [1, 1, 0]), ("us", [1, 1, 1]), (None, [2, 1, 1])):
            await everyones("setTenantPool", tenantId=stack.made.tenant_id, pool=chosen)
            assert (await fire(stack))["status"] == "success"
            assert [len(runner.executed) for runner in (shared, eu, us)] == expected


async def test_a_pool_without_a_runner_is_not_served_by_others(
    pool: asyncpg.Pool, server: Nats
) -> None:
    everyones = operator(dispatcher(pool))
    async with firing(pool, server) as stack, bridge(server, "one") as shared:
        await eventually(lambda: nobody_in(stack, "asia"))
        await everyones("setTenantPool", tenantId=stack.made.tenant_id, pool="asia")
        run = await fire(stack)
        assert (run["status"], run["error"]) == ("queued", "No Runner is listening in pool asia")
        assert shared.executed == []


async def nobody_in(stack: Stack, pool: str) -> bool:
    try:
        await stack.client.request(execute_subject(pool), b"", timeout=1)
    except nats.errors.NoRespondersError:
        return True
    except nats.errors.TimeoutError:
        return False
    return False


async def test_only_an_operator_assigns_a_pool_and_it_is_audited_and_purged(
    pool: asyncpg.Pool,
) -> None:
    served = dispatcher(pool)
    everyones, tenants = operator(served), Admin(served, tenant_id="acme")
    refused = await tenants.send("setTenantPool", {"tenantId": "acme", "pool": "eu"})
    assert refused.error == (403, "Only a platform operator may do this")
    # Before its first install, so that not one call goes to the default pool.
    for _ in range(2):
        assert await everyones("setTenantPool", tenantId="acme", pool="eu") == {"success": True}
    (tenant,) = (await everyones("listTenants"))["tenants"]
    assert (tenant["tenantId"], tenant["runnerPool"]) == ("acme", "eu")
    (entry,) = (await everyones("auditLog", tenantId="acme"))["entries"]
    assert (entry["op"], entry["changes"]) == ("setTenantPool", {"pool": "eu"})
    row = await pool.fetchrow("SELECT * FROM ext_scheduler.tenant_pools")
    assert row is not None
    assert row["assigned_by"].endswith("/operator-1")
    assert (await everyones("purgeTenant", tenantId="acme"))["success"] is True
    assert await pool.fetchval("SELECT count(*) FROM ext_scheduler.tenant_pools") == 0


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "eu\n", "x" * 65])
async def test_a_pool_name_is_a_token_of_a_subject_everywhere(
    pool: asyncpg.Pool, name: str
) -> None:
    reply = await operator(dispatcher(pool)).send("setTenantPool", {"tenantId": "a", "pool": name})
    assert read(reply)["fieldErrors"] == {"pool": "Invalid pool"}
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(
            "INSERT INTO ext_scheduler.tenant_pools VALUES ('a', $1, now(), 'test')", name
        )
