"""``check`` reports errors with remedies, and prints no secret."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from nats.aio.msg import Msg

from contracts.context import generate_key, key_set_document
from devstack.embedded import embedded_nats
from service.cli.checks import database as database_checks
from service.cli.checks.bus import PermissionRules, permitted
from service.cli.checks.database import run_checks
from service.cli.checks.result import CheckLevel, CheckResult
from service.runtime.settings import Settings
from tests.support.callers import connected
from tests.support.command_line import CommandLine, CommandResult, command_line, error_line
from tests.support.eventually import eventually
from tests.support.keys import JWKS, WORKER_JWK
from tests.support.platform import install
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS


@pytest.fixture
def line(tmp_path: Path, nats_url: str, database: str) -> CommandLine:
    return command_line(tmp_path, nats_url, database_url=database, runner_key_file="worker.json")


def results_by_name(result: CommandResult) -> dict[str, tuple[str, str]]:
    """Return state and message by the name of the check, the last of each name."""
    return {check["about"]: (check["state"], check["message"]) for check in result.json}


async def with_one_responder(line: CommandLine) -> CommandResult:
    """Return the results of a check that counted it: a responder is waited for a moment only."""
    result = await line.ok("check", "--json")
    assert results_by_name(result)["responders"] == ("ok", "1 running")
    return result


async def test_every_check_passes_with_a_running_service(
    line: CommandLine, tmp_path: Path, database: str, nats_url: str
) -> None:
    (tmp_path / "service").mkdir()
    async with responders(1, tmp_path / "service", database, nats_url):
        result = await eventually(lambda: with_one_responder(line))
    assert {about: state for about, (state, _) in results_by_name(result).items()} == dict.fromkeys(
        (
            "settings",
            "key_set_file",
            "runner_key_file",
            "admin_key_file",
            "database",
            "clock",
            "migrations",
            "NATS",
            "permissions",
            "responders",
        ),
        "ok",
    ) | {"rights": "note"}  # the tests' user is a superuser
    assert "ok       migrations: all applied" in (await line.ok("check")).out


async def test_faults_of_a_runner_are_recognised_by_its_runs(
    line: CommandLine, database: str
) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.executemany(
            """INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind,
                 trigger, status, queued_at, finished_at, duration_ms, error)
               SELECT 't', u, u, u, date_trunc('minute', now()), 'scheduled', 'schedule', 'error',
                 now(), now(), $1, $2 FROM gen_random_uuid() AS u""",
            [
                (40, "component: import `alga:extension/storage`: type mismatch with async"),
                (16_000, "took too long"),
                (900, None),
            ],
        )
    finally:
        await connection.close()
    out = (await line("check", "--role", "worker")).out
    assert "error    runs: 1 of the last hour: type mismatch with async" in out
    assert "warning  runs: 1 of 3 in the last hour took over half of 30 s" in out


async def test_schedules_of_another_job_runner_are_counted(
    line: CommandLine, pool: asyncpg.Pool
) -> None:
    made = await install(pool, tenant_id="acme")
    assert "drivenBy" not in (await line("check", "--role", "worker")).out
    for handle in ("temporal:1", None):
        await pool.execute(
            """INSERT INTO tenant_extension_schedule
                 (id, install_id, tenant_id, endpoint_id, cron, timezone, enabled,
                  runner_schedule_id)
               SELECT gen_random_uuid(), $1, $2, gen_random_uuid(), '0 3 * * *', 'UTC', true, $3""",
            made.install_id,
            made.tenant_id,
            handle,
        )
    out = (await line("check", "--role", "worker")).out
    assert "warning  schedules: 1 with drivenBy: other, left to another job runner" in out


async def test_a_responder_that_is_busy_for_a_moment_is_counted(
    line: CommandLine, nats_url: str
) -> None:
    async with connected(nats_url) as responder:

        async def pong(message: Msg) -> None:
            await asyncio.sleep(0.6)
            await responder.publish(message.reply, b'{"id": "slow"}')

        await responder.subscribe("$SRV.PING.ext-scheduler", cb=pong)
        await responder.flush()
        await eventually(lambda: with_one_responder(line))


async def test_an_empty_database_lacks_migrations(line: CommandLine, empty_database: str) -> None:
    result = await line("check", "--role", "worker", database_url=empty_database)
    assert "error    migrations:" in result.out
    assert "run `ext-scheduler migrate`" in result.out
    assert error_line(result, 1).endswith("checks failed")


async def test_unreachable_servers_are_reported_without_passwords(line: CommandLine) -> None:
    result = await line(
        "check",
        database_url="postgresql://me:hidden-word@127.0.0.1:9/x",
        nats_url="nats://me:hidden-word@127.0.0.1:9",
    )
    assert "error    database: postgresql://me:***@127.0.0.1:9/x cannot be reached" in result.out
    assert "error    NATS: no NATS server at nats://127.0.0.1:9" in result.out
    assert "hidden-word" not in result.out + result.err
    assert error_line(result, 1)


@pytest.mark.parametrize(
    ("setting", "file", "expected"),
    [
        ("key_set_file", "missing.json", "No such file"),
        ("key_set_file", "bad.json", "not a JSON object"),
        ("runner_key_file", "runner.json", "no key can sign for ext.runner"),
        ("runner_key_file", "other.json", "unknown_key"),
        ("runner_key_file", "forger.json", "signature"),
        ("admin_key_file", "keys.json", "no key can sign for ext.scheduler.admin"),
        ("callback_token_file", "empty", "empty"),
    ],
)
async def test_an_unusable_key_file_is_an_error(
    line: CommandLine, setting: str, file: str, expected: str
) -> None:
    (line.home / "bad.json").write_text("[]")
    (line.home / "empty").write_text("\n")
    for name, kid in (("other.json", "other"), ("forger.json", WORKER_JWK["kid"])):
        forged = generate_key("EdDSA", kid=kid, issuer="worker", audiences=["ext.runner"])
        (line.home / name).write_bytes(key_set_document([forged]))
    result = await line("check", "--json", **{setting: file})
    state, message = results_by_name(result)[setting]
    assert state == "wrong"
    assert expected in message
    assert error_line(result, 1)


async def test_exposed_secrets_are_errors(line: CommandLine) -> None:
    (line.home / "worker.json").chmod(0o644)
    (line.home / "keys.json").write_bytes(key_set_document(JWKS))
    (line.home / "keys.json").chmod(0o644)
    result = await line("check", "--role", "worker")
    assert error_line(result, 1)
    assert "accessible to all users of this host" in result.out
    assert "chmod 600 worker.json" in result.out
    assert "chmod 600 keys.json" in result.out
    assert "private keys it does not need: runner-1" in result.out
    for jwk in JWKS:
        assert jwk["d"] not in result.out


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("database_url", "postgresql://me:hidden/word@127.0.0.1/x"),
        ("database_url", "host=127.0.0.1 password=hidden-word"),
        ("nats_url", "nats:me:hidden-word@127.0.0.1"),
        ("nats_url", "nats://me:hidden@word@127.0.0.1"),
        ("runner_url", "http://me:hidden/word@127.0.0.1"),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve", "migrate", "bridge", "admin list"])
async def test_a_malformed_address_ends_every_command_in_one_line(
    line: CommandLine, command: str, setting: str, address: str
) -> None:
    result = await line(*command.split(), **{setting: address})
    if command == "check":
        assert error_line(result, 1).endswith("1 of 1 checks failed")
    else:
        assert "percent-encode" in error_line(result, 2)
    output = result.out + result.err
    assert f"EXT_SCHEDULER_{setting.upper()}: must have the form" in output
    assert "Traceback" not in output
    for part in ("hidden", "word@", "127.0.0.1"):
        assert part not in output


async def test_user_information_and_tokens_of_addresses_are_masked(line: CommandLine) -> None:
    result = await line(
        "check",
        nats_url="nats://hidden-token@127.0.0.1:9",
        runner_url="http://me:hidden-word@127.0.0.1:9",
        platform_url="http://hidden-word@127.0.0.1:9",
    )
    assert "hidden" not in result.out + result.err
    assert "nats_url=nats://***@127.0.0.1:9" in result.out


async def test_an_unknown_setting_is_an_error(line: CommandLine) -> None:
    result = await line("check", poolsize="3")
    assert "error    settings: EXT_SCHEDULER_POOLSIZE is not a setting" in result.out
    assert error_line(result, 1)


CONF = """
authorization { users: [{
  user: u, password: p, permissions: {
    publish: { allow: ["$SYS.REQ.USER.INFO", "ext.runner.execute", "_INBOX.>"] }
    subscribe: { allow: ["_INBOX.>", "ext.scheduler.* ext-scheduler"] }
  }
}] }
"""


async def test_missing_permissions_are_listed(line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "nats.conf").write_text(CONF)
    with embedded_nats(tmp_path / "nats", config=tmp_path / "nats.conf") as server:
        known = {"nats_url": server.url, "nats_user": "u"}
        result = await line("check", nats_password="p", **known)
        assert "a responder may not subscribe to ext.scheduler.admin." in result.out
        assert "a worker may not publish ext.scheduler.events" in result.out
        assert error_line(result, 1)
        result = await line("check", nats_password="wrong-word", **known)
        assert "refused user 'u'" in result.out
        assert "wrong-word" not in result.out + result.err


@pytest.mark.parametrize(
    ("role", "user"),
    [
        ("responder", "service"),
        ("worker", "service"),
        ("bridge", "runner"),
        ("admin", "operator"),
        ("admin", "runner"),
        ("worker", "operator"),
    ],
)
async def test_the_shipped_users_have_the_permissions_of_their_role(
    line: CommandLine, tmp_path: Path, role: str, user: str
) -> None:
    with embedded_nats(tmp_path / "nats", config=CONFIG, environment=ENVIRONMENT) as server:
        result = await line(
            *("check", "--role", role, "--json"),
            nats_url=server.url,
            nats_user=user,
            nats_password=PASSWORDS[user],
            nats_inbox_prefix=f"_INBOX_{user}",
        )
    permitted_role = (role, user) not in {("admin", "runner"), ("worker", "operator")}
    assert results_by_name(result)["permissions"][0] == ("ok" if permitted_role else "wrong")
    assert results_by_name(result)["NATS"][0] == "ok"
    counted = results_by_name(result)["responders"][1]
    may_count = "none answered" if user != "runner" else "this user may not ask for them: "
    assert counted.startswith(may_count)
    assert result.status == (0 if permitted_role else 1)


@pytest.mark.parametrize(
    ("subject", "rules", "allowed"),
    [
        ("a.b", PermissionRules(), True),
        ("a.b", PermissionRules(allow=[]), False),
        ("a.b", PermissionRules(allow=["a.*"]), True),
        ("a.b.c", PermissionRules(allow=["a.*"]), False),
        ("a.b.c", PermissionRules(allow=["a.>"]), True),
        ("a", PermissionRules(allow=["a.>"]), False),
        ("a.b", PermissionRules(deny=["a.b"]), False),
        ("a.b", PermissionRules(allow=["a.*"], deny=["*.b"]), False),
        ("a.b q", PermissionRules(allow=["a.b q"]), True),
        ("a.b q", PermissionRules(allow=["a.b other"]), False),
        ("a.b", PermissionRules(allow=["a.b q"]), False),
        ("a.b q", PermissionRules(deny=["a.b other"]), True),
    ],
)
def test_permissions_are_read_as_the_server_does(
    subject: str, rules: PermissionRules, allowed: bool
) -> None:
    assert permitted(subject, rules) is allowed


@pytest.mark.parametrize(("bound", "offset"), [("OLDEST", 1), ("NEWEST", -1)])
async def test_a_server_outside_the_supported_releases_is_an_error(
    database: str, bound: str, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(database)
    release = connection.get_server_version().major
    await connection.close()
    settings = Settings(database_url=database)

    async def about_the_server() -> CheckResult:
        (result,) = [each async for each in run_checks(settings) if each.about == "database"]
        return result

    assert (await about_the_server()).state is CheckLevel.OK
    monkeypatch.setattr(database_checks, bound, release + offset)
    result = await about_the_server()
    assert result.state is CheckLevel.ERROR
    assert result.message.startswith(f"PostgreSQL {release}")
    assert result.message.endswith(": unsupported")
    assert result.remedy == (f"use PostgreSQL {database_checks.OLDEST} to {database_checks.NEWEST}")
