"""Names and beginnings of ids on the command line, and what a shell completes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from msgspec import Struct

from tests.support.admin import Admin, register
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.eventually import eventually
from tests.support.host import dispatcher
from tests.support.responders import responders


class Named(Struct, frozen=True):
    """A command line, and the ids of acme/demo with its schedule nightly."""

    line: CommandLine
    install_id: str
    schedule_id: str


@pytest.fixture
async def named(
    pool: asyncpg.Pool, tmp_path: Path, database: str, nats_url: str
) -> AsyncIterator[Named]:
    served = dispatcher(pool)
    ids = []
    for tenant in ("acme", "zeta"):
        admin = Admin(served, tenant_id=tenant)
        install_id = (await register(admin, "1.0.0", "/a"))["installId"]
        for name in ("nightly", "a/b"):
            created = await admin(
                "createSchedule", installId=install_id, endpoint="/a", cron="0 3 * * *", name=name
            )
            ids += [install_id, created["scheduleId"]]
    async with responders(1, tmp_path, database, nats_url):
        yield Named(command_line(tmp_path, nats_url), ids[0], ids[1])


async def test_schedule_is_named_by_tenant_extension_and_name(named: Named) -> None:
    for text in ("acme/demo/nightly", "acme/acme/demo/nightly", named.schedule_id[:13]):
        shown = await named.line.json("admin", "show", text)
        assert shown["schedule"]["id"] == named.schedule_id, text
    shown = await named.line.json("admin", "show", "demo/nightly", "--tenant", "acme")
    assert shown["schedule"]["id"] == named.schedule_id
    assert (await named.line.json("admin", "show", "acme/demo/a/b"))["schedule"]["name"] == "a/b"
    why = (await named.line.ok("admin", "why", "acme/demo/nightly", "--at", "03:00")).out
    assert why.startswith("nightly  At 03:00, UTC")
    assert "[no_worker_up]" in why
    assert "[slot_before_schedule]" in why


async def test_tenants_are_shown_with_what_pauses_them(named: Named) -> None:
    await named.line.ok("admin", "pause", "acme", "--reason", "ticket 4711")
    heading, acme, zeta = (await named.line.ok("admin", "tenants")).out.splitlines()
    assert "PAUSED SINCE" in heading
    assert "operator/ops" in acme
    assert "ticket 4711" in acme
    assert "{" not in acme
    assert "ticket" not in zeta


async def test_install_is_named_by_tenant_and_extension(named: Named) -> None:
    for text in ("acme/demo", "acme/acme/demo", named.install_id[:13]):
        assert (await named.line.ok("admin", "disable", text)).out == "disabled\n"
    listed = await named.line.json("admin", "installs", "--no-enabled")
    assert [row["id"] for row in listed["installs"]] == [named.install_id]
    listed = await named.line.json("admin", "list", "--install-id", "acme/demo")
    assert len(listed["schedules"]) == 2


async def test_run_is_named_by_the_beginning_that_tables_show(named: Named) -> None:
    made = await named.line.json("admin", "run-now", named.schedule_id)
    shown = await named.line.json("admin", "run", made["runId"][:8])
    assert shown["run"]["id"] == made["runId"]
    absent = await named.line("admin", "run", "0badcafe", "--tenant", "acme")
    assert error_line(absent, 5) == "no run '0badcafe'"
    invalid = await named.line("admin", "run", "nightly")
    assert "(expected: The run: its id, or the beginning" in error_line(invalid, 3)


async def test_unknown_and_ambiguous_names_are_errors(named: Named, pool: asyncpg.Pool) -> None:
    for words, error in (
        (("show", "acme/demo/weekly"), "no schedule 'acme/demo/weekly'"),
        (("enable", "acme/other"), "no install 'acme/other'"),
        (("enable", "acmee/demo"), "Tenant not found"),
        (("show", "ffff-ffff"), "no schedule 'ffff-ffff'"),
        (("pause", "acmee"), "Tenant not found"),
        (("purge", "acmee", "--yes"), "Tenant not found"),
    ):
        assert error in error_line(await named.line("admin", *words), 5)
    for number in range(2):
        await pool.execute(
            "INSERT INTO tenant_extension_schedule (id, tenant_id, install_id, cron)"
            " SELECT ('abcd0000-0000-4000-8000-00000000000' || $1)::uuid, 'acme', id, '0 3 * * *'"
            " FROM tenant_extension_install WHERE tenant_id = 'acme'",
            str(number),
        )
    result = await named.line("admin", "show", "abcd")
    assert "schedule 'abcd' is ambiguous: abcd0000-0000-4000-8000-000000000000" in error_line(
        result, 2
    )


async def completed(line: CommandLine, *words: str) -> list[str]:
    """Return what a bash completes for these words, the last of which is not complete."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        cwd=line.home,
        env={
            **line.environment(line.settings),
            "_EXT_SCHEDULER_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("ext-scheduler", *words)),
            "COMP_CWORD": str(len(words)),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert errors == b""
    return output.decode().split()


async def completes(line: CommandLine, words: tuple[str, ...], expected: list[str]) -> None:
    """Wait until a shell completes so: where the service takes long, it completes nothing."""

    async def completed_so() -> bool:
        assert await completed(line, *words) == expected
        return True

    await eventually(completed_so)


async def test_shell_completes_tenants_installs_and_schedules(named: Named) -> None:
    await completes(named.line, ("admin", "pause", "a"), ["acme"])
    await completes(named.line, ("admin", "enable", "z"), ["zeta/"])
    await completes(named.line, ("admin", "enable", "acme/d"), ["acme/demo"])
    await completes(named.line, ("admin", "why", "acme/d"), ["acme/demo/"])
    await completes(named.line, ("admin", "why", "acme/demo/n"), ["acme/demo/nightly"])


async def test_shell_completes_with_the_settings_file_and_the_tenant_of_the_line(
    named: Named, tmp_path: Path
) -> None:
    file = tmp_path / "operator.toml"
    file.write_text("".join(f'{name} = "{text}"\n' for name, text in named.line.settings.items()))
    line = CommandLine(named.line.home, {})
    given = ("--config", str(file), "admin")
    assert await completed(line, *given, "pause", "a") == ["acme"]
    assert await completed(line, *given, "list", "--tenant", "a") == ["acme"]
    of_acme = ("--tenant", "acme")
    assert await completed(line, *given, "enable", *of_acme, "d") == ["demo"]
    assert await completed(line, *given, "why", *of_acme, "demo/n") == ["demo/nightly"]
    assert await completed(line, *given, "why", *of_acme, "acme/d") == ["acme/demo/"]


async def test_shell_completes_nothing_without_a_bus(tmp_path: Path) -> None:
    line = command_line(tmp_path, "nats://127.0.0.1:1")
    assert await completed(line, "admin", "pause", "a") == []
