"""A scheduler in memory, standing in for the service behind the host functions."""

import asyncio
from typing import Any

from msgspec.structs import replace

from contracts.errors import Code, ServiceError
from contracts.schedules import (
    CreateInput,
    CreateOutput,
    DeleteInput,
    DeleteOutput,
    EndpointInfo,
    GetEndpointsOutput,
    GetInput,
    GetOutput,
    ListOutput,
    ScheduleInfo,
    UpdateInput,
    UpdateOutput,
)

ENDPOINTS = [
    EndpointInfo(id="e1", method="POST", path="/api/heartbeat", handler="h", schedulable=True),
    EndpointInfo(id="e2", method="POST", path="/api/setup", handler="s", schedulable=False),
    EndpointInfo(id="e3", method="GET", path="/api/status", handler="t", schedulable=True),
]


def schedule_info(**changes: Any) -> ScheduleInfo:
    """Give a schedule with everything set, changed as the test wants it."""
    schedule = ScheduleInfo(
        id="5d6f1c1e-7a52-4f0e-9d75-6a1b3a3c9c11",
        endpoint_path="/api/heartbeat",
        endpoint_method="POST",
        name="heartbeat",
        cron="*/5 * * * *",
        timezone="UTC",
        enabled=True,
        payload={"schedule": "heartbeat"},
        last_run_at="2026-01-01T00:00:00.000Z",
        last_run_status="success",
        last_error=None,
        created_at="2026-01-01T00:00:00.000Z",
        updated_at="2026-01-01T00:00:00.000Z",
        next_run_at="2026-01-01T00:05:00.000Z",
        revision=1,
    )
    return replace(schedule, **changes)


class MemoryScheduler:
    """The six operations on a list. ``refusal`` is raised, ``outcome`` returned, where set."""

    def __init__(self) -> None:
        self.schedules: list[ScheduleInfo] = []
        self.requests: list[Any] = []
        self.refusal: ServiceError | None = None
        self.outcome: Any = None
        self.blocked: asyncio.Event | None = None

    async def list(self) -> ListOutput:
        """List them."""
        await self._note(None)
        return ListOutput(schedules=self.schedules)

    async def get(self, request: GetInput) -> GetOutput:
        """Get one."""
        await self._note(request)
        found = [s for s in self.schedules if s.id == request.schedule_id]
        return GetOutput(schedule=found[0] if found else None)

    async def create(self, request: CreateInput) -> CreateOutput:
        """Create one, unless its name is taken."""
        await self._note(request)
        if self.outcome is not None:
            return CreateOutput(**self.outcome)
        schedule_id = f"00000000-0000-4000-8000-{len(self.requests):012}"
        method, _, path = request.endpoint.rpartition(" ")
        self.schedules.append(
            schedule_info(
                id=schedule_id,
                endpoint_method=method,
                endpoint_path=path,
                cron=request.cron,
                name=request.name,
                payload=request.payload,
            )
        )
        return CreateOutput(success=True, schedule_id=schedule_id)

    async def update(self, request: UpdateInput) -> UpdateOutput:
        """Change nothing, successfully."""
        await self._note(request)
        return UpdateOutput(**(self.outcome or {"success": True}))

    async def delete(self, request: DeleteInput) -> DeleteOutput:
        """Delete one."""
        await self._note(request)
        left = [s for s in self.schedules if s.id != request.schedule_id]
        if len(left) == len(self.schedules):
            message = "Schedule not found"
            return DeleteOutput(success=False, code=Code.NOT_FOUND, error=message)
        self.schedules = left
        return DeleteOutput(success=True)

    async def get_endpoints(self) -> GetEndpointsOutput:
        """List the endpoints."""
        await self._note(None)
        return GetEndpointsOutput(endpoints=ENDPOINTS)

    async def _note(self, request: Any) -> None:
        self.requests.append(request)
        if self.blocked is not None:
            await self.blocked.wait()
        if self.refusal is not None:
            raise self.refusal
