"""``dev call``, ``dev fire`` and ``dev logs``: work with the stack that runs elsewhere."""

import asyncio
import base64
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec

from contracts.admin_schedules import ListSchedulesInput, RunHistoryInput, RunInfo, RunNowInput
from contracts.execution import ExecuteResponse
from devstack import state as state_file
from devstack.administration import OperatorCall, administration
from devstack.errors import StackError
from devstack.extension_calls import execute_request, post_request
from devstack.state import DevState

RUN_TIMEOUT_S = 120
POLL_INTERVAL_S = 0.2
FINAL_STATUSES = {"success", "error", "skipped", "skipped_overlap"}
NO_CONTENT_HASH = f"sha256:{'0' * 64}"
LOG_LINES = 40


def call(method: str, path: str, body: str | None) -> None:
    """Call an endpoint; print status and body. Raises StackError unless it is below 400."""
    content: object = None
    if body is not None:
        try:
            content = msgspec.json.decode(body)
        except msgspec.MsgspecError as error:
            raise StackError(f"the body is not JSON: {error}") from None
    state = state_file.read()
    request = execute_request(state.extension, method.upper(), path, content)
    response = asyncio.run(post_request(state.runner_url, request))
    print_response(response)
    if response.error or response.status >= 400:
        raise StackError(f"{method.upper()} {path} ended with {response.status}")


def print_response(response: ExecuteResponse) -> None:
    """Print status, error and body of an answer."""
    print(response.status)
    if response.error:
        print(response.error)
    if response.body_b64:
        print(base64.b64decode(response.body_b64).decode(errors="replace"))


def fire(schedule: str) -> None:
    """Run a schedule now; print its run and answer. Raises StackError unless it succeeds."""
    asyncio.run(_fire(state_file.read(), schedule))


async def _fire(state: DevState, schedule: str) -> None:
    async with administration(state) as admin:
        schedule_id = await find_schedule(admin, state, schedule)
        before = await admin("runHistory", RunHistoryInput(schedule_id=schedule_id))
        started = await admin("runNow", RunNowInput(schedule_id))
        if any(run.id == started.run_id for run in before.runs):
            print(same_minute(datetime.now().astimezone()))
        run = await _wait_for_end(admin, state, schedule_id, started.run_id)
    print(f"run {run.id}: {run.status}, attempt {run.attempts}, {run.duration_ms} ms")
    answer = await recorded_answer(state, run)
    if answer is not None:
        print_response(answer)
    if run.status != "success":
        raise StackError(f"the run ended with status {run.status}: {run.error}")


async def find_schedule(admin: OperatorCall, state: DevState, name: str) -> str:
    """Return the id of a schedule of the install, by its name or id. Raises StackError."""
    install = str(state.extension.rows.install_id)
    page = await admin("listSchedules", ListSchedulesInput(install_id=install))
    found = [schedule.id for schedule in page.schedules if name in {schedule.name, schedule.id}]
    if found:
        return str(found[0])
    names = ", ".join(schedule.name or schedule.id for schedule in page.schedules)
    raise StackError(f"no schedule {name!r}; there is {names or 'none yet: call its setup first'}")


def same_minute(now: datetime) -> str:
    """Return why no other run was started, and from when on one can be."""
    following = now.replace(second=0) + timedelta(minutes=1)
    return (
        "a schedule has one manual run a minute, and this is the one of this minute, started "
        f"before; the next can be started from {following:%H:%M:%S}"
    )


async def _wait_for_end(
    admin: OperatorCall, state: DevState, schedule_id: str, run_id: str
) -> RunInfo:
    """Return a run that has ended; print the answers of the attempts that failed before."""
    deadline, printed = time.monotonic() + RUN_TIMEOUT_S, 0
    while time.monotonic() < deadline:
        page = await admin("runHistory", RunHistoryInput(schedule_id=schedule_id))
        run: RunInfo | None = next((run for run in page.runs if run.id == run_id), None)
        if run is not None and run.status in FINAL_STATUSES:
            return run
        if run is not None and run.status == "queued" and run.attempts > printed:
            printed = run.attempts
            text = f"attempt {printed} failed; the run waits for the next one (Ctrl-C leaves it)"
            print(text)
            answer = await recorded_answer(state, run)
            if answer is not None:
                print_response(answer)
            sys.stdout.flush()
        await asyncio.sleep(POLL_INTERVAL_S)
    raise StackError(f"run {run_id} did not end within {RUN_TIMEOUT_S} s; see `dev logs`")


async def recorded_answer(state: DevState, run: RunInfo) -> ExecuteResponse | None:
    """Return what the extension answered, which the Runner remembers by the attempt's key.

    The request names no component, so that it cannot call the extension again.
    """
    nothing = msgspec.structs.replace(state.extension, content_hash=NO_CONTENT_HASH)
    document = msgspec.json.encode(execute_request(nothing, "GET", "/"))
    headers = {"x-idempotency-key": f"{UUID(run.id)}:{run.attempts}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.post(f"{state.runner_url}/v1/execute", data=document, headers=headers) as got,
        ):
            body = await got.read()
            return msgspec.json.decode(body, type=ExecuteResponse) if got.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
        return None


def log_lines(program: str) -> list[str]:
    """Return the newest lines of a program's log. Raises StackError where there is none."""
    home = Path(state_file.read().home)
    file = home / program / "log"
    if not file.is_file():
        names = ", ".join(sorted(path.parent.name for path in home.glob("*/log")))
        raise StackError(f"no log of {program!r}; there is {names}")
    return file.read_text(errors="replace").splitlines()[-LOG_LINES:]


def extension_names() -> dict[str, str]:
    """Return the name of the installed extension by the id that log lines have."""
    extension = state_file.read().extension
    return {str(extension.rows.registry_id): extension.manifest.name}
