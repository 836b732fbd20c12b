"""``admin load``: the most crowded minutes of the coming week."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from contracts.admin_load import LoadInput
from contracts.times import read_time, wire_time
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.parameters import read_fields
from service.cli.output import print_json, print_line, print_members, print_notice, print_table

MAX_SHOWN = 20


async def load(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print how many slots there are, where most of them meet, and what a new schedule meets."""
    output = to_builtins(await client.call("load", read_fields(LoadInput, arguments)))
    if client.options.as_json:
        print_json(output)
        return
    times = client.options.times
    print_members({name: output[name] for name in ("begins", "schedules", "slots")}, times)
    if output["met"] is not None:
        print_line()
        print_line("a new schedule of this expression would meet:")
        print_members(output["met"], times)
    if "minute" in output:
        minute = output["minute"]
        print_line()
        print_members({name: minute[name] for name in ("minute", "schedules", "tenants")}, times)
        print_table(minute["most"], ["tenantId", "schedules"], times)
    crowded = most_crowded(output["begins"], output["minutes"], MAX_SHOWN)
    if crowded:
        print_line()
        print_line("the most crowded minutes:")
        print_table(crowded, ["minute", "slots"], times)
        print_notice(f"whose they are: ext-scheduler admin load-minute {crowded[0]['minute']}")


def most_crowded(begins: str, minutes: Sequence[int], count: int) -> list[dict[str, Any]]:
    """Return the minutes with the most slots, the fullest first and, of equals, the earliest."""
    start = read_time(begins)
    fullest = sorted(range(len(minutes)), key=lambda minute: (-minutes[minute], minute))
    return [
        {"minute": wire_time(start + timedelta(minutes=minute)), "slots": minutes[minute]}
        for minute in fullest[:count]
        if minutes[minute]
    ]
