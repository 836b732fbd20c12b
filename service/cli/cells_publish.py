"""Writes the NATS configuration of all cells, and has the servers read it."""

import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import msgspec
from msgspec import Struct

from service.cli import files
from service.cli.cells_file import beside, read_cells
from service.cli.cells_nats import derive
from service.cli.errors import EXIT_UNAVAILABLE, CommandError

RELOAD_TIMEOUT_S = 60.0
READ_LOOKS, READ_LOOK_S = 100, 0.2


class ServerState(Struct, frozen=True):
    """What a NATS server states of itself, as far as it matters here."""

    config_load_time: str


def publish(file: Path) -> None:
    """Write the NATS configuration, and have the servers read it. Raises CommandError."""
    cells = read_cells(file)
    base = files.read(beside(file, cells.nats_base)).decode()
    files.write(beside(file, cells.nats_conf), derive(base, cells).encode(), files.PUBLIC)
    if not cells.reload:
        return
    before = {server: _loaded_at(server) for server in cells.monitoring}
    try:
        done = subprocess.run(
            cells.reload, capture_output=True, text=True, timeout=RELOAD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"reload: {error}") from None
    if done.returncode:
        line = " ".join((done.stderr or done.stdout).split())
        raise CommandError(f"reload: status {done.returncode}: {line}")
    for server, earlier in before.items():
        _await_reload(server, earlier)


def _await_reload(server: str, earlier: str) -> None:
    """Wait until a server has read its configuration again: one that refuses it only logs why."""
    for _ in range(READ_LOOKS):
        if _loaded_at(server) != earlier:
            return
        time.sleep(READ_LOOK_S)
    raise CommandError(f"{server} did not read its new configuration: its log states why")


def _loaded_at(server: str) -> str:
    try:
        answer = urlopen(f"{server}/varz", timeout=RELOAD_TIMEOUT_S)  # noqa: S310 - an operator's own
        with answer:
            return msgspec.json.decode(answer.read(), type=ServerState).config_load_time
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise CommandError(f"{server}: {error}", EXIT_UNAVAILABLE) from None
