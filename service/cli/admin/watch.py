"""``admin watch``: events and runs as they happen, until Ctrl-C.

Events come from the bus, runs in progress from ``runHistory`` every two seconds. Nothing keeps an
event for a reader who is away: what a lost connection may have cost is said, and the runs of that
time are read from the history.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, Struct, field
from nats.aio.msg import Msg

from contracts.admin_schedules import RunInfo
from contracts.events import Event
from contracts.subjects import EVENTS_PREFIX, event_subject
from contracts.times import wire_time
from service.bus.connection import (
    BusUnavailableError,
    SubscriptionsDeniedError,
    confirm_subscriptions,
)
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.errors import EXIT_NOT_ALLOWED, EXIT_UNAVAILABLE, EXIT_USAGE, CommandError
from service.cli.output import cell, print_line, print_notice
from service.cli.terminal import STYLES, short_id

POLL_S = 2.0
"""How often runs in progress, and the connection, are looked at."""
MAX_RUNS = 200
MAX_REMEMBERED = 5_000
"""Ids of events and runs that are remembered, so that none is shown twice."""
OVERLAP = timedelta(seconds=5)
"""How far before a loss the history is read: an event is published after its run's end."""


class Remembered:
    """The latest ids, and what is known of each."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, id_: object) -> bool:
        return id_ in self._known

    def get(self, id_: str) -> str | None:
        """Return what is known of an id."""
        return self._known.get(id_)

    def add(self, id_: str, what: str = "") -> None:
        """Remember an id, and forget the oldest where there are too many."""
        self._known[id_] = what
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)


class Watch(Struct):
    """A watch in progress. ``reconnects`` is how often the connection had been made again."""

    client: AdminClient
    reconnects: int
    seen: Remembered = field(default_factory=Remembered)
    running: Remembered = field(default_factory=Remembered)
    names: Remembered = field(default_factory=Remembered)
    lost_at: datetime | None = None


async def watch(client: AdminClient, _: Mapping[str, Any]) -> None:
    """Print events and runs until interrupted. Raises CommandError."""
    tenant = client.options.tenant.strip("*")
    if not tenant and not client.acts_for_all:
        raise CommandError("missing --tenant; only an operator's key may omit it", EXIT_USAGE)
    messages: asyncio.Queue[Msg] = asyncio.Queue()
    await client.bus.client.subscribe(_subject(tenant), cb=messages.put)
    try:
        await confirm_subscriptions(client.bus)
    except SubscriptionsDeniedError as error:
        raise CommandError(str(error), EXIT_NOT_ALLOWED) from None
    except BusUnavailableError as error:
        raise CommandError(str(error), EXIT_UNAVAILABLE) from None
    print_notice(f"watching {f'tenant {tenant}' if tenant else 'all tenants'}; Ctrl-C ends it")
    state = Watch(client, client.bus.client.stats["reconnects"])
    while True:
        await _print_messages(state, messages)
        await _look_at_connection(state)
        if state.lost_at is None:
            await _print_running(state)


def _subject(tenant: str) -> str:
    """Return the subject of a tenant's events, or of all."""
    if not tenant:
        return f"{EVENTS_PREFIX}.>"
    return event_subject(tenant, "x", "x").removesuffix(".x.x") + ".>"


async def _print_messages(state: Watch, messages: asyncio.Queue[Msg]) -> None:
    """Print events for as long as a poll lasts."""
    loop = asyncio.get_running_loop()
    end = loop.time() + POLL_S
    while (left := end - loop.time()) > 0:
        try:
            # Only the wait may be cut short: an event that was taken is printed.
            message = await asyncio.wait_for(messages.get(), left)
        except TimeoutError:
            return
        await _print_event(state, message.data)


async def _print_event(state: Watch, body: bytes) -> None:
    try:
        event = msgspec.json.decode(body, type=Event)
    except msgspec.MsgspecError:
        print_notice("an event cannot be read: it is of a newer release")
        return
    if event.id in state.seen:
        return
    state.seen.add(event.id)
    if event.run_id is not UNSET:
        state.seen.add(event.run_id)
    if state.client.options.as_json:
        _print_json(event)
        return
    schedule_id = None if event.schedule_id is UNSET else event.schedule_id
    details = ", ".join(f"{name} {cell(value)}" for name, value in event.data.items())
    await _print(state, event.at, event.type, (event.tenant_id, schedule_id), details)


async def _look_at_connection(state: Watch) -> None:
    """Say that the connection is lost; once it is back, what may have been missed."""
    connection, now = state.client.bus.client, datetime.now(UTC)
    if state.client.bus.closed.is_set():
        raise CommandError(state.client.bus.closed_reason, EXIT_UNAVAILABLE)
    if not connection.is_connected:
        if state.lost_at is None:
            state.lost_at = now
            print_notice("connection to NATS lost; waiting for it")
        return
    reconnects = connection.stats["reconnects"]
    if state.lost_at is None and reconnects == state.reconnects:
        return
    # A loss that was shorter than a poll has only left the count.
    since = (state.lost_at or now - timedelta(seconds=POLL_S)) - OVERLAP
    state.lost_at, state.reconnects = None, reconnects
    gap = {"type": "watch.gap", "from": wire_time(since), "until": wire_time(now)}
    if state.client.options.as_json:
        _print_json(gap)
    else:
        print_notice(
            f"connected again: events from {cell(gap['from'])} to {cell(gap['until'])} UTC may be"
            " missing; runs that ended then follow, changes are in `admin audit --since"
            f" {gap['from']}`"
        )
    for run in reversed(await _runs(state, since=wire_time(since - timedelta(minutes=1)))):
        if run.finished_at is not None and run.id not in state.seen:
            state.seen.add(run.id)
            await _print_run(state, "watch.run", run)


async def _print_running(state: Watch) -> None:
    for run in reversed(await _runs(state, status="running")):
        if run.id not in state.running:
            state.running.add(run.id)
            await _print_run(state, "watch.running", run)


async def _runs(state: Watch, **fields: str) -> list[RunInfo]:
    """Return the newest runs; none, with a notice, where the service does not answer."""
    try:
        output = await state.client.call("runHistory", {**fields, "limit": MAX_RUNS})
    except CommandError as error:
        if error.status != EXIT_UNAVAILABLE:
            raise
        print_notice(f"runs cannot be read: {error}")
        return []
    runs: list[RunInfo] = output.runs
    return runs


async def _print_run(state: Watch, kind: str, run: RunInfo) -> None:
    if state.client.options.as_json:
        _print_json({"type": kind, "run": to_builtins(run)})
        return
    at = run.finished_at or run.started_at or run.queued_at
    details = f"run {short_id(run.id)}, attempt {run.attempts}"
    if run.error:
        details += f", {cell(run.error)}"
    await _print(state, at, f"run.{run.status}", (run.tenant_id, run.schedule_id), details)


async def _print(
    state: Watch, at: str, kind: str, of: tuple[str, str | None], details: str
) -> None:
    tenant, schedule_id = of
    name = "" if schedule_id is None else await _name(state, schedule_id)
    style = {"run.succeeded": "green", "run.failed": "red"}.get(kind, STYLES.get(kind[4:], ""))
    time = state.client.options.times.exact(at)
    print_line(f"{time}  {kind:<18} {cell(tenant)}  {cell(name)}  {details}".rstrip(), style)


async def _name(state: Watch, schedule_id: str) -> str:
    """Return a schedule's name, asked for once; the beginning of its id where it has none."""
    known = state.names.get(schedule_id)
    if known is None:
        known = short_id(schedule_id)
        try:
            output = await state.client.call("getSchedule", {"scheduleId": schedule_id})
            known = output.schedule.name or known
        except CommandError:
            # Deleted by now, or the service is away: the id says which one.
            return known
        state.names.add(schedule_id, known)
    return known


def _print_json(value: object) -> None:
    print_line(msgspec.json.encode(value).decode())
