"""``admin stats``: the figures of the hour, and the responders that are discovered on the bus."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import nats.errors

from contracts.admin_insight import StatsInput
from contracts.discovery import PING_SUBJECT, ResponderState, read_ping
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import read_fields
from service.cli.output import print_notice
from service.cli.time_display import relative

DISCOVERY_S = 0.3
"""Responders that take longer to say who they are are not shown."""
LISTS = {
    "failingSchedules": "list --failing",
    "pausedTenants": "tenants --paused",
    "disabledInstalls": "installs --no-enabled",
}
"""Figure → the command that lists what it counts."""


async def stats(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print the figures; with an operator's key also which responders are up, and their load."""
    fields = read_fields(StatsInput, arguments)
    output = to_builtins(await client.call("stats", fields))
    if client.acts_for_all:
        found = await discover(client)
        output["responders"] = [to_builtins(state) for state in found]
    print_result(client, output if client.options.as_json else in_words(output), OutputOptions())
    if not client.options.as_json:
        for name, command in LISTS.items():
            if output[name]:
                print_notice(f"which: ext-scheduler admin {command}")


def in_words(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures with a line each in place of what is by minute, and of lateness."""
    by_minute = {"due": _due(output["due"]), "runs": _runs(output["runs"])}
    return {**output, **by_minute, "lateness": _lateness(output["lateness"])}


def _due(minutes: Sequence[Mapping[str, Any]]) -> str:
    if not minutes:
        return "nothing in the coming hour"
    total = sum(minute["count"] for minute in minutes)
    fullest = max(minutes, key=lambda minute: minute["count"])
    most = f"at most {fullest['count']} a minute, first {relative(fullest['minute'])}"
    return f"{total} in the coming hour, {most}"


def _runs(minutes: Sequence[Mapping[str, Any]]) -> str:
    counts: Counter[str] = Counter()
    for minute in minutes:
        counts.update({name: count for name, count in minute.items() if name != "minute"})
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{found or 'none'} in the last hour"


def _lateness(lateness: Mapping[str, Any] | None) -> str:
    if lateness is None:
        return "no run began in the last hour"
    spread = lateness.get("spreadMs", 0)
    intended = f", of which up to {spread} ms are intended (spread_s)" if spread else ""
    return (
        f"from slot to call: half within {lateness['p50Ms']} ms, 99 of 100 within"
        f" {lateness['p99Ms']} ms, at most {lateness['maxMs']} ms{intended}"
    )


async def discover(client: AdminClient) -> list[ResponderState]:
    """Return the responders that answer a ping in time, by id."""
    connection = client.bus.client
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox)
    found: dict[str, ResponderState] = {}
    try:
        await connection.publish(PING_SUBJECT, b"", reply=inbox)
        async with asyncio.timeout(DISCOVERY_S):
            while True:
                state = read_ping((await subscription.next_msg()).data)
                if state is not None:
                    found[state.id] = state
    except (TimeoutError, nats.errors.Error):
        return [found[id_] for id_ in sorted(found)]
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
