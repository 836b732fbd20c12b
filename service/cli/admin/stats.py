"""``admin stats``: the figures of the hour, and the responders that are discovered on the bus."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import nats.errors

from contracts.admin_insight import StatsInput
from contracts.discovery import PING_SUBJECT, ResponderState, read_ping
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import read_fields

DISCOVERY_S = 0.3
"""Responders that take longer to say who they are are not shown."""


async def stats(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print the figures; with an operator's key also which responders are up, and their load."""
    fields = read_fields(StatsInput, arguments)
    output = to_builtins(await client.call("stats", fields))
    if client.acts_for_all:
        found = await discover(client)
        output["responders"] = [to_builtins(state) for state in found]
    print_result(client, output, OutputOptions())


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
