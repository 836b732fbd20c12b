"""The shipped ``nats.conf``: each permission and each denial, on a server started from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.embedded import Nats, embedded_nats
from tests.support.bus_service import ADMIN_OPS, HOST_OPS
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, EVENT, may_publish, may_subscribe


@pytest.fixture(scope="module")
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-conf", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("runner", "ext.scheduler.admin.runNow"),
        ("runner", "ext.scheduler.purge"),
        ("runner", "ext.scheduler.list.more"),
        ("runner", EVENT),
        ("runner", "ext.runner.execute"),
        ("runner", "_INBOX_runner.x"),
        ("runner", "_INBOX_service.x"),
        ("runner", "_R_.x"),
        ("runner", "$SRV.PING"),
        ("runner", "$SYS.REQ.SERVER.PING"),
        ("runner", "anything"),
        ("service", "ext.scheduler.list"),
        ("service", "ext.scheduler.admin.runNow"),
        ("service", "ext.latency.host"),
        ("service", "_R_.x"),
        ("service", "_INBOX_runner.x"),
        ("service", "$SRV.INFO"),
        ("service", "$SYS.REQ.SERVER.PING"),
        ("service", "anything"),
        ("platform", "ext.scheduler.list"),
        ("platform", "ext.scheduler.create"),
        ("platform", "$SRV.PING"),
        ("platform", EVENT),
        ("platform", "ext.runner.execute"),
        ("console", "ext.scheduler.list"),
        ("console", "ext.scheduler.admin.purgeTenant"),
        ("console", "ext.scheduler.admin.exportTenant"),
        ("console", "ext.scheduler.admin.registerInstall"),
        ("console", "$SRV.STATS.ext-scheduler"),
        ("console", EVENT),
        ("console", "ext.runner.execute"),
        ("console", "_INBOX_operator.x"),
        ("operator", EVENT),
        ("operator", "ext.runner.execute"),
        ("operator", "_INBOX_platform.x"),
        ("operator", "ext.latency.host"),
        ("operator", "$SYS.REQ.SERVER.PING"),
    ],
)
async def test_a_user_cannot_publish_to_subjects_of_others(
    server: Nats, user: str, subject: str
) -> None:
    assert not await may_publish(server, user, subject)


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        *(("runner", f"ext.scheduler.{op}") for op in HOST_OPS),
        *(("operator", f"ext.scheduler.{op}") for op in HOST_OPS),
        *(("operator", f"ext.scheduler.admin.{op}") for op in ADMIN_OPS),
        ("operator", "$SRV.PING"),
        ("operator", "_INBOX_operator.x"),
        ("operator", "$SRV.INFO.ext-scheduler"),
        ("operator", "$SRV.STATS.ext-scheduler.one"),
        ("platform", "ext.scheduler.admin.runNow"),
        ("console", "ext.scheduler.admin.stats"),
        ("console", "ext.scheduler.admin.runNow"),
        ("console", "$SRV.PING.ext-scheduler"),
        ("service", "ext.runner.execute"),
        ("service", EVENT),
        ("service", "$SRV.PING.ext-scheduler.one"),
        ("sys", "$SYS.REQ.SERVER.PING"),
    ],
)
async def test_a_user_can_publish_to_its_own_subjects(
    server: Nats, user: str, subject: str
) -> None:
    assert await may_publish(server, user, subject)


@pytest.mark.parametrize(
    ("user", "subject", "queue"),
    [
        ("runner", "ext.scheduler.list", ""),
        ("runner", "ext.scheduler.*", "ext-scheduler"),
        ("runner", "ext.scheduler.>", ""),
        ("runner", "ext.runner.execute", ""),
        ("runner", "ext.runner.execute", "another"),
        ("runner", "ext.runner.>", "ext-runner"),
        ("runner", EVENT, ""),
        ("runner", "_INBOX.>", ""),
        ("runner", "_INBOX_service.>", ""),
        ("runner", "_INBOX_operator.x", ""),
        ("runner", "_R_.>", ""),
        ("runner", "*", ""),
        ("runner", ">", ""),
        ("service", "ext.scheduler.list", ""),
        ("service", "ext.scheduler.list", "another"),
        ("service", "ext.scheduler.>", ""),
        ("service", "ext.scheduler.>", "ext-scheduler"),
        ("service", "ext.runner.execute", "ext-runner"),
        ("service", EVENT, ""),
        ("service", "_INBOX.>", ""),
        ("service", "_INBOX_runner.>", ""),
        ("service", "_R_.>", ""),
        ("service", "$SRV.PING.another", ""),
        ("service", "$SYS.>", ""),
        ("service", ">", ""),
        ("platform", "_INBOX_operator.>", ""),
        ("platform", "_INBOX.>", ""),
        ("platform", "ext.scheduler.admin.*", "ext-scheduler"),
        ("platform", "ext.latency.host", ""),
        ("platform", ">", ""),
        ("console", "_INBOX_operator.>", ""),
        ("console", "ext.scheduler.admin.stats", ""),
        ("console", "ext.latency.host", ""),
        ("console", "$SRV.PING", ""),
        ("console", ">", ""),
        ("operator", "_INBOX_platform.>", ""),
        ("operator", "_INBOX.>", ""),
        ("operator", "ext.scheduler.list", "ext-scheduler"),
        ("operator", "$SRV.PING", ""),
        ("operator", "$SYS.>", ""),
        ("operator", ">", ""),
    ],
)
async def test_a_user_cannot_subscribe_to_subjects_of_others(
    server: Nats, user: str, subject: str, queue: str
) -> None:
    assert not await may_subscribe(server, user, subject, queue)


@pytest.mark.parametrize(
    ("user", "subject", "queue"),
    [
        ("runner", "ext.runner.execute", "ext-runner"),
        ("runner", "_INBOX_runner.>", ""),
        ("service", "ext.scheduler.list", "ext-scheduler"),
        ("service", "ext.scheduler.admin.runNow", "ext-scheduler"),
        ("service", "$SRV.PING", ""),
        ("service", "$SRV.STATS.ext-scheduler.one", ""),
        ("service", "_INBOX_service.>", ""),
        ("operator", "ext.scheduler.events.>", ""),
        ("operator", "ext.latency.*", ""),
        ("platform", "ext.scheduler.events.>", ""),
        ("console", "ext.scheduler.events.>", ""),
        ("console", "_INBOX_console.>", ""),
        ("sys", "$SYS.>", ""),
    ],
)
async def test_a_user_can_subscribe_to_its_own_subjects(
    server: Nats, user: str, subject: str, queue: str
) -> None:
    assert await may_subscribe(server, user, subject, queue)
