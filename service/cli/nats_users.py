"""``nats-users``: writes a NATS user for each Runner, for ``nats.conf`` to include."""

import re
from collections.abc import Sequence
from typing import Annotated

import typer
from msgspec import Struct

from contracts.schedules import HOST_OPS
from contracts.subjects import RUNNER_POOL_PATTERN, RUNNER_QUEUE, execute_subject, host_subject
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import print_line

INBOX_PREFIX = "_INBOX_runner_"
_RUNNER = re.compile(
    rf"(?P<name>[A-Za-z0-9_-]{{1,64}})(?:@(?P<pool>{RUNNER_POOL_PATTERN[1:-1]}))?"
    r"(?:=(?P<nkey>U[A-Z2-7]{55}))?"
)

HEAD = """\
# A user per Runner, for the account RUNNERS of nats.conf: written by `ext-scheduler nats-users`.
# Each may read its own inbox alone, and is called for the tenants of its pool alone.
users: [
"""
USER = """\
  {{
    # inbox prefix: {inbox}
    {login}
    permissions: {{
      subscribe: {{ allow: ["{execute} {queue}", "{inbox}.>"] }}
      publish: {{ allow: [{publish}] }}
      allow_responses: {{ max: 1, expires: "5m" }}
    }}
  }}
"""


class RunnerUser(Struct, frozen=True):
    """A Runner, the pool it belongs to (None: the default), and its public nkey if it has one."""

    name: str
    pool: str | None
    nkey: str | None

    @property
    def password_variable(self) -> str:
        """Return the environment variable from which the server reads the password."""
        return f"EXT_SCHEDULER_NATS_RUNNER_{self.name.upper().replace('-', '_')}_PASSWORD"


def nats_users(
    runners: Annotated[
        list[str],
        typer.Argument(help="NAME, NAME@POOL, and =PUBLIC_NKEY after either.", metavar="RUNNER..."),
    ],
) -> None:
    """Print a NATS user for each Runner: `runners.conf`, which `nats.conf` can include.

    A Runner has its own inbox, and is called for the tenants of its pool only. It logs in as user
    runner_NAME with the password in the server's EXT_SCHEDULER_NATS_RUNNER_<NAME>_PASSWORD, or with
    an nkey; its bridge sets EXT_SCHEDULER_NATS_INBOX_PREFIX=_INBOX_runner_NAME and
    EXT_SCHEDULER_RUNNER_POOL.

    \b
    Examples:
      ext-scheduler nats-users one two > runners.conf
      ext-scheduler nats-users berlin@eu paris@eu dallas@us > runners.conf
    """
    users = [_read(runner) for runner in runners]
    _refuse_equal(users)
    print_line(HEAD + "".join(_render(user) for user in users) + "]")


def _read(text: str) -> RunnerUser:
    match = _RUNNER.fullmatch(text)
    if match is None:
        raise CommandError(
            f"not a Runner: {text!r}; write NAME, NAME@POOL or NAME@POOL=PUBLIC_NKEY, with names of"
            " at most 64 letters, digits, - and _",
            EXIT_USAGE,
        )
    return RunnerUser(match["name"], match["pool"], match["nkey"])


def _refuse_equal(users: Sequence[RunnerUser]) -> None:
    seen: dict[str, RunnerUser] = {}
    for user in users:
        for login in (user.password_variable, user.nkey):
            if login is None:
                continue
            other = seen.setdefault(login, user)
            if other is not user:
                raise CommandError(f"{other.name} and {user.name} would share {login}", EXIT_USAGE)


def _render(user: RunnerUser) -> str:
    login = (
        f"user: runner_{user.name}, password: ${user.password_variable}"
        if user.nkey is None
        else f"nkey: {user.nkey}"
    )
    publish = [*(host_subject(op) for op in HOST_OPS), "$SYS.REQ.USER.INFO"]
    return USER.format(
        inbox=INBOX_PREFIX + user.name,
        login=login,
        execute=execute_subject(user.pool),
        queue=RUNNER_QUEUE,
        publish=", ".join(f'"{subject}"' for subject in publish),
    )
