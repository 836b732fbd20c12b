"""The file by which commands in another terminal find the running stack."""

from pathlib import Path

import msgspec
from msgspec import Struct

from devstack.embedded.directories import has_owner
from devstack.errors import StackError
from devstack.extension import InstalledExtension
from devstack.places import CACHE

STATE_FILE = CACHE / "dev.json"
"""Describes the stack that was started last."""


class DevState(Struct, frozen=True, kw_only=True):
    """Addresses and ids of a running stack; ``operator_password`` is that of the NATS user."""

    home: str
    runner_url: str
    nats_url: str
    operator_password: str
    extension: InstalledExtension

    @property
    def operator_key_file(self) -> Path:
        """Return the file of the key that signs admin requests."""
        return Path(self.home) / "operator.json"


def write(state: DevState) -> None:
    """Replace the file, readable by its owner only."""
    STATE_FILE.parent.mkdir(parents=True, exist_ok=True)
    partial = STATE_FILE.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(STATE_FILE)


def read() -> DevState:
    """Return the state of the running stack. Raises StackError where there is none."""
    try:
        state = msgspec.json.decode(STATE_FILE.read_bytes(), type=DevState)
    except (FileNotFoundError, msgspec.MsgspecError):
        state = None
    if state is None or not has_owner(Path(state.home)):
        raise StackError("no development stack is running: start one with `ext-scheduler dev`")
    return state


def remove(home: Path) -> None:
    """Remove the file, unless another stack has replaced it."""
    try:
        state = msgspec.json.decode(STATE_FILE.read_bytes(), type=DevState)
    except (FileNotFoundError, msgspec.MsgspecError):
        return
    if state.home == str(home):
        STATE_FILE.unlink(missing_ok=True)
