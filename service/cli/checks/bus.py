"""Is NATS there, is there a way through it, and what may this user do on it?

Permissions are what the server says of its own user (``$SYS.REQ.USER.INFO``). To try them would
take requests away from processes that serve.
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
    host_subject,
)
from service.bus.connection import Bus, BusUnavailableError, connect, probe
from service.cli.checks.result import Finding, note, ok, wrong
from service.runtime.resources import SERVICE_NAME, bus_settings
from service.runtime.settings import Settings

ABOUT = "NATS"
PATIENCE_S = 3.0
FIRST_ANSWER_S, LISTEN_S = 1.5, 0.5
USER_INFO = "$SYS.REQ.USER.INFO"
SERVE_HOST = [f"{host_subject(op)} {SCHEDULER_QUEUE}" for op in HOST_OPS]
SERVE_ADMIN = [f"{admin_subject(op)} {SCHEDULER_QUEUE}" for op in ADMIN_OPS]
EVENTS = "ext.scheduler.events.t.i.run.failed"


class Needs(Struct, frozen=True):
    """Subjects that a role publishes, and those it subscribes to (``subject queue``)."""

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()


NEEDS: Mapping[str, Needs] = {
    "responder": Needs([EVENTS], [*SERVE_HOST, *SERVE_ADMIN, "$SRV.PING"]),
    "worker": Needs([EXECUTE_SUBJECT, EVENTS]),
    "bridge": Needs([host_subject(op) for op in HOST_OPS], [f"{EXECUTE_SUBJECT} {RUNNER_QUEUE}"]),
    "admin": Needs([admin_subject(op) for op in ADMIN_OPS]),
}


class Rules(Struct, frozen=True):
    """What is allowed and denied, as the server's configuration spells it; absent: all."""

    allow: list[str] | None = None
    deny: list[str] | None = None


class Permissions(Struct, frozen=True):
    """Of a user."""

    publish: Rules = Rules()
    subscribe: Rules = Rules()


class UserInfo(Struct, frozen=True):
    """Who the server says one is."""

    user: str
    account: str
    permissions: Permissions = Permissions()


class UserInfoReply(Struct, frozen=True):
    """The server's answer."""

    data: UserInfo


class Pong(Struct, frozen=True):
    """What of a ping's answer matters here."""

    id: str


async def look(settings: Settings, roles: Sequence[str]) -> AsyncIterator[Finding]:
    """Find out, as far as one gets."""
    quick = structs.replace(
        bus_settings(settings, "ext-scheduler check"), connect_patience=PATIENCE_S
    )
    try:
        bus = await connect(quick)
    except BusUnavailableError as error:
        yield wrong(ABOUT, str(error), "is it up, and are EXT_SCHEDULER_NATS_* right?")
        return
    try:
        yield await _way_through(bus, settings)
        for finding in await _permissions(bus.client, roles):
            yield finding
        yield await _responders(bus.client)
    finally:
        await bus.close()


async def _way_through(bus: Bus, settings: Settings) -> Finding:
    try:
        seconds = await probe(bus, None, PATIENCE_S)
    except BusUnavailableError as error:
        remedy = "is EXT_SCHEDULER_NATS_INBOX_PREFIX the one that its user has?"
        prefix = settings.nats_inbox_prefix
        return wrong(ABOUT, f"connected, but {error} (inbox prefix {prefix})", remedy)
    url = bus.client.connected_url
    where = url.netloc.rpartition("@")[2] if url else ""
    return ok(ABOUT, f"{where}, {seconds * 1000:.1f} ms there and back")


async def _permissions(client: Client, roles: Sequence[str]) -> list[Finding]:
    try:
        reply = await client.request(USER_INFO, b"", timeout=PATIENCE_S)
        info = msgspec.json.decode(reply.data, type=UserInfoReply).data
    except (TimeoutError, nats.errors.Error, OSError, msgspec.MsgspecError):
        remedy = f"let the user publish {USER_INFO} to have them checked here"
        return [note("permissions", "not known: the server does not tell this user", remedy)]
    lacking = [line for role in roles for line in _lacking(role, info.permissions)]
    if lacking:
        return [wrong("permissions", line, "see nats.conf") for line in lacking]
    user = f"user {info.user}" if info.user else "whoever connects"
    return [ok("permissions", f"{user} may do what is needed: {', '.join(roles)}")]


def _lacking(role: str, permissions: Permissions) -> Iterator[str]:
    needs = NEEDS[role]
    for verb, subjects, rules in (
        ("publish", needs.publish, permissions.publish),
        ("subscribe to", needs.subscribe, permissions.subscribe),
    ):
        refused = [subject for subject in subjects if not permitted(subject, rules)]
        if refused:
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            yield f"a {role} may not {verb} {refused[0]}{more}"


def permitted(subject: str, rules: Rules) -> bool:
    """Tell whether the rules let a user use ``subject``, or ``subject queue``."""
    allowed = rules.allow is None or any(covers(rule, subject) for rule in rules.allow)
    return allowed and not any(covers(rule, subject) for rule in rules.deny or ())


def covers(rule: str, subject: str) -> bool:
    """Tell whether a rule is about a subject; one with a queue is about that queue only."""
    pattern, _, rule_queue = rule.partition(" ")
    name, _, queue = subject.partition(" ")
    if rule_queue and not _matches(rule_queue, queue):
        return False
    return _matches(pattern, name)


def _matches(pattern: str, name: str) -> bool:
    parts, names = pattern.split("."), name.split(".")
    for position, part in enumerate(parts):
        if part == ">":
            return len(names) > position
        if position >= len(names) or part not in {"*", names[position]}:
            return False
    return len(parts) == len(names)


async def _responders(client: Client) -> Finding:
    """Count who answers a ping, until none has for a moment; the first may be busy for longer."""
    inbox, seen = client.new_inbox(), set[str]()
    subscription = await client.subscribe(inbox)
    await client.publish(f"$SRV.PING.{SERVICE_NAME}", b"", reply=inbox)
    patience = FIRST_ANSWER_S
    with suppress(TimeoutError, nats.errors.Error, msgspec.MsgspecError):  # silence ends the count
        while reply := (await subscription.next_msg(timeout=patience)).data:
            seen.add(msgspec.json.decode(reply, type=Pong).id)
            patience = LISTEN_S
    if not seen:
        remedy = "start `ext-scheduler serve`, unless this user may not ask"
        return note("responders", "none answered", remedy)
    return ok("responders", f"{len(seen)} running")
