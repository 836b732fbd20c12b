"""What a command imports before it begins: each needs its own libraries only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.context import key_set_document
from service.cli.lazy_group import COMMANDS, load
from tests.support.keys import OPERATOR_JWK

LIBRARIES = {"aiohttp", "asyncpg", "croniter", "nats", "pgqueuer", "prometheus_client"}
"""Those that take long to import."""

HELP_NEEDS = {"migrate": {"asyncpg"}, "cron": {"croniter"}}
"""The commands that are little more than their library."""

PROGRAM = """
import json, sys
from service.cli.main import program
try:
    program(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(directory: Path, *arguments: str, status: int = 0, **environment: str) -> set[str]:
    """Run a command that ends so, and return the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    [listed] = [line for line in done.stderr.splitlines() if line.startswith('["')]
    return set(json.loads(listed))


def test_the_help_lists_each_command_as_the_command_describes_itself() -> None:
    for name, lazy in COMMANDS.items():
        assert load(name, lazy).get_short_help_str(limit=200) == lazy.summary


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_are_shown_without_importing_a_command(
    option: str, tmp_path: Path
) -> None:
    modules = imported(tmp_path, option)
    ours = {name for name in modules if name.startswith(("service.", "contracts.", "devstack."))}
    assert not modules & LIBRARIES
    assert len(ours) < 20, sorted(ours)
    assert len(modules) < 500


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("asyncapi",), set()),
        (("--help",), set()),
        *(((name, "--help"), HELP_NEEDS.get(name, set())) for name in COMMANDS),
        (("cron", "0 9 * * *"), {"croniter"}),
    ],
)
def test_a_command_imports_only_its_own_libraries(
    arguments: tuple[str, ...], needed: set[str], tmp_path: Path
) -> None:
    assert imported(tmp_path, *arguments) & LIBRARIES == needed


@pytest.mark.parametrize(
    ("url", "needed"),
    [("nats://127.0.0.1:1", {"nats"}), ("ws://127.0.0.1:1", {"nats", "aiohttp"})],
)
def test_an_admin_command_imports_websockets_only_where_they_are_asked_for(
    url: str, needed: set[str], tmp_path: Path
) -> None:
    (tmp_path / "admin.json").write_bytes(key_set_document([OPERATOR_JWK]))
    (tmp_path / "admin.json").chmod(0o600)
    words = ("admin", "list", "--timeout", "1")
    modules = imported(tmp_path, *words, status=1, EXT_SCHEDULER_NATS_URL=url)
    assert modules & LIBRARIES == needed
