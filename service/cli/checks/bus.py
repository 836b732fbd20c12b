"""Checks whether NATS is reachable, delivers messages, and grants the permissions of each role.

Permissions are those the server reports for its user (``$SYS.REQ.USER.INFO``). Trying them out
would take requests away from running processes.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec
import nats.errors
from msgspec import Struct, structs
from nats.aio.client import Client

from contracts.admin import ADMIN_OPS
from contracts.schedules import HOST_OPS
from contracts.subjects import (
    EXECUTE_SUBJECT,
    RUNNER_QUEUE,
    SCHEDULER_QUEUE,
    admin_subject,
    execute_subject,
    host_subject,
)
from service.bus.connection import Bus, BusUnavailableError, connect, probe
from service.cli.checks.result import CheckResult, error, ok, warning
from service.runtime.bus_settings import bus_settings
from service.runtime.errors import CannotServeError
from service.runtime.resources import SERVICE_NAME
from service.runtime.settings import Settings

ABOUT = "NATS"
TIMEOUT_S = 3.0
FIRST_PONG_TIMEOUT_S, NEXT_PONG_TIMEOUT_S = 1.5, 0.5
USER_INFO = "$SYS.REQ.USER.INFO"
HOST_SUBSCRIPTIONS = [f"{host_subject(op)} {SCHEDULER_QUEUE}" for op in HOST_OPS]
ADMIN_SUBSCRIPTIONS = [f"{admin_subject(op)} {SCHEDULER_QUEUE}" for op in ADMIN_OPS]
EVENT_SUBJECT = "ext.scheduler.events.t.i.run.failed"


class RequiredSubjects(Struct, frozen=True):
    """Subjects that a role publishes, and those it subscribes to (as ``subject queue``)."""

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()


REQUIRED: Mapping[str, RequiredSubjects] = {
    "responder": RequiredSubjects(
        [EVENT_SUBJECT], [*HOST_SUBSCRIPTIONS, *ADMIN_SUBSCRIPTIONS, "$SRV.PING"]
    ),
    "worker": RequiredSubjects([EXECUTE_SUBJECT, EVENT_SUBJECT]),
    # Further, the execute subject of its Runner pool.
    "bridge": RequiredSubjects([host_subject(op) for op in HOST_OPS]),
    "admin": RequiredSubjects([admin_subject(op) for op in ADMIN_OPS]),
}


class PermissionRules(Struct, frozen=True):
    """Subjects allowed and denied, as in the server's configuration; None allows all."""

    allow: list[str] | None = None
    deny: list[str] | None = None


class UserPermissions(Struct, frozen=True):
    """The rules of a user."""

    publish: PermissionRules = PermissionRules()
    subscribe: PermissionRules = PermissionRules()


class UserInfo(Struct, frozen=True):
    """The user of a connection, as the server reports it."""

    user: str
    account: str
    permissions: UserPermissions = UserPermissions()


class UserInfoReply(Struct, frozen=True):
    """The server's reply to a user info request."""

    data: UserInfo


class PingReply(Struct, frozen=True):
    """A responder's reply to a ping; its other fields are ignored."""

    id: str


async def run_checks(settings: Settings, roles: Sequence[str]) -> AsyncIterator[CheckResult]:
    """Run the checks in order; stop where NATS cannot be reached."""
    try:
        bus = await connect(
            structs.replace(
                bus_settings(settings, "ext-scheduler check"), connect_timeout=TIMEOUT_S
            )
        )
    except (BusUnavailableError, CannotServeError) as unavailable:
        remedy = "start the server, or correct the EXT_SCHEDULER_NATS_* settings"
        yield error(ABOUT, str(unavailable), remedy)
        return
    try:
        yield await _check_round_trip(bus, settings)
        for result in await _check_permissions(bus.client, roles, settings.runner_pool or None):
            yield result
        yield await _count_responders(bus.client)
    finally:
        await bus.close()


async def _check_round_trip(bus: Bus, settings: Settings) -> CheckResult:
    try:
        seconds = await probe(bus, None, TIMEOUT_S)
    except BusUnavailableError as unavailable:
        remedy = "set EXT_SCHEDULER_NATS_INBOX_PREFIX to the prefix that the user may subscribe to"
        prefix = settings.nats_inbox_prefix
        return error(ABOUT, f"connected, but {unavailable} (inbox prefix {prefix})", remedy)
    url = bus.client.connected_url
    address = url.netloc.rpartition("@")[2] if url else ""
    context = f" of context {settings.nats_context}" if settings.nats_context else ""
    return ok(ABOUT, f"{address}{context}, round trip {seconds * 1000:.1f} ms")


async def _check_permissions(
    client: Client, roles: Sequence[str], pool: str | None
) -> list[CheckResult]:
    try:
        reply = await client.request(USER_INFO, b"", timeout=TIMEOUT_S)
        info = msgspec.json.decode(reply.data, type=UserInfoReply).data
    except (TimeoutError, nats.errors.Error, OSError, msgspec.MsgspecError):
        message = "unknown: the server does not report them to this user"
        remedy = f"allow the user to publish {USER_INFO}, so that they can be checked"
        return [warning("permissions", message, remedy)]
    missing = [line for role in roles for line in _missing(role, info.permissions, pool)]
    if missing:
        return [error("permissions", line, "grant it as nats.conf does") for line in missing]
    user = f"user {info.user}" if info.user else "unauthenticated user"
    return [ok("permissions", f"{user} has what is required for: {', '.join(roles)}")]


def _missing(role: str, permissions: UserPermissions, pool: str | None) -> Iterator[str]:
    required = REQUIRED[role]
    if role == "bridge":
        required = RequiredSubjects(required.publish, [f"{execute_subject(pool)} {RUNNER_QUEUE}"])
    for verb, subjects, rules in (
        ("publish", required.publish, permissions.publish),
        ("subscribe to", required.subscribe, permissions.subscribe),
    ):
        denied = [subject for subject in subjects if not permitted(subject, rules)]
        if denied:
            more = f" and {len(denied) - 1} more" if len(denied) > 1 else ""
            yield f"a {role} may not {verb} {denied[0]}{more}"


def permitted(subject: str, rules: PermissionRules) -> bool:
    """Return whether the rules permit ``subject``, or ``subject queue``."""
    allowed = rules.allow is None or any(covers(rule, subject) for rule in rules.allow)
    return allowed and not any(covers(rule, subject) for rule in rules.deny or ())


def covers(rule: str, subject: str) -> bool:
    """Return whether a rule applies to a subject; one with a queue applies to that queue only."""
    pattern, _, rule_queue = rule.partition(" ")
    name, _, queue = subject.partition(" ")
    if rule_queue and not _matches(rule_queue, queue):
        return False
    return _matches(pattern, name)


def _matches(pattern: str, name: str) -> bool:
    wildcards, tokens = pattern.split("."), name.split(".")
    for index, wildcard in enumerate(wildcards):
        if wildcard == ">":
            return len(tokens) > index
        if index >= len(tokens) or wildcard not in {"*", tokens[index]}:
            return False
    return len(wildcards) == len(tokens)


async def _count_responders(client: Client) -> CheckResult:
    """Count the responders that answer a ping, until no further reply arrives in time."""
    inbox, responder_ids = client.new_inbox(), set[str]()
    subscription = await client.subscribe(inbox)
    await client.publish(f"$SRV.PING.{SERVICE_NAME}", b"", reply=inbox)
    timeout = FIRST_PONG_TIMEOUT_S  # a busy responder may take longer
    with suppress(TimeoutError, nats.errors.Error, msgspec.MsgspecError):  # the last reply was read
        while reply := (await subscription.next_msg(timeout=timeout)).data:
            responder_ids.add(msgspec.json.decode(reply, type=PingReply).id)
            timeout = NEXT_PONG_TIMEOUT_S
    if not responder_ids and "permissions violation" in str(client.last_error).lower():
        denied = str(client.last_error).removeprefix("nats: ")
        remedy = "count them as operator: `ext-scheduler check --role admin`"
        return warning("responders", f"this user may not ask for them: {denied}", remedy)
    if not responder_ids:
        return warning("responders", "none answered", "start `ext-scheduler serve`")
    return ok("responders", f"{len(responder_ids)} running")
