"""``admin adopt --temporal-command``: each handle is removed first, and by no shell."""

import json
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.cli.admin.adopt import command_name
from tests.support.admin import Admin
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.job_runners import Setting, make_setting
from tests.support.responders import responders

# Writes down what it is told to remove, one a line, and refuses some of it.
PROGRAM = """
import json, sys
with open(sys.argv[1], "a") as file:
    print(json.dumps(sys.argv[2:]), file=file)
sys.exit("not found" if "broken" in sys.argv[-1] else 0)
"""
HOSTILE = "$(touch /tmp/x); 'a b' \"c\" {id} `id`"


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    async with responders(1, tmp_path, database, nats_url):
        yield command_line(tmp_path, nats_url)


@pytest.fixture
async def setting(pool: asyncpg.Pool) -> Setting:
    return await make_setting(pool)


def template(tmp_path: Path) -> str:
    """Return a command that notes what it removes in the file ``removed``."""
    (tmp_path / "remove.py").write_text(PROGRAM)
    words = [sys.executable, str(tmp_path / "remove.py"), str(tmp_path / "removed")]
    return f"{shlex.join(words)} delete --schedule-id {{id}}"


def removed(tmp_path: Path) -> list[list[str]]:
    """Return the arguments of every call of the command so far."""
    file = tmp_path / "removed"
    lines = file.read_text().splitlines() if file.exists() else []
    return sorted(json.loads(each) for each in lines)


def subjects(answer: dict[str, Any]) -> dict[str, str]:
    return {each["subject"]: each["message"] for each in answer["problems"]}


async def test_a_handle_that_cannot_be_removed_leaves_its_schedule(
    line: CommandLine, setting: Setting, tmp_path: Path
) -> None:
    good = await setting.foreign(runner_schedule_id=HOSTILE)
    off = await setting.foreign(runner_schedule_id="temporal-off", enabled=False)
    broken = await setting.foreign(runner_schedule_id="broken")
    option = await setting.foreign(runner_schedule_id="--all")
    bare = await setting.foreign(runner_schedule_id=None)
    command = ("--temporal-command", template(tmp_path))
    words = ("admin", "adopt", "--tenant", "tenant-1", "--json", *command)
    dry = await line(*words, "--dry-run")
    assert dry.status == 1  # two of them are no arguments of a command
    assert {each["runnerScheduleId"] for each in dry.json["handlesRemoved"]} == {
        HOSTILE,
        "temporal-off",
        "broken",
    }
    commands = [shlex.split(each["command"])[-1] for each in dry.json["handlesRemoved"]]
    assert HOSTILE in commands
    assert (removed(tmp_path), await setting.timers()) == ([], set())
    done = await line(*words)
    assert "schedules that could not be adopted: 3" in error_line(done, 1)
    assert done.json["adopted"] == 2
    assert removed(tmp_path) == sorted(
        ["delete", "--schedule-id", each] for each in (HOSTILE, "temporal-off", "broken")
    )
    assert subjects(done.json).keys() == {str(each) for each in (broken, option, bare)}
    assert subjects(done.json)[str(broken)].endswith("exited with status 1: not found")
    assert await setting.timers() == {good}
    (entry,) = (await setting.admin("auditLog", limit=1))["entries"]
    assert entry["op"] == "adopt"
    assert set(entry["changes"]["adopted"]) == {str(good), str(off)}
    assert {each["runnerScheduleId"] for each in entry["changes"]["handles"]} == {
        HOSTILE,
        "temporal-off",
    }
    assert entry["changes"]["handlesRemovedBy"] == Path(sys.executable).name


async def test_released_schedules_without_a_job_are_adopted_by_no_command(
    line: CommandLine, setting: Setting, tmp_path: Path
) -> None:
    """A release half way: the platform has made a job for one of the two."""
    bare, given = await setting.unowned(), await setting.unowned()
    await setting.admin("adopt")
    assert (await setting.admin("release"))["released"] == 2
    handle = "UPDATE tenant_extension_schedule SET runner_schedule_id = 'temporal-1' WHERE id = $1"
    await setting.pool.execute(handle, given)
    words = ("admin", "adopt", "--temporal-command", template(tmp_path), "--json")
    dry = await line.json(*words, "--dry-run")
    assert (dry["adopted"], removed(tmp_path)) == (2, [])
    done = await line.ok(*words)
    assert (done.json["adopted"], done.json["problems"]) == (2, [])
    assert removed(tmp_path) == [["delete", "--schedule-id", "temporal-1"]]
    assert await setting.timers() == {bare, given}
    await setting.admin("release", scheduleId=str(bare))
    assert (await line.ok("admin", "adopt")).err == ""  # there is no job that could be left


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("/usr/bin/temporal schedule delete --schedule-id {id}", "temporal schedule delete"),
        ("temporal --api-key s3cret schedule delete -s {id}", "temporal"),
        ("python remove.py postgresql://me:s3cret@db/x {id}", "python"),
    ],
)
def test_the_audit_names_the_command_without_its_values(template: str, name: str) -> None:
    assert command_name(shlex.split(template)) == name


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("temporal schedule delete", "has no argument {id}"),
        ("{id}", "has no argument {id}"),
        ("temporal 'schedule {id}", "No closing quotation"),
    ],
)
async def test_a_template_without_an_argument_for_the_id_is_refused(
    line: CommandLine, command: str, reason: str
) -> None:
    assert reason in error_line(await line("admin", "adopt", "--temporal-command", command), 2)


async def test_a_missing_program_leaves_every_schedule(line: CommandLine, setting: Setting) -> None:
    id_ = await setting.foreign(runner_schedule_id="temporal-1")
    command = ("--temporal-command", "/nowhere/temporal --schedule-id {id}")
    done = await line("admin", "adopt", *command, "--json")
    assert (done.status, done.json["adopted"]) == (1, 0)
    assert subjects(done.json) == {str(id_): "/nowhere/temporal: No such file or directory"}
    assert await setting.timers() == set()


async def test_the_schedules_of_a_broken_adoption_are_named_on_the_command_line(
    line: CommandLine, setting: Setting
) -> None:
    """As docs/cut-over.md says for handles that were removed before the service was gone."""
    first, second = await setting.foreign(), await setting.foreign()
    await setting.foreign()
    words = ("admin", "adopt", "--schedule-ids", str(first), "--schedule-ids", str(second))
    assert (await line.json(*words))["adopted"] == 2
    assert await setting.timers() == {first, second}


async def test_handles_that_are_left_are_named_as_a_danger(
    line: CommandLine, setting: Setting
) -> None:
    await setting.foreign(runner_schedule_id="temporal-1")
    words = ("admin", "adopt", "--tenant", "tenant-1")
    for dry in (("--dry-run",), ()):
        done = await line.ok(*words, *dry, "--json")
        assert done.json["handlesInAll"] == 1
        assert "1 handle is not removed by this command" in done.err
    assert (await line.ok(*words)).err == ""


async def test_a_named_schedule_that_is_not_there_is_a_problem(setting: Setting) -> None:
    id_, missing, elsewhere = await setting.foreign(), uuid4(), await setting.foreign()
    ids = [str(id_), str(missing)]
    answer = await setting.admin("adopt", scheduleIds=ids)
    assert (answer["adopted"], subjects(answer)) == (1, {str(missing): "Schedule not found"})
    # Those that were adopted before are there: asking again is no mistake.
    assert subjects(await setting.admin("adopt", scheduleIds=ids)) == subjects(answer)
    other = Admin(setting.admin.dispatcher, tenant_id="tenant-2")
    answer = await other("adopt", scheduleIds=[str(elsewhere)])
    assert (answer["adopted"], subjects(answer)) == (0, {str(elsewhere): "Schedule not found"})


async def test_only_the_named_schedules_are_adopted(setting: Setting) -> None:
    id_, other = await setting.foreign(), await setting.foreign()
    answer = await setting.admin("adopt", scheduleIds=[str(id_)])
    assert (answer["adopted"], await setting.timers()) == (1, {id_})
    assert (await setting.admin("getSchedule", scheduleId=str(other)))["schedule"][
        "drivenBy"
    ] == "other"
    nothing = await setting.admin("adopt", scheduleIds=[])
    assert (nothing["adopted"], await setting.timers()) == (0, {id_})
