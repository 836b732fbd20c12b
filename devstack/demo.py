"""``demo``: the whole path once, step by step; exits with 0 if every step succeeded."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import nats
from nats.aio.client import Client

from contracts.context import parse_key_set, signing_key
from contracts.errors import ServiceError
from contracts.schedules import GetInput, ScheduleInfo
from contracts.shared.cancellation import cancel_and_wait
from contracts.subjects import HOST_AUDIENCE
from contracts.times import read_time
from devstack.errors import INTERRUPTED_STATUS, StackError
from devstack.extension_calls import call_extension
from devstack.processes import log_tail, watch_programs
from devstack.progress import countdown, detail, step, table
from devstack.stack import TENANT, DevStack, running_stack
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import SignedRequests
from service.storage.runs import history
from service.storage.runs.history import RunFilter, RunRow

EVERY_MINUTE = "* * * * *"
RESULT_TIMEOUT_S = 30
"""How long after its slot a run may take to end."""
POLL_INTERVAL_S = 0.1
FINAL_STATUSES = {"success", "error", "skipped", "skipped_overlap"}


def run() -> None:
    """Run the demo. Raises StackError when a step fails."""
    run_interruptible(_demo())


def run_interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine. Raises StackError on Ctrl-C, once the coroutine has cleaned up."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        raise StackError("interrupted; everything was removed", INTERRUPTED_STATUS) from None


async def _demo() -> None:
    # One minute instead of five, so that a schedule fires soon.
    async with running_stack(min_interval_minutes=1) as stack:
        try:
            await run_while_alive(run_steps(stack), stack)
        except (StackError, ServiceError) as error:
            step(f"This step failed: {error}")
            for program in stack.programs:
                detail(log_tail(program))
            raise StackError(f"the demo failed: {str(error).splitlines()[0]}") from None
    step("Done: every step succeeded.")


async def run_while_alive(work: Coroutine[Any, Any, None], stack: DevStack) -> None:
    """Run a coroutine. Raises StackError as soon as one of the stack's processes ends."""
    watch = asyncio.create_task(watch_programs(stack.programs))
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({watch, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = task.done()
        await cancel_and_wait({watch, task})
    await (task if ended else watch)


async def run_steps(stack: DevStack) -> None:
    """Run the steps, from the extension's setup to its own record of the call."""
    await set_up_extension(stack)
    client = await nats.connect(
        stack.nats.url,
        user="runner",
        password=stack.passwords["runner"],
        inbox_prefix="_INBOX_runner",
    )
    try:
        await watch_one_slot(stack, client)
    finally:
        await client.close()


async def set_up_extension(stack: DevStack) -> None:
    """Call the extension's setup twice; the second call must create nothing."""
    step("Calling the extension's POST /api/setup through the Runner's /v1/execute.")
    detail("It asks the host for its endpoints and creates its missing schedules;")
    detail("for the demo its heartbeat fires every minute (the minimum interval is lowered).")
    first = await call_extension(stack, "POST", "/api/setup", {"heartbeat": EVERY_MINUTE})
    detail(f"created: {', '.join(first['created']) or 'nothing'}")
    if sorted(first["created"]) != ["heartbeat", "status"]:
        raise StackError(f"setup did not create its two schedules: {first}")
    second = await call_extension(stack, "POST", "/api/setup", {"heartbeat": EVERY_MINUTE})
    if second["created"] or second["failed"]:
        raise StackError(f"a second setup changed something: {second}")
    detail("a second call creates nothing")


async def watch_one_slot(stack: DevStack, client: Client) -> None:
    """Wait for the heartbeat's next slot, and show its results."""
    host = host_client(stack, client)
    step("Listing the schedules over the bus: ext.scheduler.list.")
    schedules = (await host.list()).schedules
    table(
        ["name", "cron", "endpoint", "next run"],
        [
            (s.name, s.cron, f"{s.endpoint_method} {s.endpoint_path}", s.next_run_at)
            for s in schedules
        ],
    )
    heartbeat = next((s for s in schedules if s.name == "heartbeat"), None)
    if heartbeat is None or heartbeat.next_run_at is None:
        raise StackError("no heartbeat schedule is due")
    slot = read_time(heartbeat.next_run_at)
    step(f"The heartbeat is due at {slot:%H:%M:%S} UTC: the planner creates a run for that slot,")
    detail("and a worker takes it from the queue and has the Runner call the extension over NATS.")
    await countdown(slot)
    run = await wait_for_run(stack, UUID(heartbeat.id), slot)
    show_run(run)
    await show_schedule(host, heartbeat, run)
    await show_recorded_call(stack, run)


def host_client(stack: DevStack, client: Client) -> SchedulerHost:
    """Return a client of the host operations, as a Runner written in Python would embed it."""
    keys = parse_key_set((stack.home / "runner.json").read_bytes())
    requests = SignedRequests(client, lambda: signing_key(keys, HOST_AUDIENCE))
    install = InstallContext(install_id=stack.extension.rows.install_id, tenant_id=TENANT)
    return SchedulerHost(requests, install)


async def wait_for_run(stack: DevStack, schedule_id: UUID, slot: datetime) -> RunRow:
    """Return the run of a slot once it has succeeded. Raises StackError when it does not."""
    step("The run is in the database: ext_scheduler.runs.")
    deadline = asyncio.get_running_loop().time() + RESULT_TIMEOUT_S
    of_schedule = RunFilter(tenant_id=TENANT, schedule_id=schedule_id)
    connection = await asyncpg.connect(stack.postgres.dsn)
    try:
        while True:
            runs = await history.page(connection, of_schedule, limit=10)
            run = next((run for run in runs if run.slot == slot), None)
            if run is not None and run.status in FINAL_STATUSES:
                break
            if asyncio.get_running_loop().time() > deadline:
                outcome = "no run" if run is None else f"a run {run.status}: {run.error}"
                raise StackError(f"{RESULT_TIMEOUT_S} s after its slot there is {outcome}")
            await asyncio.sleep(POLL_INTERVAL_S)
    finally:
        await connection.close()
    if run.status != "success":
        raise StackError(f"the run ended with status {run.status}: {run.error}")
    return run


def show_run(run: RunRow) -> None:
    """Print a run record."""
    started = run.started_at or run.queued_at
    late = (started - run.slot).total_seconds()
    detail(f"id        {run.id}")
    detail(f"slot      {run.slot:%H:%M:%S} UTC, started {late:.2f} s after it")
    detail(f"outcome   {run.status}, HTTP {run.http_status}, attempt {run.attempts}")
    detail(f"took      {run.duration_ms} ms, by worker {run.worker}")


async def show_schedule(host: SchedulerHost, heartbeat: ScheduleInfo, run: RunRow) -> None:
    """Print the schedule's last-run fields, as read over the bus."""
    step("The schedule shows it as well: ext.scheduler.get.")
    current = (await host.get(GetInput(heartbeat.id))).schedule
    if current is None or current.last_run_at is None or current.last_run_status != run.status:
        raise StackError(f"the schedule does not show its run: {current}")
    detail(f"lastRunAt {current.last_run_at}, lastRunStatus {current.last_run_status}")
    detail(f"nextRunAt {current.next_run_at}")


async def show_recorded_call(stack: DevStack, run: RunRow) -> None:
    """Print the extension's own record of the call, found by the run's idempotency key."""
    step("The extension has recorded the call: its GET /api/status, through /v1/execute.")
    recorded = (await call_extension(stack, "GET", "/api/status"))["heartbeat"]
    if not recorded or recorded["idempotency_key"] != str(run.id):
        raise StackError(f"the extension recorded another call, or none: {recorded}")
    detail(f"calls     {recorded['calls']}, payload {recorded['payload']}")
    detail(f"key       {recorded['idempotency_key']}: the run's id")
