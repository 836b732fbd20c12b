"""A file system of a few hundred MiB that can be filled, without any privilege.

It is mounted in a user namespace and reached through ``/proc``. Where the kernel forbids such
namespaces, or there is no ``unshare``, there is none.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from devstack.embedded.postgres import change_owner, run_as, unprivileged_account
from devstack.embedded.servers import Account

HOLD = (
    'mount -t tmpfs -o size="$1",mode=755 tmpfs "$2" && mkdir "$2/data" && echo ready && exec cat'
)
"""It holds the mount as long as its input is open: until the drill ends in any way."""
NAMESPACES = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
FILL = "dd if=/dev/zero of={path} bs=1M 2>/dev/null; dd if=/dev/zero bs=4k >> {path} 2>/dev/null"


class NoSmallDisk(Exception):
    """This machine allows no file system of one's own; the message says why."""


class SmallDisk(Struct, frozen=True):
    """One that is mounted; ``data`` is an empty directory in it, of the servers' account."""

    root: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """Return where a server's data go."""
        return self.root / "data"

    @property
    def free(self) -> int:
        """Return how many bytes are left."""
        status = os.statvfs(self.data)
        return status.f_bavail * status.f_frsize

    def fill(self) -> None:
        """Use up all that is left."""
        run_as(self.account, "/bin/sh", "-c", FILL.format(path=self._ballast))

    def empty(self) -> None:
        """Give back what ``fill`` took."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.root / "ballast"


@contextmanager
def small_disk(mount_point: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount it within the context; only who goes through ``/proc`` sees it. Raises NoSmallDisk."""
    account = unprivileged_account()
    mount_point.mkdir()
    change_owner(mount_point, account)
    command = [*NAMESPACES, "sh", "-c", HOLD, "sh", f"{megabytes}m", str(mount_point)]
    try:
        holder = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
    except FileNotFoundError:
        raise NoSmallDisk("it takes `unshare`, of util-linux") from None
    assert holder.stdout is not None
    with holder:
        said = holder.stdout.readline().strip()
        if said != "ready":
            raise NoSmallDisk(f"it takes a user namespace: {said}")
        try:
            yield SmallDisk(Path(f"/proc/{holder.pid}/root{mount_point}"), account)
        finally:
            holder.kill()
