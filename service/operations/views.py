"""Rows in the form that goes over the wire."""

from datetime import datetime

from contracts.schedules import EndpointInfo, ScheduleInfo
from contracts.times import wire_time
from service.rules import payload
from service.rules.endpoints import EndpointManifest, schedulable
from service.storage.platform.endpoints import Endpoint
from service.storage.schedules.owner_view import ScheduleView
from service.storage.schedules.rows import Schedule


def schedule_info(row: Schedule) -> ScheduleInfo:
    """Return a schedule for the wire; an endpoint whose row is missing as empty texts."""
    return ScheduleInfo(
        id=str(row.id),
        endpoint_path=row.endpoint_path or "",
        endpoint_method=row.endpoint_method or "",
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        enabled=row.enabled,
        payload=None if row.payload is None else payload.from_json(row.payload),
        last_run_at=_time(row.last_run_at),
        last_run_status=row.last_run_status,
        last_error=row.last_error,
        created_at=wire_time(row.created_at),
        updated_at=wire_time(row.updated_at),
        next_run_at=_time(row.next_run_at) if row.enabled else None,
        revision=row.revision,
    )


def schedule_view_info(row: ScheduleView) -> ScheduleInfo:
    """Return a schedule for its owner, from a row that was read for that alone."""
    return ScheduleInfo(
        id=row.id,
        endpoint_path=row.endpoint_path,
        endpoint_method=row.endpoint_method,
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        enabled=row.enabled,
        payload=None if row.payload is None else payload.from_json(row.payload),
        last_run_at=row.last_run_at,
        last_run_status=row.last_run_status,
        last_error=row.last_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        next_run_at=row.next_run_at,
        revision=row.revision,
    )


def endpoint_infos(rows: list[Endpoint], manifest: EndpointManifest) -> list[EndpointInfo]:
    """Return endpoints by path, then method, in code-point order."""
    return [
        EndpointInfo(
            id=str(row.id),
            method=row.method,
            path=row.path,
            handler=row.handler,
            schedulable=schedulable(row.method, row.path, manifest),
        )
        for row in sorted(rows, key=lambda row: (row.path, row.method))
    ]


def _time(at: datetime | None) -> str | None:
    return None if at is None else wire_time(at)
