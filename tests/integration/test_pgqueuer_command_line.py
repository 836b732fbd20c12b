"""pgqueuer's own command line reads our queue: each command that the operations guide names."""

import re
import subprocess
import sys
from pathlib import Path

import asyncpg

from tests.support.sources import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()
JOB = "INSERT INTO ext_scheduler.pgqueuer (priority, status, entrypoint) VALUES (0, 'queued', 'x')"


async def test_commands_of_pgqueuer_that_the_guide_names_read_the_queue(
    pool: asyncpg.Pool, database: str
) -> None:
    await pool.execute(JOB)
    section = GUIDE.partition("## With pgqueuer's own command line")[2].partition("\n## ")[0]
    first = re.findall(r"`pgq --schema ext_scheduler --pg-dsn postgresql://… (\w+)`", section)
    others = re.findall(r"`([^`]+)`", section.partition("(also ")[2].partition(")")[0])
    assert (len(first), len(others)) == (1, 4)
    said = {words: pgq(database, words) for words in (*first, *others)}
    assert re.search(r"\bx\b[ |]+1\b", said["backlog"])
    assert "All required" in said["verify --expect present"]


def pgq(dsn: str, words: str) -> str:
    """Return what a command prints; fails where it does not succeed."""
    program = Path(sys.executable).with_name("pgq")
    command = [str(program), "--schema", "ext_scheduler", "--pg-dsn", dsn, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
