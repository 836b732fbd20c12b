"""Admin commands against a real responder: tables, JSON, paging, and how refusals end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from contracts.admin import ADMIN_OPS
from contracts.context import generate_key, key_set_document
from contracts.subjects import ADMIN_AUDIENCE
from service.cli.admin.command_specs import all_specs
from service.cli.admin.stats import in_words
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.eventually import eventually
from tests.support.platform import Installed, add_version, install
from tests.support.responders import responders

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    """Yield a command line with a responder behind it."""
    async with responders(1, tmp_path, database, nats_url):
        yield command_line(tmp_path, nats_url)


@pytest.fixture
async def installed(pool: asyncpg.Pool) -> Installed:
    return await install(pool, tenant_id="acme")


async def created(line: CommandLine, installed: Installed, name: str) -> str:
    words = ("admin", "create", str(installed.install_id), "0 3 * * *", "--name", name)
    answer = await line.json(*words, "--endpoint", "POST /api/heartbeat")
    return str(answer["scheduleId"])


def test_every_operation_has_a_command() -> None:
    assert {spec.op for spec in all_specs()} == set(ADMIN_OPS)
    names = [spec.name for spec in all_specs()]
    assert len(names) == len(set(names))


async def test_a_schedule_is_created_shown_changed_and_deleted(
    line: CommandLine, installed: Installed
) -> None:
    install_id = str(installed.install_id)
    schedule_id = await created(line, installed, "nightly")
    shown = (await line.json("admin", "show", schedule_id))["schedule"]
    assert (shown["name"], shown["cron"], shown["tenantId"]) == ("nightly", "0 3 * * *", "acme")
    words = ("--cron", "30 4 * * *", "--clear-name", "--no-enabled", "--payload", '{"a": [1]}')
    await line.ok("admin", "change", install_id, schedule_id, *words)
    shown = (await line.json("admin", "get-schedule", schedule_id))["schedule"]
    assert (shown["name"], shown["cron"]) == (None, "30 4 * * *")
    assert (shown["enabled"], shown["payload"]) == (False, {"a": [1]})
    refused = await line("admin", "delete", install_id, schedule_id)
    assert "--yes" in error_line(refused, 2)
    await line.ok("admin", "delete", install_id, schedule_id, "--yes")
    error_line(await line("admin", "show", schedule_id), 5)


async def test_a_list_is_a_table_or_all_pages_as_json(
    line: CommandLine, installed: Installed
) -> None:
    made = {await created(line, installed, f"job-{number}") for number in range(4)}
    table = (await line.ok("admin", "list", "--tenant", "acme")).out.splitlines()
    assert table[0].split()[:3] == ["ID", "NAME", "ENABLED"]
    assert {row.split()[0] for row in table[1:]} == made
    some = await line("admin", "list", "--limit", "3")
    assert len(some.out.splitlines()) == 4
    assert "more than 3 schedules" in some.err
    page = await line.json("admin", "list", "--limit", "3")
    rest = await line.json("admin", "list", "--all", "--cursor", page["nextCursor"])
    assert {row["id"] for row in page["schedules"] + rest["schedules"]} == made
    assert "nextCursor" not in rest


async def test_a_tenants_text_cannot_steer_a_terminal(
    line: CommandLine, installed: Installed
) -> None:
    await created(line, installed, "a\x1b[2Jb\nc\u202ed")
    table = (await line.ok("admin", "list")).out
    assert len(table.splitlines()) == 2
    assert "\x1b" not in table
    assert "\u202e" not in table


async def test_json_output_holds_the_field_errors(line: CommandLine, installed: Installed) -> None:
    words = ("admin", "create", str(installed.install_id), "* * *", "--endpoint", "/nowhere")
    result = await line(*words, "--timezone", "Mars", "--json")
    assert set(result.json["fieldErrors"]) == {"endpoint", "cron", "timezone"}
    expected = error_line(result, 3)
    assert "cron: Invalid cron expression" in expected
    assert "VALIDATION_FAILED" in expected


async def test_a_repeated_request_is_executed_once(line: CommandLine, installed: Installed) -> None:
    words = ("admin", "create", str(installed.install_id), "0 3 * * *", "--endpoint", "/api/status")
    request = ("--request-id", str(uuid4()))
    first = await line.json(*words, *request)
    assert await line.json(*words, *request) == first
    assert len((await line.json("admin", "list"))["schedules"]) == 1


async def test_a_change_titles_the_list_it_prints(
    line: CommandLine, installed: Installed, pool: asyncpg.Pool
) -> None:
    schedule_id = await created(line, installed, "nightly")
    version_id = uuid4()
    await add_version(pool, installed.registry_id, version_id, endpoints=())
    words = ("admin", "update", str(installed.install_id), "--version-id", str(version_id))
    for expected in (
        await line.ok(*words, "--dry-run"),
        await line(*words),
        await line.ok(*words, "--disable-missing-schedules"),
    ):
        *_, title, _, row = expected.out.splitlines()
        assert (title, row.split()[0]) == ("missing (1):", schedule_id)


async def test_wire_names_work_as_commands(line: CommandLine, installed: Installed) -> None:
    slots = (await line.ok("admin", "preview-cron", "0 3 * * *", "--count", "2")).out.splitlines()
    assert slots[:2] == [
        "WORDS  At 03:00, UTC",
        "UTC                  LOCAL                      REMARK",
    ]
    assert [row.split()[1] for row in slots[2:]] == ["03:00:00", "03:00:00"]
    endpoints = (await line.ok("admin", "endpoints", str(installed.install_id))).out
    assert "/api/heartbeat" in endpoints
    assert (await line.ok("admin", "backfill-endpoints")).out.startswith("VERSIONS")
    assert (await line.json("admin", "disable-schedules", str(installed.install_id))) == {
        "success": True,
        "disabled": 0,
    }
    assert (await line.ok("admin", "reconcile", "--dry-run")).out.startswith("dry run")
    await line.ok("admin", "set-tenant-paused", "acme", "true")
    await line.ok("admin", "set-install-enabled", str(installed.install_id), "false")
    entries = (await line.json("admin", "audit-log"))["entries"]
    assert [entry["changes"] for entry in entries] == [{"enabled": False}, {"paused": True}]


async def test_the_audit_names_the_actor(line: CommandLine, installed: Installed) -> None:
    await created(line, installed, "nightly")
    words = ("admin", "audit", "--since", "10m", "--install-id", str(installed.install_id))
    entries = (await line.json(*words))["entries"]
    assert [(entry["actor"], entry["op"]) for entry in entries] == [
        ("operator/ops", "createSchedule")
    ]
    table = (await line.ok("admin", "audit", "--tenant", "acme")).out
    assert "operator/ops" in table
    assert (await line.json("admin", "audit", "--since", "2999-01-01T00:00:00Z")) == {"entries": []}


ERROR_CASES: list[tuple[list[str], dict[str, str], int, str]] = [
    (["show", "nonsense"], {}, 3, "Invalid scheduleId (expected: The schedule: its id, the beg"),
    (["enable", "acme"], {}, 3, "Invalid installId (expected: The install: its id, the beginning"),
    (["why", NOBODY, "--at", "25:00"], {}, 3, "(expected: HH:MM or 'YYYY-MM-DD HH:MM' on the"),
    (["load-minute", "17:00"], {}, 3, "Invalid minute (expected: A minute of the coming week"),
    (["show", NOBODY], {}, 5, "Schedule not found"),
    (["uninstall", NOBODY, "--yes"], {}, 5, "Install not found"),
    (["preview-cron", "61 * * * *", "--timezone", "Mars"], {}, 3, "timezone: Invalid timezone"),
    (["preview-cron", "*/1 * * * *"], {}, 3, "too frequent"),
    (["audit", "--since", "yesterday"], {}, 3, "since"),
    (["pause", "other", "--tenant", "acme"], {}, 4, "another tenant"),
    (["pause", "acme", "--permission", "extension:read"], {}, 4, "extension:write is missing"),
    (["backfill-endpoints", "--key", "platform.json"], {}, 4, "does not accept key"),
    (["list", "--key", "platform.json"], {}, 2, "missing --tenant"),
    (["list", "--tenant", "*", "--key", "platform.json"], {}, 4, "does not accept key"),
    (["list", "--key", "runner.json"], {}, 2, "no key can sign for ext.scheduler.admin"),
    (["list", "--key", "missing.json"], {}, 2, "No such file"),
    (["list", "--key", "."], {}, 2, "Is a directory"),
    (["list", "--limit", "0"], {}, 2, "--limit"),
    (["list"], {"nats_url": "nats://127.0.0.1:9"}, 8, "no NATS server at nats://127.0.0.1:9"),
    (["list"], {"no_such_setting": "1"}, 2, "EXT_SCHEDULER_NO_SUCH_SETTING is not a setting"),
    (["list"], {"config": "missing.toml"}, 2, "missing.toml: No such file"),
    (["purge", "acme"], {}, 2, "--yes"),
    (["list", "--key", "stranger.json"], {}, 4, "does not accept key 'operator-1'"),
    (["set-tenant-paused", "acme", "maybe"], {}, 2, "PAUSED"),
    (["show", NOBODY, "--tenant", "\udcff"], {}, 2, "not valid UTF-8"),
    (["show", "\udcff"], {}, 3, "cannot be encoded"),
]
"""Words after ``admin``, settings, and the status and telling with which they end."""


async def test_an_admin_error_is_one_line(line: CommandLine) -> None:
    at_once = asyncio.Semaphore(3)
    stranger = generate_key(
        "EdDSA", kid="operator-1", issuer="operator", audiences=[ADMIN_AUDIENCE], operator=True
    )
    (line.home / "stranger.json").write_bytes(key_set_document([stranger]))

    async def problem(
        words: list[str], settings: dict[str, str], status: int, expected: str
    ) -> str:
        async with at_once:
            result = await line("admin", *words, **settings)
        try:
            assert expected in error_line(result, status)
        except AssertionError as failure:
            return f"{words} {settings}: {failure}"
        return ""

    problems = await asyncio.gather(*(problem(*case) for case in ERROR_CASES))
    assert [text for text in problems if text] == []


async def test_an_install_of_another_tenant_is_not_found(
    line: CommandLine, installed: Installed
) -> None:
    own = await created(line, installed, "nightly")
    stranger = ("--key", "platform.json", "--tenant", "other")
    for words in (["show", own], ["run-now", own], ["endpoints", str(installed.install_id)]):
        assert "not found" in error_line(await line("admin", *words, *stranger), 5)
    assert "Tenant not found" in error_line(await line("admin", "list", *stranger), 5)


async def test_a_file_of_several_documents_is_imported_whole_or_not_at_all(
    line: CommandLine, pool: asyncpg.Pool, installed: Installed
) -> None:
    await created(line, installed, "nightly")
    first = await line.json("admin", "export", "acme")
    (extension,) = first["extensions"]
    second = {**first, "extensions": [{**extension, "schedules": extension["schedules"] * 2}]}
    for number, schedule in enumerate(second["extensions"][0]["schedules"]):
        second["extensions"][0]["schedules"][number] = {**schedule, "name": f"job-{number}"}
    (line.home / "both.json").write_bytes(msgspec.json.encode([first, second]))
    (line.home / "second.json").write_bytes(msgspec.json.encode([second, second]))
    imported = ("admin", "import", "both.json", "--tenant", "acme")
    refused = await line(*imported)  # the first one's name is taken
    assert refused.status == 3
    assert "document 1 of 2 was rejected" in refused.err
    assert "Schedule name already in use" in refused.out
    assert "Traceback" not in refused.err
    schedules = (await line.json("admin", "list"))["schedules"]
    words = (str(installed.install_id), schedules[0]["id"], "--name", "another")
    await line.ok("admin", "change", *words)
    assert (await line.json(*imported, "--dry-run"))["created"] == 3
    assert len((await line.json("admin", "list"))["schedules"]) == 1
    assert (await line.json(*imported))["created"] == 3
    assert len((await line.json("admin", "list"))["schedules"]) == 4


async def test_a_missing_service_is_reported(tmp_path: Path, nats_url: str) -> None:
    line = command_line(tmp_path, nats_url)
    result = await line("admin", "pause", "acme", "--timeout", "2")
    expected = error_line(result, 8)
    assert "No scheduler service is running" in expected
    repeated = await line("admin", "pause", "acme", "--timeout", "2", *expected.split()[-2:])
    assert repeated.err == result.err


async def test_stats_show_the_responders_with_their_load_to_an_operator(line: CommandLine) -> None:
    async def answering() -> list[dict[str, Any]]:
        # Asked for a moment only: who is slow to answer is not listed.
        found: list[dict[str, Any]] = (await line.json("admin", "stats"))["responders"]
        return found

    (responder,) = await eventually(answering)
    assert (responder["hasDatabase"], responder["running"], responder["waiting"]) == (True, 0, 0)
    assert responder["concurrency"] > 0

    async def shown_with_it() -> str:
        text = (await line.ok("admin", "stats")).out
        return text if responder["id"][:8] in text else ""

    shown = await eventually(shown_with_it)
    assert "nothing in the coming hour" in shown
    assert "no run began in the last hour" in shown


def test_stats_are_told_in_lines_instead_of_minutes() -> None:
    at = "2026-11-29T17:00:00.000Z"
    told = in_words(
        {
            "at": at,
            "due": [{"minute": at, "count": 2}, {"minute": at, "count": 5}],
            "runs": [
                {"minute": at, "success": 3, "error": 0},
                {"minute": at, "success": 1, "error": 2},
            ],
            "lateness": {"runs": 6, "p50Ms": 4, "p99Ms": 30, "maxMs": 31, "spreadMs": 20},
            "failingSchedules": 1,
        }
    )
    assert str(told["due"]).startswith("7 in the coming hour, at most 5 a minute, first ")
    assert told["runs"] == "4 success, 2 error in the last hour"
    assert "99 of 100 within 30 ms, at most 31 ms, of which up to 20 ms are" in str(
        told["lateness"]
    )
    assert (told["at"], told["failingSchedules"]) == (at, 1)
