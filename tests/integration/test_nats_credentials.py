"""Every kind of credentials that users of NATS have, on a server that demands it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from devstack.embedded import embedded_nats
from service.bus.connection import BusUnavailableError, connect, probe
from service.runtime.bus_settings import bus_settings
from service.runtime.errors import CannotServeError
from service.runtime.settings import Settings, SettingsError, load
from tests.integration.test_bus_tls import write_certificate
from tests.support.command_line import command_line, error_line
from tests.support.nats_identities import ACCOUNT, new_identity, write_operator_mode


@contextmanager
def server_with(directory: Path, configuration: str) -> Iterator[str]:
    config = directory / "server.conf"
    config.write_text(configuration)
    with embedded_nats(directory / "nats", config=config) as server:
        yield server.url


async def round_trip(within_s: float = 60.0, /, **variables: str) -> float:
    """Connect with settings given as variables of the environment; return the round trip."""
    environment = {f"EXT_SCHEDULER_{name.upper()}": value for name, value in variables.items()}
    settings = structs.replace(bus_settings(load(environment), "test"), connect_timeout=within_s)
    bus = await connect(settings)
    try:
        return await probe(bus, wait=60)
    finally:
        await bus.close()


async def refusal(within_s: float = 60.0, /, **variables: str) -> str:
    with pytest.raises(BusUnavailableError) as refused:
        await round_trip(within_s, **variables)
    return str(refused.value)


async def test_a_token(tmp_path: Path) -> None:
    with server_with(tmp_path, 'authorization { token: "sesame@home" }') as url:
        assert await round_trip(nats_url=url, nats_token="sesame@home") > 0
        in_the_url = url.replace("nats://", "nats://sesame%40home@")
        assert await round_trip(nats_url=in_the_url) > 0
        (tmp_path / "token").write_text("sesame@home\n")
        assert await round_trip(nats_url=url, nats_token_file=str(tmp_path / "token")) > 0
        assert "refused the token" in await refusal(nats_url=url, nats_token="other")
        assert "without credentials" in await refusal(nats_url=url)


async def test_an_encoded_password_in_the_url(tmp_path: Path) -> None:
    configuration = 'authorization { user: "u", password: "p@ss/word" }'
    with server_with(tmp_path, configuration) as url:
        in_the_url = url.replace("nats://", "nats://u:p%40ss%2Fword@")
        assert await round_trip(nats_url=in_the_url) > 0


@pytest.mark.parametrize(
    "form", ["{}", "\ufeff{}\n", "-----BEGIN USER NKEY SEED-----\n{}\n---END USER NKEY SEED---"]
)
async def test_an_nkey_seed(tmp_path: Path, form: str) -> None:
    user, seed = new_identity(), tmp_path / "user.nk"
    seed.write_text(form.format(user.seed))
    configuration = f"authorization {{ users: [ {{ nkey: {user.public} }} ] }}"
    with server_with(tmp_path, configuration) as url:
        assert await round_trip(nats_url=url, nats_nkey_file=str(seed)) > 0
        seed.write_text(new_identity().seed)
        assert "refused the token, .creds file or nkey" in await refusal(
            nats_url=url, nats_nkey_file=str(seed)
        )


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_a_creds_file(tmp_path: Path, line_end: str) -> None:
    config, creds = write_operator_mode(tmp_path)
    creds.write_bytes(b"\xef\xbb\xbf" + creds.read_text().replace("\n", line_end).encode())
    with embedded_nats(tmp_path / "nats", config=config) as server:
        assert await round_trip(nats_url=server.url, nats_creds_file=str(creds)) > 0
        _, others = write_operator_mode(tmp_path)
        assert "refused the token, .creds file" in await refusal(
            nats_url=server.url, nats_creds_file=str(others)
        )


TLS = """
tls {{
  cert_file: "{0}/server.crt", key_file: "{0}/server.key", ca_file: "{0}/server.crt", verify: true
}}
"""


async def test_a_client_certificate(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    with server_with(tmp_path, TLS.format(tmp_path)) as plain:
        url = plain.replace("nats://", "tls://")
        certificate, key = str(tmp_path / "server.crt"), str(tmp_path / "server.key")
        trusting = {"nats_url": url, "nats_tls_ca_file": certificate}
        proven = {"nats_tls_cert_file": certificate, "nats_tls_key_file": key}
        assert await round_trip(**trusting, **proven) > 0
        assert "no NATS server at" in await refusal(3.0, **trusting)


async def test_a_context_of_the_nats_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = tmp_path / ".config" / "nats" / "context"
    contexts.mkdir(parents=True)
    user = new_identity()
    (tmp_path / "user.nk").write_text(user.seed)
    configuration = f"authorization {{ users: [ {{ nkey: {user.public} }} ] }}"
    with server_with(tmp_path, configuration) as url:
        members = {"description": "", "url": url, "nkey": "~/user.nk", "tls_first": False}
        context = contexts / "prod.json"
        context.write_text("\ufeff" + json.dumps({**members, "inbox_prefix": "_INBOX_u"}))
        home = {"HOME": str(tmp_path)}
        settings = load({**home, "EXT_SCHEDULER_NATS_CONTEXT": "prod"})
        assert (settings.nats_url, settings.nats_inbox_prefix) == (url, "_INBOX_u")
        bus = await connect(bus_settings(settings, "test"))
        await bus.close()
        by_path = load({**home, "EXT_SCHEDULER_NATS_CONTEXT": str(context)})
        assert by_path.nats_nkey_file == str(tmp_path / "user.nk")
        elsewhere = {"HOME": "/", "XDG_CONFIG_HOME": str(tmp_path / ".config")}
        assert load({**elsewhere, "EXT_SCHEDULER_NATS_CONTEXT": "prod"}).nats_url == url
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(SettingsError, match="NATS_URL and EXT_SCHEDULER_NATS_CONTEXT are both"):
            load({**home, "EXT_SCHEDULER_NATS_CONTEXT": "prod", "EXT_SCHEDULER_NATS_URL": url})
    context.write_text(json.dumps({"nsc": "nsc://o/a/u"}))
    with pytest.raises(SettingsError, match=r"prod\.json: nsc is not supported"):
        load({**home, "EXT_SCHEDULER_NATS_CONTEXT": "prod"})
    context.write_text("[]")
    with pytest.raises(SettingsError, match="not a context of nats"):
        load({**home, "EXT_SCHEDULER_NATS_CONTEXT": "prod"})
    for name, message in (("none", "No such file"), ("../x", "not the name of a context")):
        with pytest.raises(SettingsError, match=message):
            load({**home, "EXT_SCHEDULER_NATS_CONTEXT": name})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"token": "t", "user": "u"}, "NATS_USER and EXT_SCHEDULER_NATS_TOKEN are both set"),
        ({"creds_file": "c", "nkey_file": "n"}, "NATS_CREDS_FILE and EXT_SCHEDULER_NATS_NKEY_FILE"),
        ({"url": "nats://u:p@bus", "token": "t"}, "NATS_TOKEN and user information in"),
        ({"tls_cert_file": "c"}, "NATS_TLS_CERT_FILE: a client certificate needs"),
        ({"tls_key_file": "k"}, "NATS_TLS_KEY_FILE: a client certificate needs"),
    ],
)
def test_credentials_of_two_kinds_are_refused(given: dict[str, str], message: str) -> None:
    variables = {f"EXT_SCHEDULER_NATS_{name.upper()}": value for name, value in given.items()}
    with pytest.raises(SettingsError, match=message):
        load(variables)


ACCOUNT_SEED = new_identity(ACCOUNT).seed


@pytest.mark.parametrize(
    "content",
    ["", "sesame", "SUsesame", ACCOUNT_SEED, "\x00\xff"],
    ids=["empty", "text", "no_seed", "account", "bytes"],
)
@pytest.mark.parametrize("setting", ["nats_creds_file", "nats_nkey_file", "nats_tls_cert_file"])
def test_a_file_that_cannot_be_used_is_named_and_not_shown(
    tmp_path: Path, setting: str, content: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode("latin-1"))
    values = {setting: str(file)}
    settings = structs.replace(Settings(), **values, nats_tls_key_file=str(file))
    with pytest.raises(CannotServeError, match=str(file)) as refused:
        bus_settings(settings, "test")
    assert not content.strip() or content not in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(CannotServeError, match="No such file"):
        bus_settings(structs.replace(settings, **{setting: str(tmp_path / "none")}), "test")


async def test_check_connects_with_a_creds_file_and_reports_it(
    tmp_path: Path, database: str
) -> None:
    config, creds = write_operator_mode(tmp_path)
    with embedded_nats(tmp_path / "nats", config=config) as server:
        line = command_line(tmp_path, server.url, database_url=database)
        files = {"runner_key_file": "worker.json", "nats_creds_file": str(creds)}
        result = await line.ok("check", "--role", "worker", **files)
        assert "ok       NATS: " in result.out
        creds.chmod(0o644)
        result = await line("check", "--role", "worker", **files)
        assert f"chmod 600 {creds}" in result.out
        assert error_line(result, 1)
        creds.write_text("sesame")
        result = await line("check", "--role", "worker", **files)
        assert "not a .creds file" in result.out
        assert "sesame" not in result.out + result.err
