"""A worker as a process of its own, for benchmarks that fire."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.embedded import Nats
from devstack.embedded.servers import free_port

WORKER = (sys.executable, "-m", "service", "serve", "--role", "worker")


@contextmanager
def worker(
    key_file: Path, database: str, bus: Nats, processes: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker with production settings within the context, once it is ready."""
    port = free_port()
    settings = {
        "database_url": database,
        "nats_url": bus.url,
        "key_set_file": str(key_file),
        "runner_key_file": str(key_file),
        "log_level": "warning",
        "http_port": str(port),
    }
    variables = {f"EXT_SCHEDULER_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [*WORKER, "--processes", str(processes)],
        env={**os.environ, **variables},
    )
    try:
        _await_ready(process, f"http://127.0.0.1:{port}/readyz")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _await_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError("the worker did not become ready")
