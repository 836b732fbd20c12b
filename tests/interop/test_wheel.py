"""The package as a stranger installs it: a wheel in a fresh environment, without this checkout."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import asyncpg
import pytest

from contracts.context import generate_key, key_set_document
from contracts.subjects import HOST_AUDIENCE
from devstack.embedded import embedded_nats
from tests.support.platform import install
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS
from tests.support.sources import ROOT
from tests.support.wheel import PIP, fresh_environment, run

GUIDE = (ROOT / "docs" / "runner-integration.md").read_text()
HEAVY = {"aiohttp", "asyncpg", "croniter", "pgqueuer", "prometheus_client", "typer", "uvloop"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an environment with the wheel and its base dependencies only."""
    directory = tmp_path_factory.mktemp("fresh")
    fresh_environment(directory)
    (directory / "client.py").write_text(example())
    return directory


def example() -> str:
    [program] = re.findall(r"^```python client\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return str(program)


def test_the_base_has_few_dependencies(fresh: Path) -> None:
    listed = json.loads(
        run(
            *(fresh / "env/bin/python", *PIP),
            *("list", "--format", "json"),
            directory=fresh,
        )
    )
    names = {each["name"] for each in listed} - {"pip", "setuptools", "ext-scheduler"}
    assert len(names) <= 12, names


def test_the_client_imports_nothing_of_the_service(fresh: Path) -> None:
    program = (
        "import json, sys; import runner_bridge.connect; print(json.dumps(sorted(sys.modules)))"
    )
    modules = json.loads(run(fresh / "env/bin/python", "-c", program, directory=fresh))
    assert not HEAVY & set(modules)
    assert not [name for name in modules if name.startswith("service")]


def test_the_program_of_the_guide_is_typed(fresh: Path) -> None:
    python = fresh / "env/bin/python"
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    run(*mypy, "client.py", directory=fresh)
    wrong = example().replace("endpoint=", "endpiont=").replace("schedule.cron", "schedule.corn")
    (fresh / "wrong.py").write_text(wrong)
    found = run(*mypy, "wrong.py", directory=fresh, status=1)
    assert "endpiont" in found
    assert "corn" in found


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("serve",), "typer is not installed: pip install 'ext-scheduler[service]'"),
        (("demo",), "typer is not installed: pip install 'ext-scheduler[dev]'"),
    ],
)
def test_a_missing_extra_is_told_in_one_line(
    fresh: Path, arguments: tuple[str, ...], line: str
) -> None:
    told = run(fresh / "env/bin/ext-scheduler", *arguments, directory=fresh, status=1)
    assert told == f"ext-scheduler: {line}\n"


async def test_the_program_of_the_guide_runs(
    fresh: Path, database: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    key = generate_key("EdDSA", kid="host", issuer="runner", audiences=[HOST_AUDIENCE])
    for file in (tmp_path / "all.json", fresh / "bridge.json"):
        file.write_bytes(key_set_document([key]))
    installed = await install(pool, tenant_id="acme", materialised=("POST", "/api/report"))
    with embedded_nats(tmp_path / "nats", config=CONFIG, environment=ENVIRONMENT) as server:
        settings = {
            "nats_user": "service",
            "nats_password": PASSWORDS["service"],
            "nats_inbox_prefix": "_INBOX_service",
            "key_set_file": str(tmp_path / "all.json"),
        }
        async with responders(1, tmp_path, database, server.url, **settings):
            process = await asyncio.create_subprocess_exec(
                *(fresh / "env/bin/python", "client.py", server.url, PASSWORDS["runner"]),
                str(installed.install_id),
                cwd=fresh,
                env={**os.environ, "PYTHONPATH": ""},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    outcome, listed = output.decode().splitlines()
    assert outcome == "True None"
    assert "0 2 * * * 20" in listed
