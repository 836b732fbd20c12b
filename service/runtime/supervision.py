"""What a process reports to systemd: ready, alive, stopping (the protocol of sd_notify(3)).

Nothing happens where the process was not started by systemd with ``Type=notify``.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from logging import getLogger

log = getLogger(__name__)


@asynccontextmanager
async def supervised(environment: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Report ready, keep the watchdog fed from the event loop, and report stopping at the end.

    A loop that no longer turns feeds no watchdog: the supervisor then restarts the process.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        yield
        return
    _send(address, "READY=1")
    feeding = asyncio.create_task(_feed(address, _watchdog_interval_s(environment)))
    try:
        yield
    finally:
        feeding.cancel()
        _send(address, "STOPPING=1")


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    """Return half of what systemd allows between two signs of life, None where it asks for none."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    asked = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2e6 if asked and microseconds.isdecimal() else None


async def _feed(address: str, interval_s: float | None) -> None:
    while interval_s is not None:
        _send(address, "WATCHDOG=1")
        await asyncio.sleep(interval_s)


def _send(address: str, state: str) -> None:
    # An address that begins with @ is in the abstract namespace.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(state.encode(), target)
    except OSError as error:
        log.warning("supervisor not notified (%s): %s", state, error)
