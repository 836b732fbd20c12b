"""Connecting to PostgreSQL: one host after another, and sessions that have our defaults.

Every connection of ours is made here. What a database, a role or the server's configuration sets
as a default for sessions is theirs to choose, and changes what our statements do.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import asyncpg
import msgspec
from asyncpg import connect_utils
from asyncpg.connect_utils import SessionAttribute
from msgspec import Struct

Address: TypeAlias = tuple[str, int] | str
"""Name and port, or the path of a socket."""

HOST_TIMEOUT_S = 2.5
"""For each host: to connect, to be let in, and to set the session up."""

# Planner methods that a default may have turned off: statements were written for all of them.
_PLANNER_METHODS = (
    *("seqscan", "indexscan", "indexonlyscan", "bitmapscan", "tidscan", "sort", "incremental_sort"),
    *("nestloop", "hashjoin", "mergejoin", "hashagg", "material", "memoize", "gathermerge"),
    *("parallel_append", "parallel_hash", "async_append", "partition_pruning"),
)

PINNED: Mapping[str, str] = MappingProxyType(
    {
        # Limits count the rows of a snapshot taken after the lock, not before.
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        # A listener is idle for hours, and a migration takes its time.
        "idle_session_timeout": "0",
        "transaction_timeout": "0",
        "search_path": "public",
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "standard_conforming_strings": "on",
        "array_nulls": "on",
        "transform_null_equals": "off",
        "quote_all_identifiers": "off",
        "row_security": "on",
        # Compiling a statement takes seconds, for rows that are found in a millisecond.
        "jit": "off",
        "plan_cache_mode": "auto",
        "constraint_exclusion": "partition",
        "from_collapse_limit": "8",
        "join_collapse_limit": "8",
        **dict.fromkeys((f"enable_{method}" for method in _PLANNER_METHODS), "on"),
    }
)
"""What every session of ours has, where the server's release knows the setting."""

# After the connection is made: at its start a server refuses a setting that it does not know, and
# a pooler nearly all. What is answered has been written, also where the default is not to wait for
# the disk; a stricter default stays.
SET_UP = """
SELECT set_config(key, value, false) FROM json_each_text($1::json)
WHERE current_setting(key, true) IS NOT NULL
UNION ALL SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""


class SessionSettings(Struct, frozen=True):
    """``name`` is what the server lists; timeouts in milliseconds, 0 for none.

    With ``index_only`` rows are looked up by index, regardless of the statistics.
    """

    name: str
    lock_timeout_ms: int = 0
    statement_timeout_ms: int = 0
    index_only: bool = False


class NoServerError(OSError):
    """No host of the URL can be used; the message says why, host by host, without a secret."""


class Servers:
    """The hosts of a URL, in the order in which they are tried: the last good one comes first."""

    def __init__(self, url: str) -> None:
        """Raise asyncpg.ClientConfigurationError or ValueError where the URL is malformed."""
        self._url = url
        self.order: list[Address] = _hosts(url)

    async def connect(self, session: SessionSettings, **options: Any) -> asyncpg.Connection:  # noqa: ANN401 - the driver's own
        """Connect to the first host that accepts writes, and set the session up.

        A host that fails, or that a caller stopped waiting for, is tried last from then on.
        Raises NoServerError where there is none, and what the driver raises over a refusal that
        other hosts would repeat, such as a wrong password.
        """
        reasons = []
        for host in list(self.order):
            try:
                connection = await self._connect_to(host, session, options)
            except BaseException as error:
                self._put_last(host)
                if not _is_hosts_own(error):
                    raise
                reasons.append(f"{_name(host)}: {_reason(error)}")
            else:
                self._put_first(host)
                return connection
        raise NoServerError("; ".join(reasons))

    async def _connect_to(
        self, host: Address, session: SessionSettings, options: Mapping[str, Any]
    ) -> asyncpg.Connection:
        name, port = (host, None) if isinstance(host, str) else host
        connection: asyncpg.Connection = await asyncpg.connect(
            self._url,
            **{**options, "timeout": HOST_TIMEOUT_S},
            host=name,
            port=port,
            target_session_attrs=SessionAttribute.primary,
            # A pooler in between takes this at the start of a session, and little else.
            server_settings={"application_name": session.name},
        )
        try:
            settings = msgspec.json.encode(session_defaults(session)).decode()
            await connection.execute(SET_UP, settings, timeout=HOST_TIMEOUT_S)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _put_first(self, host: Address) -> None:
        self.order.remove(host)
        self.order.insert(0, host)

    def _put_last(self, host: Address) -> None:
        self.order.remove(host)
        self.order.append(host)


async def connect(url: str, session: SessionSettings, **options: Any) -> asyncpg.Connection:  # noqa: ANN401 - the driver's own
    """Connect once, for a command; ``options`` are the driver's. Raises as ``Servers`` does."""
    return await Servers(url).connect(session, **options)


def session_defaults(session: SessionSettings) -> dict[str, str]:
    """Return every setting of a session, by name."""
    return {
        **PINNED,
        "lock_timeout": str(session.lock_timeout_ms),
        "statement_timeout": str(session.statement_timeout_ms),
        "idle_in_transaction_session_timeout": str(session.statement_timeout_ms * 2),
        **({"enable_seqscan": "off"} if session.index_only else {}),
    }


def _hosts(url: str) -> list[Address]:
    unset = ("user", "password", "passfile", "database", "ssl", "service", "servicefile")
    parse: Any = vars(connect_utils)["_parse_connect_dsn_and_args"]  # nothing public returns them
    try:
        addresses, _ = parse(
            dsn=url,
            host=None,
            port=None,
            **dict.fromkeys(unset),
            direct_tls=None,
            server_settings=None,
            target_session_attrs=None,
            krbsrvname=None,
            gsslib=None,
        )
    except KeyError:  # the driver's default is the login name
        raise asyncpg.ClientConfigurationError(
            f"the URL names no user, and uid {os.getuid()} has no login name"
        ) from None
    return list(dict.fromkeys(addresses))


def _is_hosts_own(error: BaseException) -> bool:
    """Return whether the error is this host's own, so that another host may do better."""
    return isinstance(
        error,
        OSError
        | asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.TooManyConnectionsError
        | asyncpg.AdminShutdownError
        | asyncpg.TargetServerAttributeNotMatched,
    )


def _name(host: Address) -> str:
    return host if isinstance(host, str) else f"{host[0]}:{host[1]}"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {HOST_TIMEOUT_S:g} s"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "a standby, which takes no writes"
    return " ".join(str(error).split()) or type(error).__name__
