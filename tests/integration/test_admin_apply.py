"""``applySchedules`` and ``admin apply``: the schedules of installs become what a file declares."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from service.rules.limits import Limits
from tests.support.admin import Admin, manifest, register
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.host import dispatcher
from tests.support.responders import responders

NIGHTLY = {"name": "nightly", "endpoint": "/a", "cron": "0 3 * * *", "payload": {"a": 1, "b": [2]}}
HOURLY = {"name": "hourly", "endpoint": "POST /b", "cron": "0 * * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
async def admin(pool: asyncpg.Pool) -> Admin:
    """Yield an administrator of a tenant with an install of acme/demo that may have 3 schedules."""
    admin = Admin(dispatcher(pool, Limits(max_schedules=3)))
    await register(admin, "1.0.0", "/a", "/b")
    return admin


def body(*schedules: dict[str, Any], **members: Any) -> dict[str, Any]:
    installs = [{"publisher": "acme", "name": "demo", "schedules": list(schedules)}]
    return {"tenantId": "tenant-1", "installs": installs, **members}


def counts(answer: dict[str, Any]) -> tuple[int, ...]:
    return tuple(answer[name] for name in ("created", "updated", "deleted", "unchanged"))


def told(answer: dict[str, Any]) -> list[tuple[str, str | None, list[str]]]:
    return [
        (change["action"], change["name"], [field["field"] for field in change["fields"]])
        for change in answer["changes"]
    ]


async def names(admin: Admin) -> list[str | None]:
    rows = (await admin("listSchedules"))["schedules"]
    return sorted((row["name"] for row in rows), key=str)


async def test_an_apply_is_idempotent_and_matches_by_name(admin: Admin, pool: asyncpg.Pool) -> None:
    first = await admin("applySchedules", **body(NIGHTLY, HOURLY))
    assert counts(first) == (2, 0, 0, 0)
    before = {row["id"]: row for row in (await admin("listSchedules"))["schedules"]}
    # The order of a payload's members and another spelling of the endpoint are no difference.
    same = {**NIGHTLY, "endpoint": "POST a", "payload": {"b": [2], "a": 1}, "timezone": "UTC"}
    again = await admin("applySchedules", **body({**HOURLY, "enabled": True}, same))
    assert counts(again) == (0, 0, 0, 2)
    assert {row["id"]: row for row in (await admin("listSchedules"))["schedules"]} == before
    changed = {**NIGHTLY, "cron": "30 3 * * *", "enabled": False, "payload": None}
    third = await admin("applySchedules", **body(changed, HOURLY))
    assert told(third) == [("update", "nightly", ["cron", "enabled", "payload"])]
    assert third["changes"][0]["fields"][0] == {
        "field": "cron",
        "before": "0 3 * * *",
        "after": "30 3 * * *",
    }
    rows = {row["name"]: row for row in (await admin("listSchedules"))["schedules"]}
    assert {row["id"] for row in rows.values()} == set(before)
    nightly = rows["nightly"]
    assert (nightly["cron"], nightly["enabled"], nightly["payload"]) == ("30 3 * * *", False, None)
    assert (nightly["revision"], rows["hourly"]["revision"]) == (2, 1)
    ops = (await admin("auditLog"))["entries"]
    assert [entry["op"] for entry in ops].count("applySchedules") == 3
    kinds = await pool.fetch("SELECT type, count(*) FROM ext_scheduler.outbox GROUP BY 1")
    assert {row["type"]: row["count"] for row in kinds} == {
        "schedule.created": 2,
        "schedule.updated": 1,
    }


async def test_a_dry_run_answers_the_same_and_changes_nothing(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    await admin("applySchedules", **body(NIGHTLY))
    state = "SELECT * FROM tenant_extension_schedule, ext_scheduler.timers ORDER BY 1"
    before = await pool.fetch(state)
    wanted = body({**NIGHTLY, "cron": "5 3 * * *"}, HOURLY)
    dry = await admin("applySchedules", **wanted, dryRun=True)
    assert await pool.fetch(state) == before
    assert len((await admin("auditLog"))["entries"]) == 2
    done = await admin("applySchedules", **wanted)
    assert counts(dry) == counts(done) == (1, 1, 0, 0)
    assert told(dry) == told(done)
    assert dry["changes"][1]["scheduleId"] is None
    UUID(done["changes"][1]["scheduleId"])


async def test_prune_deletes_what_the_installs_of_the_file_have_and_nothing_else(
    admin: Admin,
) -> None:
    other = manifest("1.0.0", "/a", "/b", name="other")
    await register(admin, manifest=other, contentHash="sha256:other")
    for extension in ("demo", "other"):
        installs = [{"publisher": "acme", "name": extension, "schedules": [NIGHTLY, HOURLY]}]
        applied = await admin("applySchedules", tenantId="tenant-1", installs=installs)
        assert counts(applied) == (2, 0, 0, 0)
    install_id = (await admin("listInstalls", name="demo"))["installs"][0]["id"]
    await admin("createSchedule", installId=install_id, endpoint="/a", cron="0 5 * * *")
    kept = await admin("applySchedules", **body(HOURLY))
    assert counts(kept) == (0, 0, 0, 1)
    # What is deleted makes room in the quota for what is created.
    weekly = {"name": "weekly", "endpoint": "/a", "cron": "0 4 * * 1"}
    pruned = await admin("applySchedules", **body(HOURLY, weekly), prune=True)
    assert counts(pruned) == (1, 0, 2, 1)
    assert {(action, name) for action, name, _ in told(pruned)} == {
        ("delete", "nightly"),
        ("delete", None),
        ("create", "weekly"),
    }
    assert await names(admin) == ["hourly", "hourly", "nightly", "weekly"]


async def test_all_that_is_wrong_is_reported_by_place_and_nothing_is_changed(admin: Admin) -> None:
    await admin("applySchedules", **body(NIGHTLY))
    wanted = body(
        {**NIGHTLY, "cron": "0 4 * * *"},
        {**HOURLY, "cron": "* * * * *", "timezone": "Mars"},
        {**HOURLY, "endpoint": "/none", "name": "second"},
        {**HOURLY, "name": "second"},
    )
    wanted["installs"] += [{"publisher": "acme", "name": "gone", "schedules": []}]
    wanted["installs"] += [{"publisher": "acme", "name": "demo", "schedules": []}]
    answer = await admin("applySchedules", **wanted, prune=True)
    assert answer["code"] == "VALIDATION_FAILED"
    assert answer["fieldErrors"] == {
        "installs[0].schedules[1].cron": "Cron too frequent (minimum interval is 5 minutes)",
        "installs[0].schedules[1].timezone": "Invalid timezone",
        "installs[0].schedules[2].endpoint": "Endpoint not found or not schedulable",
        "installs[0].schedules[3].name": "Listed twice",
        "installs[1].name": "Extension is not installed in this tenant",
        "installs[2].name": "Listed twice",
    }
    (row,) = (await admin("listSchedules"))["schedules"]
    assert (row["cron"], row["revision"]) == ("0 3 * * *", 1)


async def test_the_quota_counts_what_would_be_there(admin: Admin) -> None:
    many = [{**HOURLY, "name": f"number {number}"} for number in range(4)]
    answer = await admin("applySchedules", **body(*many))
    assert (answer["code"], list(answer["fieldErrors"])) == (
        "QUOTA_EXCEEDED",
        ["installs[0].schedules[3]"],
    )
    assert await names(admin) == []


async def test_schedules_that_another_job_runner_drives_are_refused(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    await admin("applySchedules", **body(NIGHTLY, HOURLY))
    await pool.execute(
        "UPDATE tenant_extension_schedule SET runner_schedule_id = 'temporal-7' WHERE name = $1",
        "nightly",
    )
    assert counts(await admin("applySchedules", **body(NIGHTLY))) == (0, 0, 0, 1)
    refusal = "Schedule is driven by another job runner until it is adopted"
    answer = await admin("applySchedules", **body({**NIGHTLY, "cron": "0 4 * * *"}))
    assert answer["code"] == "CONFLICT"
    assert answer["fieldErrors"] == {"installs[0].schedules[0]": refusal}
    answer = await admin("applySchedules", **body(HOURLY), prune=True)
    assert answer["code"] == "CONFLICT"
    assert answer["fieldErrors"] == {"installs[0].prune[nightly]": refusal}
    assert await names(admin) == ["hourly", "nightly"]


async def test_an_apply_is_made_once_per_jti(admin: Admin) -> None:
    jti = uuid4()
    first = await admin.send("applySchedules", body(NIGHTLY), jti)
    await admin("applySchedules", **body({**NIGHTLY, "cron": "0 4 * * *"}))
    again = await admin.send("applySchedules", body(NIGHTLY), jti)
    assert again.body == first.body
    (row,) = (await admin("listSchedules"))["schedules"]
    assert row["cron"] == "0 4 * * *"


FILE = """
tenant: acme
installs:
  - publisher: acme
    name: demo
    schedules:
      - name: nightly
        endpoint: POST /a
        cron: 0 3 * * *
        timezone: Europe/Berlin
        payload: {since: 2026-01-01, full: true}
      - {name: hourly, endpoint: /b, cron: 0 * * * *}
"""


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    """Yield a command line with a responder behind it, and an install in tenant acme."""
    async with responders(1, tmp_path, database, nats_url):
        line = command_line(tmp_path, nats_url)
        (line.home / "manifest.json").write_bytes(msgspec.json.encode(manifest("1", "/a", "/b")))
        registered = ("admin", "register", "manifest.json", "--tenant", "acme")
        await line.ok(*registered, "--grant-declared", "--content-hash", "ab" * 32)
        (line.home / "schedules.yaml").write_text(FILE)
        yield line


async def test_the_difference_is_shown_applied_and_then_empty(line: CommandLine) -> None:
    apply = ("admin", "apply", "schedules.yaml")
    dry = await line.ok(*apply, "--dry-run")
    assert dry.out.splitlines() == [
        "acme/demo",
        "  + nightly",
        "      endpoint  POST /a",
        "      cron      0 3 * * *",
        "      timezone  Europe/Berlin",
        "      enabled   true",
        '      payload   {"full":true,"since":"2026-01-01"}',
        "  + hourly",
        "      endpoint  /b",
        "      cron      0 * * * *",
        "      timezone  UTC",
        "      enabled   true",
        "dry run, no changes made: 2 to create, 0 to update, 0 to delete, 0 unchanged",
    ]
    done = await line.ok(*apply)
    assert done.out.splitlines()[-1] == "2 created, 0 updated, 0 deleted, 0 unchanged"
    again = await line.ok(*apply, "--prune")
    assert again.out == "0 created, 0 updated, 0 deleted, 2 unchanged\n"

    (line.home / "schedules.yaml").write_text(FILE.replace("0 3 ", "30 3 ").replace("- {", "# {"))
    unconfirmed = await line(*apply, "--prune")
    assert error_line(unconfirmed, 2) == "Delete schedules: 1? Confirm with --yes"
    assert unconfirmed.out.splitlines()[:2] == ["acme/demo", "  - hourly"]
    assert "      cron  0 3 * * *  →  30 3 * * *" in unconfirmed.out.splitlines()
    pruned = await line.json(*apply, "--prune", "--yes")
    assert counts(pruned) == (0, 1, 1, 0)
    listed = await line.json("admin", "list")
    assert [(row["name"], row["cron"]) for row in listed["schedules"]] == [
        ("nightly", "30 3 * * *")
    ]


async def test_what_is_wrong_in_a_file_is_named_and_has_its_status(line: CommandLine) -> None:
    file = line.home / "schedules.yaml"
    for text, status, message in (
        (FILE.replace("cron: 0 3", "cron: */5"), 2, "begins with * needs quotes"),
        (FILE.replace("timezone", "timezon"), 2, "unknown field `timezon`"),
        (FILE.replace("name: nightly", "name: a\n        name: b"), 2, "duplicate key"),
        (FILE.replace("tenant: acme", ""), 2, "names no tenant, and --tenant is missing"),
        (FILE.replace("tenant: acme", "tenant: nobody"), 5, "Tenant not found (NOT_FOUND)"),
        (FILE.replace("/b", "/c"), 3, "nothing was changed; problems: 1 (VALIDATION_FAILED)"),
    ):
        file.write_text(text)
        result = await line("admin", "apply", "schedules.yaml")
        assert message in error_line(result, status)
    assert result.out == "acme/demo/hourly: endpoint: Endpoint not found or not schedulable\n"
    elsewhere = await line("admin", "apply", "schedules.yaml", "--tenant", "other")
    assert "its tenant is 'acme', and --tenant (or the setting) 'other'" in error_line(elsewhere, 2)
    assert (await line.json("admin", "list"))["schedules"] == []
