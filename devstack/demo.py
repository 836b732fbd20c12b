"""``demo``: the whole path once, explained as it goes; exit status 0 when all of it happened."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import nats
from nats.aio.client import Client

from contracts.context import parse_key_set, signing_key
from contracts.errors import ServiceError
from contracts.schedules import GetInput, ScheduleInfo
from contracts.subjects import HOST_AUDIENCE
from contracts.times import read_time
from devstack.errors import INTERRUPTED, StackError
from devstack.extension_calls import call_extension
from devstack.processes import first_to_end, last_words
from devstack.progress import countdown, detail, step, table
from devstack.stack import TENANT, Stack, running_stack
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import SignedRequests
from service.storage.runs.history import Run, latest

EVERY_MINUTE = "* * * * *"
PATIENCE = timedelta(seconds=30)
"""How long after its slot the call may still be under way."""
SETTLED = {"success", "error", "skipped", "skipped_overlap"}


def run() -> None:
    """Show the whole path. Raises StackError when a step of it does not happen."""
    interruptible(_demo())


def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``; Ctrl-C cleans up, and ends the program as a shell expects."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        raise StackError("interrupted; everything is stopped and removed", INTERRUPTED) from None


async def _demo() -> None:
    # One minute instead of five, so that there is something to see soon.
    async with running_stack(min_interval_minutes=1) as stack:
        try:
            await unless_one_ends(story(stack), stack)
        except (StackError, ServiceError) as error:
            step(f"That did not happen: {error}")
            for program in stack.programs:
                detail(last_words(program))
            raise StackError(f"the demo failed: {str(error).splitlines()[0]}") from None
    step("Done: it all happened.")


async def unless_one_ends(work: Coroutine[Any, Any, None], stack: Stack) -> None:
    """Do ``work``; raise StackError at once when one of the processes ends meanwhile."""
    watch = asyncio.create_task(first_to_end(stack.programs))
    doing = asyncio.create_task(work)
    try:
        await asyncio.wait({watch, doing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        if not doing.done():
            doing.cancel()
    await (doing if doing.done() else watch)


async def story(stack: Stack) -> None:
    """From the extension's setup to its memory of having been called."""
    await extension_sets_itself_up(stack)
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


async def extension_sets_itself_up(stack: Stack) -> None:
    """Call its setup twice; the second call finds everything there."""
    step("The extension's POST /api/setup is called through the Runner's /v1/execute.")
    detail("It asks the host for its endpoints and creates what is missing of its schedules;")
    detail("for the demo its heartbeat is due every minute (the minimum is lowered to that).")
    first = await call_extension(stack, "POST", "/api/setup", {"heartbeat": EVERY_MINUTE})
    detail(f"created: {', '.join(first['created']) or 'nothing'}")
    if sorted(first["created"]) != ["heartbeat", "status"]:
        raise StackError(f"setup did not create its two schedules: {first}")
    second = await call_extension(stack, "POST", "/api/setup", {"heartbeat": EVERY_MINUTE})
    if second["created"] or second["failed"]:
        raise StackError(f"a second setup changed something: {second}")
    detail("a second call creates nothing")


async def watch_one_slot(stack: Stack, client: Client) -> None:
    """Wait for the heartbeat's next slot, and show what it left behind."""
    host = speaking_for_the_sample(stack, client)
    step("The bus is asked for the schedules: ext.scheduler.list.")
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
        raise StackError("the bus knows no heartbeat schedule that is due")
    slot = read_time(heartbeat.next_run_at)
    step(f"The heartbeat is due at {slot:%H:%M:%S} UTC: the planner makes a run of that slot,")
    detail("pgqueuer hands it to a worker, which asks the Runner over NATS to call the extension.")
    await countdown(slot)
    run = await settled_run(stack, UUID(heartbeat.id), slot)
    tell_run(run)
    await tell_schedule(host, heartbeat, run)
    await tell_memory(stack, run)


def speaking_for_the_sample(stack: Stack, client: Client) -> SchedulerHost:
    """A client of the host operations, as a Runner written in Python would embed it."""
    keys = parse_key_set((stack.home / "runner.json").read_bytes())
    requests = SignedRequests(client, lambda: signing_key(keys, HOST_AUDIENCE))
    install = InstallContext(install_id=stack.sample.rows.install_id, tenant_id=TENANT)
    return SchedulerHost(requests, install)


async def settled_run(stack: Stack, schedule_id: UUID, slot: datetime) -> Run:
    """The run of that slot, once it has ended well. Raises StackError when it does not."""
    step("The run is in the database: ext_scheduler.runs.")
    give_up = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    connection = await asyncpg.connect(stack.postgres.dsn)
    try:
        while True:
            runs = await latest(
                connection, TENANT, stack.sample.rows.install_id, schedule_id, limit=10
            )
            run = next((run for run in runs if run.slot == slot), None)
            if run is not None and run.status in SETTLED:
                break
            if asyncio.get_running_loop().time() > give_up:
                found = "no run" if run is None else f"a run that is {run.status}: {run.error}"
                seconds = PATIENCE.total_seconds()
                raise StackError(f"{seconds:.0f} s after its slot there is {found}")
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    if run.status != "success":
        raise StackError(f"the run ended as {run.status}: {run.error}")
    return run


def tell_run(run: Run) -> None:
    """Show a run record."""
    started = run.started_at or run.queued_at
    late = (started - run.slot).total_seconds()
    detail(f"id        {run.id}")
    detail(f"slot      {run.slot:%H:%M:%S} UTC, started {late:.2f} s after it")
    detail(f"outcome   {run.status}, HTTP {run.http_status}, attempt {run.attempts}")
    detail(f"took      {run.duration_ms} ms, by worker {run.worker}")


async def tell_schedule(host: SchedulerHost, heartbeat: ScheduleInfo, run: Run) -> None:
    """Show the schedule's last-run fields, as the bus tells them."""
    step("The schedule knows of it as well: ext.scheduler.get.")
    now = (await host.get(GetInput(heartbeat.id))).schedule
    if now is None or now.last_run_at is None or now.last_run_status != run.status:
        raise StackError(f"the schedule does not know of its run: {now}")
    detail(f"lastRunAt {now.last_run_at}, lastRunStatus {now.last_run_status}")
    detail(f"nextRunAt {now.next_run_at}")


async def tell_memory(stack: Stack, run: Run) -> None:
    """Show that the extension itself remembers the call, by the run's idempotency key."""
    step("And the extension remembers being called: its GET /api/status, through /v1/execute.")
    memory = (await call_extension(stack, "GET", "/api/status"))["heartbeat"]
    if not memory or memory["idempotency_key"] != str(run.id):
        raise StackError(f"the extension remembers another call, or none: {memory}")
    detail(f"calls     {memory['calls']}, payload {memory['payload']}")
    detail(f"key       {memory['idempotency_key']}: the run's id")
