"""Addresses of servers: which are well-formed, and how they are shown without their secrets.

Only what was parsed is ever shown: an address that is not well-formed may hold a password anywhere.
"""

import re
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

MASK = "***"
ENCODE_HINT = (
    "percent-encode special characters in user and password (`@` as %40, `/` as %2F, `%` as %25)"
)
MAX_PORT = 65_535
SHOWN_PARAMETERS = {
    *("application_name", "client_encoding", "connect_timeout", "database", "dbname", "host"),
    *("port", "service", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert"),
    *("target_session_attrs", "timezone", "user"),
}
"""Parameters of a database URL that hold no secret; the values of all others are masked."""

_USER = r"(?:[^\s\x00-\x1f\x7f/@:?#%\[\],]|%[0-9A-Fa-f]{2})*"
_PASSWORD = r"(?:[^\s\x00-\x1f\x7f/@?#%\[\]]|%[0-9A-Fa-f]{2})*"  # noqa: S105 - a pattern
_LOGIN = rf"(?:(?P<user>{_USER})(?P<colon>:(?P<password>{_PASSWORD}))?@)?"
_NAME = r"(?:\[[0-9A-Fa-f:.]+(?:%25\w+)?\]|[A-Za-z0-9._~-]+)"
_HOST = rf"{_NAME}(?P<port>:\d{{1,5}})?"
_PATH = r"(?:[^\s\x00-\x1f\x7f/@?#%]|%[0-9A-Fa-f]{2}|/)*"
_DATABASE_HOST = rf"(?:{_NAME}|(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{{2}})*)(?::\d{{1,5}})?"
_DATABASE = re.compile(
    rf"(?P<scheme>postgres(?:ql)?)://{_LOGIN}(?P<hosts>{_DATABASE_HOST}(?:,{_DATABASE_HOST})*)"
    r"(?P<path>/(?:[^\s\x00-\x1f\x7f/@?#%]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?P<query>(?:\w+=[^\s\x00-\x1f\x7f@?#&=]*(?:&(?!$)|$))*))?"
)
_NATS = re.compile(rf"(?:(?P<scheme>nats|tls|ws|wss)://{_LOGIN})?(?P<host>{_HOST})/?")
_HTTP = re.compile(rf"(?P<scheme>https?)://{_LOGIN}(?P<host>{_HOST})(?P<path>(?:/{_PATH})?)")


class NatsLogin(Struct, frozen=True):
    """User information of a NATS URL, decoded: a user and a password, or a token alone."""

    user: str | None = None
    password: str | None = None
    token: str | None = None


class NatsServers(Struct, frozen=True):
    """The servers of a list of NATS URLs, without user information, and the one login for all."""

    urls: tuple[str, ...]
    login: NatsLogin | None


class MalformedAddressError(ValueError):
    """An address is not well-formed; the message quotes nothing of it."""


def check_database_url(url: str) -> None:
    """Raise MalformedAddressError where the URL is not a well-formed one of PostgreSQL."""
    _match_database(url)


def check_http_url(url: str) -> None:
    """Raise MalformedAddressError where the URL is not a well-formed base URL."""
    if not re.match(r"https?://", url):
        raise MalformedAddressError("must begin with http:// or https://")
    _match_http(url)


def parse_nats_urls(urls: str) -> NatsServers:
    """Split a comma-separated list of NATS URLs. Raises MalformedAddressError."""
    matches = [_match_nats(url.strip()) for url in urls.split(",")]
    logins = {_login(match) for match in matches} - {None}
    if len(logins) > 1:
        raise MalformedAddressError("all servers need one and the same user and password")
    servers = [f"{match['scheme'] or 'nats'}://{match['host']}" for match in matches]
    return NatsServers(tuple(servers), next(iter(logins), None))


def redact_database_url(url: str) -> str:
    """Return the URL with its secrets masked; nothing of one that is not well-formed."""
    try:
        match = _match_database(url)
    except MalformedAddressError:
        return MASK
    query = match["query"]
    shown = "?" + "&".join(map(_redact_parameter, query.split("&"))) if query else ""
    login = "" if match["user"] is None else f"{match['user']}{_masked_password(match)}@"
    return f"{match['scheme']}://{login}{match['hosts']}{match['path'] or ''}{shown}"


def redact_nats_urls(urls: str) -> str:
    """Return the URLs with passwords and tokens masked; nothing of a malformed list."""
    try:
        return ",".join(_redact_nats(_match_nats(url.strip())) for url in urls.split(","))
    except MalformedAddressError:
        return MASK


def redact_http_url(url: str) -> str:
    """Return the URL with its user information masked; nothing of a malformed one."""
    try:
        match = _match_http(url)
    except MalformedAddressError:
        return MASK
    login = "" if match["user"] is None else f"{MASK}@"
    return f"{match['scheme']}://{login}{match['host']}{match['path']}"


def _match(pattern: re.Pattern[str], url: str, form: str) -> re.Match[str]:
    match = pattern.fullmatch(url)
    if match is None or any(int(port) > MAX_PORT for port in _ports(match)):
        raise MalformedAddressError(f"must have the form {form}; {ENCODE_HINT}")
    return match


def _match_database(url: str) -> re.Match[str]:
    return _match(_DATABASE, url, "postgresql://USER:PASSWORD@HOST:PORT/DATABASE")


def _match_http(url: str) -> re.Match[str]:
    return _match(_HTTP, url, "http://HOST:PORT or https://HOST/PATH")


def _match_nats(url: str) -> re.Match[str]:
    return _match(_NATS, url, "nats://USER:PASSWORD@HOST:PORT (several separated by commas)")


def _ports(match: re.Match[str]) -> list[str]:
    hosts: dict[str, Any] = match.groupdict()
    return re.findall(r":(\d+)(?:,|$)", hosts.get("hosts") or hosts.get("host") or "")


def _redact_parameter(parameter: str) -> str:
    name, _, value = parameter.partition("=")
    return f"{name}={value if name.lower() in SHOWN_PARAMETERS else MASK}"


def _masked_password(match: re.Match[str]) -> str:
    return "" if match["colon"] is None else f":{MASK}"


def _redact_nats(match: re.Match[str]) -> str:
    scheme = f"{match['scheme']}://" if match["scheme"] else ""
    if match["user"] is None:
        return f"{scheme}{match['host']}"
    user = "" if match["colon"] is None else match["user"]  # alone it is a token
    return f"{scheme}{user}{_masked_password(match) or MASK}@{match['host']}"


def _login(match: re.Match[str]) -> NatsLogin | None:
    if match["user"] is None:
        return None
    if match["colon"] is None:
        return NatsLogin(token=unquote(match["user"])) if match["user"] else None
    return NatsLogin(user=unquote(match["user"]), password=unquote(match["password"]))
