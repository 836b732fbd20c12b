"""What an administrator sees on a terminal: tables within its width, colour, local times, words."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import asyncpg
import pytest
from msgspec import Struct

from tests.support.admin import Admin, register
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.host import dispatcher
from tests.support.responders import responders

NAME = "a-long-name-of-a-report-that-is-made-every-night"


NO_OTHERS: Mapping[str, str] = {}
WIDE = 320
"""Columns that are enough for every list."""


class Shown(Struct, frozen=True):
    """A command line with one schedule of tenant acme."""

    line: CommandLine
    schedule_id: str

    async def on_terminal(
        self, *words: str, columns: int = WIDE, environment: Mapping[str, str] = NO_OTHERS
    ) -> tuple[str, str]:
        """Run a command that succeeds on a terminal; return what it printed, and its errors."""
        return await asyncio.to_thread(self._run, words, columns, environment)

    def _run(
        self, words: tuple[str, ...], columns: int, environment: Mapping[str, str]
    ) -> tuple[str, str]:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        inherited = self.line.environment(self.line.settings)
        for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
            inherited.pop(name, None)
        with subprocess.Popen(
            [sys.executable, "-m", "service", *words],
            cwd=self.line.home,
            env={**inherited, "TERM": "xterm-256color", "TZ": "Asia/Tokyo", **environment},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=subprocess.PIPE,
        ) as process:
            os.close(slave)
            out = b"".join(iter(lambda: read(master), b""))
            assert process.stderr is not None
            errors = process.stderr.read().decode()
            assert process.wait() == 0, errors
        os.close(master)
        return out.decode(), errors


def read(terminal: int) -> bytes:
    """Read from the other end of a terminal; nothing at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


@pytest.fixture
async def shown(
    pool: asyncpg.Pool, tmp_path: Path, database: str, nats_url: str
) -> AsyncIterator[Shown]:
    admin = Admin(dispatcher(pool), tenant_id="acme")
    install_id = (await register(admin, "1.0.0", "/a"))["installId"]
    body = {"endpoint": "/a", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "name": NAME}
    created = await admin("createSchedule", installId=install_id, **body)
    async with responders(1, tmp_path, database, nats_url):
        yield Shown(command_line(tmp_path, nats_url), created["scheduleId"])


@pytest.mark.parametrize("columns", [40, 80, 132, WIDE])
async def test_a_table_fits_the_terminal_and_says_what_it_leaves_out(
    shown: Shown, columns: int
) -> None:
    out, errors = await shown.on_terminal("admin", "list", columns=columns)
    lines = plain(out)
    assert max(map(len, lines)) <= columns
    assert any(line.startswith(f"{shown.schedule_id[:8]} ") for line in lines)
    if columns == WIDE:
        assert errors == ""
        assert shown.schedule_id not in out
        assert NAME in out
        assert "At 09:00, Monday through Friday, Europe/Berlin time" in out
    else:
        assert "no room for" in errors
        assert "TIMEZONE" in errors


async def test_a_narrow_history_tells_which_schedule_and_what_went_wrong(shown: Shown) -> None:
    await shown.line.ok("admin", "run-now", shown.schedule_id)
    out, _ = await shown.on_terminal("admin", "history", columns=80)
    assert shown.schedule_id[:8] in out
    assert "ERROR" in out
    audit, _ = await shown.on_terminal("admin", "audit", columns=80)
    assert "name" in audit
    assert "{" not in audit


async def test_colour_is_for_terminals_without_no_color(shown: Shown) -> None:
    await shown.line.ok("admin", "pause", "acme")
    coloured, _ = await shown.on_terminal("admin", "list", columns=WIDE)
    assert "\x1b[33mtenant_paused" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for words in (("list",), ("why", shown.schedule_id)):
            out, _ = await shown.on_terminal("admin", *words, environment=environment)
            assert "tenant_paused" in out
            assert "\x1b" not in out
    why, _ = await shown.on_terminal("admin", "why", shown.schedule_id)
    assert "\x1b[31m! The tenant is paused" in why
    piped = await shown.line.ok("admin", "list")
    assert "\x1b" not in piped.out
    assert shown.schedule_id in piped.out


async def test_times_are_local_on_a_terminal_and_in_utc_elsewhere(shown: Shown) -> None:
    next_run = (await shown.line.json("admin", "show", shown.schedule_id))["schedule"]["nextRunAt"]
    in_utc, hour = next_run[:19].replace("T", " "), int(next_run[11:13])
    assert in_utc in (await shown.line.ok("admin", "list")).out

    listed, _ = await shown.on_terminal("admin", "list", columns=WIDE)
    assert re.search(rf"\b{hour + 9:02}:00:00, in (a|\d+) ", listed)  # Tokyo is nine hours ahead
    utc, _ = await shown.on_terminal("admin", "list", "--utc", columns=WIDE)
    assert re.search(rf"\b{hour:02}:00:00, in (a|\d+) ", utc)
    elsewhere = (await shown.line.ok("admin", "list", "--timezone", "Asia/Tokyo")).out
    assert f"{hour + 9:02}:00:00 JST" in elsewhere

    detail = (await shown.line.ok("admin", "show", shown.schedule_id)).out
    assert re.search(rf"NEXT RUN AT +{in_utc} UTC \(in (a|\d+) ", detail)
    assert re.search(r"WORDS +At 09:00, Monday through Friday, Europe/Berlin time", detail)
    local, _ = await shown.on_terminal("admin", "show", shown.schedule_id)
    assert re.search(
        rf"NEXT RUN AT +{in_utc} UTC \(\S+ {hour + 9:02}:00:00 JST, in (a|\d+) ", local
    )
    unknown = await shown.line("admin", "list", "--timezone", "Mars")
    assert error_line(unknown, 2) == "unknown time zone 'Mars'"


async def test_json_is_the_same_on_a_terminal(shown: Shown) -> None:
    words = ("admin", "list", "--json")
    out, _ = await shown.on_terminal(*words, columns=40)
    assert out.replace("\r\n", "\n") == (await shown.line.ok(*words)).out
