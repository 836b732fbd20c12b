"""The ready client of a host in Python, on a real server that demands credentials."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from nats.aio.msg import Msg

from contracts.context import (
    Claims,
    InvalidKeySet,
    KeySet,
    generate_key,
    key_set_document,
    parse_key_set,
    verify,
)
from contracts.encoding import Encoding, encode
from contracts.schedules import ListOutput, ScheduleInfo
from contracts.shared.credentials import CredentialsUnusableError
from contracts.subjects import CONTEXT_HEADER, HOST_AUDIENCE, RUNNER_AUDIENCE, host_subject
from devstack.embedded import embedded_nats
from runner_bridge.client import InstallContext
from runner_bridge.connect import BusLogin, CannotConnectError, connect_scheduler
from tests.support.nats_identities import new_identity
from tests.support.relay import relayed

INSTALL = InstallContext(install_id=uuid4(), tenant_id="acme")
SCHEDULE = ScheduleInfo(
    id=str(uuid4()),
    endpoint_path="/api/report",
    endpoint_method="POST",
    name=None,
    cron="0 2 * * *",
    timezone="UTC",
    enabled=True,
    payload=None,
    last_run_at=None,
    last_run_status=None,
    last_error=None,
    created_at="2026-03-01T00:00:00.000Z",
    updated_at="2026-03-01T00:00:00.000Z",
    next_run_at="2026-03-02T02:00:00.000Z",
    revision=1,
)


def write_key(file: Path, kid: str, audience: str = HOST_AUDIENCE) -> None:
    file.write_bytes(key_set_document([key_of(kid, audience)]))


def key_of(kid: str, audience: str) -> dict[str, object]:
    return generate_key("EdDSA", kid=kid, issuer="host", audiences=[audience])


def read_keys(file: Path) -> KeySet:
    return parse_key_set(file.read_bytes())


@asynccontextmanager
async def scheduler(url: str, key_file: Path) -> AsyncIterator[list[Claims]]:
    """Answer ``list``, and collect the claims of what asks for it."""
    seen: list[Claims] = []
    keys = read_keys(key_file)
    client = await nats.connect(url)

    async def answer(message: Msg) -> None:
        claims = verify(
            (message.headers or {})[CONTEXT_HEADER],
            keys,
            audience=HOST_AUDIENCE,
            op="list",
            body=message.data,
            now=datetime.now(UTC).timestamp(),
        )
        seen.append(claims)
        assert message.reply.startswith("_INBOX_runner.")
        await message.respond(encode(ListOutput(schedules=[SCHEDULE]), Encoding.MSGPACK))

    try:
        await client.subscribe(host_subject("list"), cb=answer)
        await client.flush()
        yield seen
    finally:
        await client.close()


async def test_a_client_lists_schedules_with_times(tmp_path: Path, nats_url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    async with (
        scheduler(nats_url, key_file) as seen,
        connect_scheduler(nats_url, key_file=key_file) as client,
    ):
        [schedule] = (await client.host(INSTALL).list()).schedules
    assert seen[0].install_id == INSTALL.install_id
    assert schedule.next_run == datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert schedule.created == schedule.updated == datetime(2026, 3, 1, tzinfo=UTC)
    assert schedule.last_run is None


async def test_a_replaced_key_is_used_by_the_next_request(tmp_path: Path, nats_url: str) -> None:
    key_file, next_file = tmp_path / "host.json", tmp_path / "next.json"
    write_key(key_file, "first")
    async with connect_scheduler(nats_url, key_file=key_file) as client:
        host = client.host(INSTALL)
        async with scheduler(nats_url, key_file):
            await host.list()
        write_key(next_file, "second")
        next_file.replace(key_file)
        async with scheduler(nats_url, key_file) as seen:
            await host.list()
    assert len(seen) == 1


async def test_a_key_file_that_became_unreadable_leaves_the_last_key(
    tmp_path: Path, nats_url: str
) -> None:
    key_file, kept = tmp_path / "host.json", tmp_path / "kept.json"
    write_key(key_file, "first")
    shutil.copy(key_file, kept)
    async with (
        scheduler(nats_url, kept) as seen,
        connect_scheduler(nats_url, key_file=key_file) as client,
    ):
        key_file.write_text("not a key set")
        await client.host(INSTALL).list()
    assert len(seen) == 1


async def test_every_kind_of_login(tmp_path: Path) -> None:
    key_file, seed = tmp_path / "host.json", tmp_path / "user.nk"
    write_key(key_file, "first")
    identity = new_identity()
    seed.write_text(identity.seed)
    cases = [
        ('token: "sesame"', BusLogin(token="sesame")),
        ('user: "u", password: "p"', BusLogin(user="u", password="p")),
        (f"users: [ {{ nkey: {identity.public} }} ]", BusLogin(nkey_file=seed)),
    ]
    for number, (authorization, login) in enumerate(cases):
        config = tmp_path / f"{number}.conf"
        config.write_text(f"authorization {{ {authorization} }}")
        with embedded_nats(tmp_path / str(number), config=config) as server:
            async with connect_scheduler(server.url, key_file=key_file, login=login) as client:
                assert client.host(INSTALL) is not None
            with pytest.raises(CannotConnectError, match="refused"):
                async with connect_scheduler(server.url, key_file=key_file):
                    pytest.fail("connected without credentials")


async def test_a_lost_connection_is_made_again(tmp_path: Path, nats_url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    async with relayed(f"{nats_url.rstrip('/')}/") as (url, relay):
        async with (
            scheduler(nats_url, key_file) as seen,
            connect_scheduler(url, key_file=key_file) as client,
        ):
            relay.end()
            async with asyncio.timeout(60):
                await client.host(INSTALL).list()
        assert len(seen) >= 1


@pytest.mark.parametrize(
    ("text", "error"), [("[]", InvalidKeySet), (None, OSError)], ids=["no set", "no file"]
)
async def test_a_key_file_that_cannot_be_used_is_told_before_connecting(
    tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    key_file = tmp_path / "host.json"
    if text is not None:
        key_file.write_text(text)
    with pytest.raises(error):
        async with connect_scheduler("nats://127.0.0.1:1", key_file=key_file):
            pytest.fail("connected without a key")


@pytest.mark.parametrize(
    "url", ["", " ", "nats://", "nats://host:port", "nats://[::1", "http://host:4222"]
)
async def test_what_is_no_url_of_a_server_is_told(tmp_path: Path, url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    with pytest.raises(CannotConnectError, match=f"^{re.escape(repr(shown(url)))} is no URL of"):
        async with connect_scheduler(url, key_file=key_file):
            pytest.fail("there is no server")


def shown(url: str) -> str:
    return url.removeprefix("nats://")


async def test_a_server_without_a_scheme_is_reached(tmp_path: Path, nats_url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    async with connect_scheduler(nats_url.removeprefix("nats://"), key_file=key_file):
        pass


async def test_a_key_for_another_audience_is_told(tmp_path: Path, nats_url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "other", RUNNER_AUDIENCE)
    with pytest.raises(InvalidKeySet, match=rf"{key_file}: no key can sign"):
        async with connect_scheduler(nats_url, key_file=key_file):
            pytest.fail("connected without a key")


async def test_a_creds_file_that_is_none_is_told(tmp_path: Path, nats_url: str) -> None:
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    login = BusLogin(creds_file=key_file)
    with pytest.raises(CredentialsUnusableError, match=r"not a \.creds file"):
        async with connect_scheduler(nats_url, key_file=key_file, login=login):
            pytest.fail("connected with a key set as credentials")


async def test_a_password_in_the_url_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_bridge.connect.CONNECT_TIMEOUT_S", 0.3)
    key_file = tmp_path / "host.json"
    write_key(key_file, "first")
    with pytest.raises(CannotConnectError) as failed:
        async with connect_scheduler("nats://u:sesame@127.0.0.1:1", key_file=key_file):
            pytest.fail("there is no server")
    assert "sesame" not in str(failed.value)
    assert "127.0.0.1:1" in str(failed.value)
