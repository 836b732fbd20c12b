"""A host for tests of an extension: the service's own rules, storage, logging, and a clock to move.

The extension runs as plain Python, outside WebAssembly. As in a Runner, nothing of a module
survives from one call to the next; what has to stay belongs in ``storage``.
"""

import json
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contracts.execution import ExecuteContext, StatusClass, classify_status
from devstack.manifest import read_manifest
from devstack.testing.host_modules import host_modules, importable, to_record
from devstack.testing.scheduler import InMemoryScheduler, StoredSchedule
from devstack.testing.wit_types import (
    ContextData,
    ExecuteRequest,
    ExecuteResponse,
    HttpHeader,
    HttpRequest,
    ScheduleInfo,
)
from runner_bridge.dev_runner.frames import HostCall
from runner_bridge.dev_runner.host import MAX_LOG_LINES, ExecutionGrant, Host
from runner_bridge.dev_runner.interface import CAPABILITIES, LOGGING
from runner_bridge.dev_runner.scheduling import call as call_scheduler
from runner_bridge.dev_runner.storage import MemoryStorage
from service.rules.capabilities import effective
from service.rules.endpoints import read_manifest as read_endpoints
from service.rules.limits import Limits
from service.rules.slots import slots_between
from service.rules.zones import load

TENANT = "test-tenant"
START = datetime(2026, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Response(Struct, frozen=True):
    """What the extension answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the body as JSON. Raises ValueError where it is none."""
        return json.loads(self.body)


class Fire(Struct, frozen=True, kw_only=True):
    """A call of a schedule at a slot; ``name`` is the schedule's, its id where it has none."""

    at: datetime
    name: str
    method: str
    path: str
    payload: Any = None


class Run(Struct, frozen=True, kw_only=True):
    """An attempt that was made: what was called for which occurrence, and the answer."""

    fire: Fire
    schedule_id: UUID
    trigger: str
    attempt: int
    idempotency_key: str
    response: Response


class FakeHost:
    """One install of the extension in ``directory``, which has a ``manifest.json``.

    ``granted`` are the capabilities of the install, by default what the manifest declares; ``now``
    is where the clock starts. Raises StackError for an unusable manifest.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        now: datetime = START,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        granted: Iterable[str] | None = None,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.now = _aware(now)
        self.logged: list[tuple[str, str]] = []
        manifest = read_manifest(self.directory)
        declared = json.dumps(manifest.capabilities)
        grants = declared if granted is None else json.dumps(list(granted))
        endpoints = msgspec.json.encode(manifest.api.endpoints).decode()
        self._scheduler = InMemoryScheduler(read_endpoints(endpoints), limits, lambda: self.now)
        self._host = Host(lambda _context, _capabilities: self._scheduler, MemoryStorage())
        self._grant = ExecutionGrant(
            ExecuteContext(
                request_id="",
                tenant_id=TENANT,
                extension_id=f"{manifest.publisher}/{manifest.name}",
                install_id=str(uuid4()),
                version_id=str(uuid4()),
            ),
            effective(grants, None, declared),
        )
        self._modules = host_modules(self._ask)

    @property
    def schedules(self) -> list[ScheduleInfo]:
        """Return the install's schedules in the order of their creation."""
        listed = _finished(call_scheduler(self._scheduler, "list-schedules", []))
        return [to_record(ScheduleInfo, schedule) for schedule in listed["ok"]]

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Call an endpoint as a platform's screen does; ``body`` is bytes, or sent as JSON.

        What the extension raises passes through: in a component it would be a failed call.
        """
        sent = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        kind = {"content-type": "application/json"} if sent is not None else {}
        listed = [HttpHeader(name, value) for name, value in (kind | (headers or {})).items()]
        return self._execute(HttpRequest(method.upper(), path, listed, sent))

    def fires_between(self, start: datetime, end: datetime) -> list[Fire]:
        """Return what the enabled schedules call at the slots ``start <= slot < end``, by time.

        Nothing is called, and it does not matter where the clock is.
        """
        fires = []
        for schedule in self._scheduler.schedules.values():
            zone = load(schedule.timezone)
            if schedule.enabled and zone is not None:
                slots = slots_between(
                    schedule.cron, zone, _aware(start) - _TICK, _aware(end) - _TICK
                )
                fires += [_fire(schedule, slot) for slot in slots]
        return sorted(fires, key=lambda fire: fire.at)

    def advance(self, duration: timedelta) -> list[Run]:
        """Move the clock, and make the calls that are due on the way, one attempt each."""
        return self.advance_to(self.now + duration)

    def advance_to(self, moment: datetime) -> list[Run]:
        """Move the clock to an instant, and make the calls that are due until then.

        Raises ValueError for an instant in the past.
        """
        until = _aware(moment)
        if until < self.now:
            raise ValueError(f"{moment} is before the clock's {self.now}")
        runs = []
        while (schedule := self._next_due(until)) is not None:
            slot = schedule.due_at
            assert slot is not None  # noqa: S101 - it is due
            self.now = slot
            following = replace(schedule, due_at=schedule.due_after(slot))
            self._scheduler.schedules[schedule.id] = following
            runs.append(self._attempt(following, slot, "schedule", 1, str(uuid4())))
        self.now = until
        return runs

    def fire(self, name: str) -> Run:
        """Run a schedule now, by name or id, as an administrator's manual run.

        Raises KeyError where there is none.
        """
        for schedule in self._scheduler.schedules.values():
            if name in (schedule.name, str(schedule.id)):
                return self._attempt(schedule, self.now, "run_now", 1, str(uuid4()))
        raise KeyError(name)

    def repeat(self, run: Run) -> Run:
        """Make a further attempt of an occurrence, as after a lost answer: with the same key."""
        schedule = self._scheduler.schedules[run.schedule_id]
        return self._attempt(
            schedule, run.fire.at, run.trigger, run.attempt + 1, run.idempotency_key
        )

    def _next_due(self, until: datetime) -> StoredSchedule | None:
        due = [s for s in self._scheduler.schedules.values() if s.due_at and s.due_at <= until]
        return min(due, key=lambda schedule: schedule.due_at or until, default=None)

    def _attempt(
        self, schedule: StoredSchedule, slot: datetime, trigger: str, attempt: int, key: str
    ) -> Run:
        fire = _fire(schedule, slot)
        name = {"x-alga-schedule-name": quote(schedule.name, safe="")} if schedule.name else {}
        headers = {
            "x-alga-tenant": TENANT,
            "x-alga-extension": self._grant.context.extension_id,
            "x-alga-schedule-id": str(schedule.id),
            **name,
            "x-alga-scheduled-for": f"{slot:%Y-%m-%dT%H:%M:%SZ}",
            "x-alga-attempt": str(attempt),
            "x-alga-trigger": trigger,
            "x-idempotency-key": key,
        }
        # GET never has a body.
        body = schedule.payload if fire.method != "GET" else None
        response = self.call(fire.method, fire.path, body, headers)
        self._record(schedule.id, response)
        return Run(
            fire=fire,
            schedule_id=schedule.id,
            trigger=trigger,
            attempt=attempt,
            idempotency_key=key,
            response=response,
        )

    def _record(self, schedule_id: UUID, response: Response) -> None:
        stored = self._scheduler.schedules.get(schedule_id)
        if stored is None:  # the extension deleted its own schedule
            return
        succeeded = classify_status(response.status) is StatusClass.SUCCESS
        self._scheduler.schedules[schedule_id] = replace(
            stored,
            last_run_at=self.now,
            last_run_status="success" if succeeded else "error",
            last_error=None
            if succeeded
            else f"The extension answered with status {response.status}",
        )

    def _execute(self, http: HttpRequest) -> Response:
        context = replace(self._grant.context, request_id=str(uuid4()))
        self._grant = replace(self._grant, context=context, log_lines_left=MAX_LOG_LINES)
        request = ExecuteRequest(
            ContextData(
                request_id=context.request_id,
                tenant_id=context.tenant_id,
                extension_id=context.extension_id,
                install_id=str(context.install_id),
                version_id=str(context.version_id),
            ),
            http,
        )
        with importable(self.directory, self._modules) as extension:
            return _response(extension.WitWorld().handler(request))

    def _ask(self, interface: str, function: str, *arguments: object) -> Any:  # noqa: ANN401 - any result
        if interface == LOGGING and CAPABILITIES[LOGGING] in self._grant.capabilities:
            self.logged.append((function.removeprefix("log-"), str(arguments[0])))
        return _finished(
            self._host.answer(self._grant, HostCall(interface, function, [*arguments]))
        )


def _fire(schedule: StoredSchedule, slot: datetime) -> Fire:
    return Fire(
        at=slot,
        name=schedule.name or str(schedule.id),
        method=schedule.endpoint.method,
        path=schedule.endpoint.path,
        payload=schedule.payload,
    )


def _response(answer: object) -> Response:
    """Check what the handler returned, as strictly as a component's types would."""
    if not isinstance(answer, ExecuteResponse):
        raise TypeError(f"the handler returned {type(answer).__name__}, not an ExecuteResponse")
    if classify_status(answer.status) is StatusClass.INVALID:
        raise TypeError(f"the handler returned status {answer.status!r}")
    if not isinstance(answer.body, bytes | None):
        raise TypeError(f"the body is {type(answer.body).__name__}, not bytes")
    headers = {header.name: header.value for header in answer.headers}
    return Response(answer.status, headers, answer.body or b"")


def _finished(call: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - any result
    """Run a coroutine that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a host function of the test kit waits for something")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the time needs a time zone, such as tzinfo=UTC")
    return moment.astimezone(UTC)
