"""Connect a host written in Python to the scheduler, with what such a connection needs set right.

The defaults of the client library give up after two minutes of outage, find a frozen server after
four, and receive replies under a prefix that the shipped ``nats.conf`` gives to nobody.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from logging import getLogger
from pathlib import Path
from urllib.parse import urlsplit

import nats.errors
from msgspec import Struct
from nats.aio.client import Client, RawCredentials

from contracts.context import InvalidKeySet, Key, parse_key_set, signing_key
from contracts.shared.credentials import describe_identity, read_creds, read_nkey_seed, tls_context
from contracts.subjects import HOST_AUDIENCE
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests, SigningKeyProvider

__all__ = ["BusLogin", "CannotConnectError", "SchedulerClient", "connect_scheduler"]

log = getLogger(__name__)

CONNECT_TIMEOUT_S = 15.0
PING_INTERVAL_S, UNANSWERED_PINGS = 3, 2
RECONNECT_WAIT_S = 1
SCHEMES = frozenset({"nats", "tls", "ws", "wss"})


class CannotConnectError(Exception):
    """No server can be reached, or it refuses the login; the message is one line."""


class BusLogin(Struct, frozen=True, kw_only=True):
    """As whom to connect: one kind of credentials, and perhaps a client certificate.

    ``inbox_prefix`` must be the one that the server's permissions give to this user.
    """

    user: str | None = None
    password: str | None = None
    token: str | None = None
    creds_file: Path | None = None
    nkey_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    cert_key_file: Path | None = None
    inbox_prefix: str = "_INBOX_runner"


class SchedulerClient:
    """A connection on which any install can be spoken for."""

    def __init__(self, requests: SignedRequests) -> None:
        self._requests = requests

    def host(self, install: InstallContext, traceparent: str | None = None) -> SchedulerHost:
        """Return the operations on behalf of one install."""
        return SchedulerHost(self._requests, install, traceparent)


@asynccontextmanager
async def connect_scheduler(
    servers: str | Sequence[str],
    *,
    key_file: Path,
    login: BusLogin = BusLogin(),  # noqa: B008 - frozen
    settings: RequestSettings = RequestSettings(),  # noqa: B008 - frozen
) -> AsyncIterator[SchedulerClient]:
    """Provide a client within the context; it reconnects without end.

    ``servers`` are URLs of the NATS servers; ``key_file`` is the JWK set to sign with, read again
    when it changes.

    Raises:
        CannotConnectError: no server is there after 15 s, it refuses the login, or ``servers`` has
            what is no URL of one.
        contracts.context.InvalidKeySet: no key of the file can sign for the scheduler.
        contracts.shared.credentials.CredentialsUnusableError: a file of the login cannot be used.
        OSError: the key file cannot be read.
    """
    provide_key = signing_key_of(key_file)
    connection = await _connect([servers] if isinstance(servers, str) else list(servers), login)
    try:
        yield SchedulerClient(SignedRequests(connection, provide_key, settings))
    finally:
        await connection.close()


def signing_key_of(file: Path) -> SigningKeyProvider:
    """Return what reads the signing key of a file again when it changes.

    A file that becomes unreadable leaves the last key in use. Raises InvalidKeySet or OSError when
    it cannot be used at first.
    """
    state = (file.stat().st_mtime_ns, _read_key(file))

    def current() -> Key:
        nonlocal state
        try:
            changed = file.stat().st_mtime_ns
            if changed != state[0]:
                state = (changed, _read_key(file))
        except (OSError, InvalidKeySet) as error:
            log.warning("%s; the last key stays in use", error)
        return state[1]

    return current


def _read_key(file: Path) -> Key:
    try:
        return signing_key(parse_key_set(file.read_bytes()), HOST_AUDIENCE)
    except InvalidKeySet as error:
        raise InvalidKeySet(f"{file}: {error}") from None


async def _connect(servers: list[str], login: BusLogin) -> Client:
    # The library fails at its own end of the connection where it could not even begin one.
    for url in servers or [""]:
        if not _is_server_url(url):
            raise CannotConnectError(f"{_name(url)!r} is no URL of a NATS server, nats://HOST:PORT")
    client, tls = Client(), _tls(login)
    creds = RawCredentials(read_creds(login.creds_file)) if login.creds_file else None
    seed = read_nkey_seed(login.nkey_file) if login.nkey_file else None
    names, refused = ", ".join(map(_name, servers)), "authorization violation"

    async def on_error(error: Exception) -> None:
        if not client.is_connected and refused in str(error).lower():
            identity = describe_identity(login.user, login.token or creds or seed)
            raise CannotConnectError(f"NATS at {names} refused {identity}")
        log.warning("NATS: %s", error)

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(
                servers=servers,
                name="ext-scheduler client",
                user=login.user,
                password=login.password,
                token=login.token,
                user_credentials=creds,
                nkeys_seed_str=seed,
                tls=tls,
                inbox_prefix=login.inbox_prefix,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=UNANSWERED_PINGS,
                error_cb=on_error,
            )
    except BaseException as error:
        await client.close()
        if isinstance(error, TimeoutError):
            reason = client.last_error or "no answer"
            raise CannotConnectError(f"no NATS server at {names}: {reason}") from None
        if isinstance(error, OSError | nats.errors.Error):
            raise CannotConnectError(f"NATS at {names}: {error}") from None
        raise
    return client


def _tls(login: BusLogin) -> ssl.SSLContext | None:
    files = (login.ca_file, login.cert_file, login.cert_key_file)
    return tls_context(*("" if file is None else str(file) for file in files))


def _is_server_url(url: str) -> bool:
    """Return whether the library can read a server's URL, which may lack its scheme."""
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool((parts.hostname or "").strip()) and port != 0


def _name(url: str) -> str:
    """Return a server's address without the user information that its URL may carry."""
    return url.rpartition("@")[2].removeprefix("nats://").removeprefix("tls://")
