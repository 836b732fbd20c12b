"""The program as a whole: help, version, completion, interruption, closed pipes, terminals."""

import asyncio
import os
import pty
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from contracts.subjects import SCHEDULER_QUEUE, admin_subject
from devstack.embedded import embedded_nats
from service.cli.errors import STATUS_OF
from service.cli.main import program
from tests.support.callers import connected
from tests.support.command_line import CommandLine, CommandResult, command_line, error_line
from tests.support.eventually import eventually
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "command-line.md"
PROGRAM = Path(__file__).parents[2] / "service"


@pytest.fixture
def line(tmp_path: Path, nats_url: str) -> CommandLine:
    return command_line(tmp_path, nats_url)


async def test_help_shows_examples(line: CommandLine) -> None:
    for words in ([], ["admin"], ["token", "mint"], ["keys", "rotate"], ["admin", "update"]):
        result = await line.ok(*words, "--help")
        assert "Examples:" in result.out
        assert "ext-scheduler " in result.out
    assert (await line("admin")).status == 2
    assert (await line.ok("--version")).out.startswith("ext-scheduler 0.")


def commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Yield all that can be typed, groups included, and what it stands for."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{words} {name}", command
            if hasattr(command, "commands"):
                yield from commands(command, f"{words} {name}")


def test_every_command_has_an_example() -> None:
    listed = dict(commands(typer.main.get_command(program), "ext-scheduler"))
    assert len(listed) > 30
    for words, command in listed.items():
        expected = f"{command.help}{command.epilog}"
        assert "Examples:" in expected, words
        assert words in expected.partition("Examples:")[2], words


async def test_a_shell_completes_commands(line: CommandLine) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from service.cli.main import main; main()",
        env={
            **line.environment(line.settings),
            "_EXT_SCHEDULER_COMPLETE": "complete_bash",
            "COMP_WORDS": "ext-scheduler admin run",
            "COMP_CWORD": "2",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["run-now", "run"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["admin", "lst"], "Did you mean 'list'?"),
        (["admin", "list", "--tenannt", "x"], "--tenant"),
        (["admin", "show"], "Missing argument"),
        (["serve", "--role", "captain"], "captain"),
        (["--config", "missing.toml", "serve"], "missing.toml: No such file"),
        (["admin", "register", "missing.json", "--tenant", "a", "--content-hash", "x"], "missing"),
        (["admin", "register", "keys.json", "--tenant", "a", "--content-hash", "x"], "a manifest"),
        (["admin", "register", "bad.json", "--tenant", "a", "--content-hash", "x"], "truncated"),
        (["admin", "register", "secret.json", "--tenant", "a"], "one of --component, --bundle"),
        (["admin", "import", "keys.json", "--tenant", "a"], "not an exported document"),
        (["admin", "import", "bad.json"], "not an exported"),
        (["admin", "create", "x", "* * * * *", "--payload", "{"], "payload: not JSON"),
        (["admin", "create", "x", "* * * * *", "--payload", "@missing.json"], "missing.json: No"),
        (["keys", "generate", "--private", "runner.json"], "--force"),
        (["keys", "generate", "--private", "no/such/dir.json"], "No such file"),
        (["keys", "generate", "--private", "x", "--audience", "moon"], "unknown audience 'moon'"),
        (["keys", "generate", "--private", "x", "--algorithm", "none"], "alg must be"),
        (["keys", "rotate", "--private", "x", "--public", "keys.json"], "x: No such file"),
        (["keys", "rotate", "--private", "bad.json", "--public", "keys.json"], "bad.json: key set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_usage_error_is_one_line(
    line: CommandLine, words: list[str], expected: str
) -> None:
    (line.home / "bad.json").write_text('{"name": ')
    (line.home / "secret.json").write_text('{"name": "n", "publisher": "p", "version": "1"}')
    assert expected in error_line(await line(*words), 2)


async def test_an_unreachable_database_is_one_line(line: CommandLine) -> None:
    url = "postgresql://me:hidden-word@127.0.0.1:9/x"
    message = error_line(await line("migrate", database_url=url), 8)
    assert "Connect call failed" in message
    assert "hidden-word" not in message


@pytest.mark.parametrize("url", ["postgresql://me:hidden-word@127.0.0.1:none/x", "nonsense"])
async def test_a_malformed_database_url_is_a_usage_error(line: CommandLine, url: str) -> None:
    message = error_line(await line("migrate", database_url=url), 2)
    assert "DATABASE_URL: must have the form postgresql://" in message
    assert "hidden-word" not in message


async def test_settings_are_read_from_a_file(line: CommandLine) -> None:
    (line.home / "settings.toml").write_text('admin_key_file = "nowhere.json"\n')
    line = CommandLine(line.home, {})
    result = await line("--config", "settings.toml", "admin", "list")
    assert error_line(result, 2) == "nowhere.json: No such file or directory"
    (line.home / "settings.toml").write_text("admin_key = 1\n")
    assert "admin_key" in error_line(await line("--config", "settings.toml", "admin", "list"), 2)


async def test_an_unreadable_file_is_named(line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    result = await line("admin", "list", "--key", "loop.json")
    assert error_line(result, 2) == "loop.json: Too many levels of symbolic links"


@asynccontextmanager
async def silent_service(nats_url: str) -> AsyncIterator[asyncio.Event]:
    """Receive list requests without answering; yield an event that is set by the first one."""
    requested = asyncio.Event()

    async def keep_silent(_: object) -> None:
        requested.set()

    async with connected(nats_url) as client:
        subject = admin_subject("listSchedules")
        await client.subscribe(subject, queue=SCHEDULER_QUEUE, cb=keep_silent)
        await client.flush()
        yield requested


async def test_ctrl_c_ends_a_waiting_command_at_once(line: CommandLine, nats_url: str) -> None:
    async with silent_service(nats_url) as requested:
        process = await line.start("admin", "list", "--timeout", "600")
        await asyncio.wait_for(requested.wait(), 60)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    result = CommandResult(process.returncode or 0, out.decode(), err.decode())
    assert error_line(result, 130) == "interrupted"


async def test_ctrl_c_is_one_line_at_any_moment(line: CommandLine, nats_url: str) -> None:
    """A command that waits for an answer is interrupted at random moments of its life."""
    random_moments = random.Random(7)
    interrupted = 0
    async with silent_service(nats_url) as requested:
        started = time.monotonic()
        process = await line.start("admin", "list", "--timeout", "600")
        await asyncio.wait_for(requested.wait(), 60)
        startup_s = time.monotonic() - started
        process.send_signal(signal.SIGINT)
        await process.communicate()
        for _ in range(12):
            process = await line.start("admin", "list", "--timeout", "600")
            assert process.stdout is not None
            with suppress(TimeoutError):
                # The command prints nothing: this ends at the chosen moment, unless it fails.
                await asyncio.wait_for(
                    process.stdout.read(), random_moments.uniform(0.1, 1.2) * startup_s
                )
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
            # Interrupted while it imports its module "site", Python ends with 1 and these words.
            starting = process.returncode == 1 and b"init_import_site" in err
            if starting or process.returncode == -signal.SIGINT:
                # Python itself was still starting: no line of ours may have been interrupted.
                # It may have looked for our module, and say where.
                assert f'File "{PROGRAM}' not in err.decode()
                continue
            assert (process.returncode, out) == (130, b"")
            assert err == b"ext-scheduler: interrupted\n"
            interrupted += 1
    assert interrupted > 0


async def test_a_closed_pipe_prints_no_error(line: CommandLine) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    gone = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        "migrate",
        "--sql",
        env=line.environment(line.settings),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    _, err = await gone.communicate()
    assert (gone.returncode, err) == (141, b"")


async def test_a_full_disk_is_one_line(line: CommandLine) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        "migrate",
        "--sql",
        env=line.environment(line.settings),
        stdout=full,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(full)
    _, err = await process.communicate()
    result = CommandResult(process.returncode or 0, "", err.decode())
    assert "No space left on device" in error_line(result, 1)


async def on_a_terminal(line: CommandLine, *words: str, typed: str = "", until: str = "") -> str:
    """Run a command with a terminal for everything; return what was shown on it."""
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        *words,
        cwd=line.home,
        env=line.environment(line.settings),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    os.set_blocking(master, False)
    shown = bytearray()

    def seen() -> bool:
        with suppress(OSError):  # nothing there, or the last process has left the terminal
            shown.extend(os.read(master, 65536))
        return until.encode() in shown

    try:
        await eventually(seen)
        os.write(master, typed.encode())
        await asyncio.wait_for(process.wait(), 60)
        seen()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        os.close(master)
    return f"{shown.decode()}\nstatus {process.returncode}"


async def test_a_terminal_shows_what_a_command_waits_for(line: CommandLine) -> None:
    shown = await on_a_terminal(line, "admin", "list", "--timeout", "5", until="waiting for list")
    assert "waiting for listSchedules … " in shown
    assert "No scheduler service is running" in shown
    assert shown.endswith("status 8")


async def test_a_removal_asks_for_confirmation_on_a_terminal(line: CommandLine) -> None:
    question = "Remove all installs, schedules and runs of tenant acme?"
    shown = await on_a_terminal(line, "admin", "purge", "acme", typed="n\n", until=question)
    assert "aborted" in shown
    assert shown.endswith("status 1")


def test_every_status_is_documented() -> None:
    text = DOCUMENT.read_text()
    for status in {*STATUS_OF.values(), 0, 1, 2, 130, 141}:
        assert f"| {status} |" in text
    for code in STATUS_OF:
        assert f"`{code.value}`" in text


async def test_a_missing_bus_permission_is_reported(line: CommandLine, tmp_path: Path) -> None:
    with embedded_nats(tmp_path / "nats", config=CONFIG, environment=ENVIRONMENT) as server:
        connection = {
            "nats_url": server.url,
            "nats_user": "runner",
            "nats_password": PASSWORDS["runner"],
            "nats_inbox_prefix": "_INBOX_runner",
        }
        result = await line("admin", "list", "--timeout", "2", **connection)
        assert "this NATS user may not call listSchedules" in error_line(result, 4)
        result = await line("admin", "list", **{**connection, "nats_password": "wrong-word"})
        assert "refused user 'runner'" in error_line(result, 8)
        assert "wrong-word" not in result.err
