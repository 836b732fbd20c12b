"""People whom a reverse proxy has authenticated: by a header, from allowed addresses alone."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from logging import getLogger
from pathlib import Path

import msgspec
from msgspec import Struct
from multidict import CIMultiDictProxy

from console.people import READ, Person, normalised
from contracts.strict_json import strip_bom

log = getLogger(__name__)


class ConsoleUser(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the table of users: what someone may, by the name that the proxy gives."""

    tenant: str
    permissions: tuple[str, ...] = (READ,)


class _UserTable(Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, ConsoleUser]


class UsersUnusableError(Exception):
    """The table of users or a proxy address cannot be used; the message is one line."""


class TrustedProxies:
    """Reads who sends a request through a proxy. Raises UsersUnusableError.

    The table of users is read again when its file changes; a broken one is reported, and the last
    good one kept.
    """

    def __init__(self, header: str, addresses: Sequence[str], users_file: Path) -> None:
        self._header = header
        self._networks = [_network(address) for address in addresses]
        self._file = users_file
        self._stamp, self._users = self._read()

    def person(self, peer: str | None, headers: CIMultiDictProxy[str]) -> Person | None:
        """Return who sends a request; None where its sender is no proxy, or names no user."""
        names = headers.getall(self._header, [])
        if len(names) != 1 or not self.is_proxy(peer):
            return None
        user = self._current().get(names[0])
        if user is None:
            return None
        return Person(name=names[0], tenant=user.tenant, permissions=normalised(user.permissions))

    def is_proxy(self, peer: str | None) -> bool:
        """Return whether an address is one of the proxies'."""
        try:
            address = ip_address((peer or "").partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _current(self) -> dict[str, ConsoleUser]:
        try:
            if _stamp(self._file) != self._stamp:
                self._stamp, self._users = self._read()
        except (UsersUnusableError, OSError) as error:
            log.warning("new table of users not usable, keeping the last one: %s", error)
        return self._users

    def _read(self) -> tuple[tuple[int, int, int], dict[str, ConsoleUser]]:
        try:
            stamp = _stamp(self._file)
            table = msgspec.toml.decode(strip_bom(self._file.read_bytes()), type=_UserTable)
        except OSError as error:
            raise UsersUnusableError(
                f"users of the console {self._file}: {error.strerror}"
            ) from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise UsersUnusableError(f"users of the console {self._file}: {error}") from None
        return stamp, table.users


def _network(address: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(address)
    except ValueError:
        raise UsersUnusableError(f"not an address or network of a proxy: {address}") from None


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
