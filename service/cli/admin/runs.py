"""``admin run-now``, which can also wait for how the run ends."""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from contracts.admin_schedules import RunInfo
from service.cli.admin.client import Asking, wire
from service.cli.admin.output import Telling, tell
from service.cli.admin.parameters import made
from service.cli.errors import CommandError
from service.cli.output import progress, put, put_json, put_members

RUN_NOW_OPTIONS = made(
    [("wait", Annotated[int, typer.Option(help="Seconds to wait for the run's end.", min=0)], 0)]
)
SETTLED = {"success", "error", "skipped", "skipped_overlap"}
LOOK_EVERY_S = 0.3
RECENT = 20


async def run_now(asking: Asking, given: Mapping[str, Any]) -> None:
    """Plan a run; with ``--wait`` show how it ended. Raises CommandError where it failed."""
    schedule_id = given["schedule_id"]
    planned = await asking.ask("runNow", {"scheduleId": schedule_id})
    if not planned.success or not given["wait"]:
        tell(asking, planned, Telling())
        return
    async with progress(lambda: f"run {planned.run_id}"):
        run = await _ended(asking, schedule_id, planned.run_id, given["wait"])
    if asking.caller.as_json:
        put_json(run)
    else:
        put_members(wire(run))
    if run.status != "success":
        raise CommandError(f"the run ended as {run.status}: {run.error or 'no error was recorded'}")


async def _ended(asking: Asking, schedule_id: str, run_id: str, seconds: int) -> RunInfo:
    give_up = time.monotonic() + seconds
    fields = {"scheduleId": schedule_id, "limit": RECENT}
    while True:
        recent = await asking.ask("runHistory", fields, f"run {run_id}")
        run: RunInfo | None = next((each for each in recent.runs if each.id == run_id), None)
        if run is not None and run.status in SETTLED:
            return run
        if time.monotonic() > give_up:
            put(f"run {run_id} is {run.status if run else 'unknown'}")
            raise CommandError(f"the run did not end within {seconds} s; it goes on")
        await asyncio.sleep(LOOK_EVERY_S)
