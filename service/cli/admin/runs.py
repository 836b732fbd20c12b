"""``admin run-now``, which can also wait for the run's result."""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from contracts.admin_schedules import RunInfo
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import build_parameters
from service.cli.errors import CommandError
from service.cli.output import print_json, print_line, print_members, progress

RUN_NOW_OPTIONS = build_parameters(
    [("wait", Annotated[int, typer.Option(help="Seconds to wait for the run to end.", min=0)], 0)]
)
FINAL_STATUSES = {"success", "error", "skipped", "skipped_overlap"}
POLL_INTERVAL_S = 0.3
RECENT_RUNS = 20
"""How many of the newest runs are searched for the one that was started."""


async def run_now(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Start a run; with ``--wait`` print its result. Raises CommandError where it failed."""
    schedule_id = arguments["schedule_id"]
    started = await client.call("runNow", {"scheduleId": schedule_id})
    if not started.success or not arguments["wait"]:
        print_result(client, started, OutputOptions())
        return
    async with progress(lambda: f"waiting for run {started.run_id}"):
        run = await _wait_for_end(client, schedule_id, started.run_id, arguments["wait"])
    if client.options.as_json:
        print_json(run)
    else:
        print_members(to_builtins(run), client.options.times)
    if run.status != "success":
        raise CommandError(
            f"the run ended with status {run.status}: {run.error or 'no error text'}"
        )


async def _wait_for_end(
    client: AdminClient, schedule_id: str, run_id: str, timeout_s: int
) -> RunInfo:
    deadline = time.monotonic() + timeout_s
    fields = {"scheduleId": schedule_id, "limit": RECENT_RUNS}
    while True:
        history = await client.call("runHistory", fields, f"waiting for run {run_id}")
        run: RunInfo | None = next((run for run in history.runs if run.id == run_id), None)
        if run is not None and run.status in FINAL_STATUSES:
            return run
        if time.monotonic() > deadline:
            print_line(f"run {run_id}: {run.status if run else 'unknown'}")
            raise CommandError(f"the run did not end within {timeout_s} s; it is still running")
        await asyncio.sleep(POLL_INTERVAL_S)
