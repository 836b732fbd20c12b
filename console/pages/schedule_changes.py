"""Changes of a schedule: run now, pause with a reason, resume, edit with a preview, delete."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from console.bus import field_errors
from console.pages.schedule import load
from console.people import WRITE
from console.text import visible
from console.visit import ConsoleRoute, Visit, see_other
from contracts.admin_cron import PreviewCronInput, PreviewCronOutput
from contracts.admin_schedules import (
    AdminScheduleInfo,
    DeleteScheduleInput,
    ListEndpointsInput,
    ListEndpointsOutput,
    RunNowInput,
    RunNowOutput,
    UpdateScheduleInput,
)
from contracts.errors import Code, ServiceError
from contracts.schedules import DeleteOutput, UpdateOutput

ONE = "/schedules/{id:[0-9a-fA-F-]{36}}"
PREVIEWED = 10
EDITED = ("name", "endpoint", "cron", "timezone", "payload")


async def run_now(visit: Visit) -> web.Response:
    """Run the schedule, and show the run."""
    fields = RunNowInput(visit.request.match_info["id"])
    outcome = await visit.change("runNow", fields, RunNowOutput)
    return see_other(f"/runs/{outcome.run_id}")


async def set_enabled(visit: Visit) -> web.Response:
    """Pause the schedule, with a reason, or resume it."""
    schedule = await load(visit)
    change = UpdateScheduleInput(
        install_id=schedule.install_id,
        schedule_id=schedule.id,
        enabled=visit.form.get("enabled") == "yes",
        reason=visit.form.get("reason", "").strip() or UNSET,
    )
    await visit.change("updateSchedule", change, UpdateOutput)
    return see_other(_address(schedule))


async def delete(visit: Visit) -> web.Response:
    """Delete the schedule, where its name, or the beginning of its id, was typed."""
    schedule = await load(visit)
    if visit.form.get("confirm", "").strip() != confirmation(schedule):
        raise ServiceError(
            Code.VALIDATION_FAILED, f"Not deleted: type {confirmation(schedule)} to confirm"
        )
    fields = DeleteScheduleInput(install_id=schedule.install_id, schedule_id=schedule.id)
    await visit.change("deleteSchedule", fields, DeleteOutput)
    return see_other("/schedules")


def confirmation(schedule: AdminScheduleInfo) -> str:
    """Return what has to be typed to delete a schedule."""
    return (schedule.name or "").strip() or schedule.id[:8]


MEANWHILE = (
    "Not saved: somebody has changed the schedule since you opened this form. Compare, then save"
    " again to replace what it is now, or cancel."
)


async def edit(visit: Visit) -> web.Response:
    """Show the form with the schedule's values."""
    schedule = await load(visit)
    values = {
        "name": schedule.name or "",
        "endpoint": f"{schedule.endpoint_method} {schedule.endpoint_path}",
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "payload": "" if schedule.payload is None else _pretty(schedule.payload),
        "revision": str(schedule.revision),
    }
    return await _form(visit, schedule, values, {})


async def save(visit: Visit) -> web.Response:
    """Save the form, or show it again with what is wrong."""
    schedule = await load(visit)
    values = {name: visit.form.get(name, "") for name in (*EDITED, "revision")}
    if visit.form.get("action") == "preview":
        return await _form(visit, schedule, values, {})
    try:
        change = read_change(schedule, values, with_payload=visit.person.may_see_payloads)
    except ValueError as error:
        return await _form(visit, schedule, values, {"payload": str(error)})
    outcome = await visit.try_change("updateSchedule", change, UpdateOutput)
    if outcome.success:
        return see_other(_address(schedule))
    errors = field_errors(outcome)
    now = changed_meanwhile(schedule, values, with_payload=visit.person.may_see_payloads)
    if outcome.code is Code.CONFLICT and now is not None:
        # Saved again, the form replaces what it has just shown.
        errors = {"": MEANWHILE, **now}
        values = {**values, "revision": str(schedule.revision)}
    return await _form(visit, schedule, values, errors)


def changed_meanwhile(
    schedule: AdminScheduleInfo, values: Mapping[str, str], *, with_payload: bool
) -> dict[str, str] | None:
    """Return what the fields of a form are now that differ, None where it is of this revision."""
    if values["revision"] == str(schedule.revision):
        return None
    now = {
        "name": schedule.name or "",
        "endpoint": f"{schedule.endpoint_method} {schedule.endpoint_path}",
        "cron": schedule.cron,
        "timezone": schedule.timezone,
    }
    differing = {
        name: text for name, text in now.items() if _changed(values[name], text) is not UNSET
    }
    if with_payload and _payload(schedule, values["payload"]) is not UNSET:
        differing["payload"] = "" if schedule.payload is None else _pretty(schedule.payload)
    return {name: f"It is now: {text or 'empty'}" for name, text in differing.items()}


def read_change(
    schedule: AdminScheduleInfo, values: Mapping[str, str], *, with_payload: bool
) -> UpdateScheduleInput:
    """Return what differs from the schedule. Raises ValueError for a payload that is not JSON."""
    endpoint = f"{schedule.endpoint_method} {schedule.endpoint_path}"
    return UpdateScheduleInput(
        install_id=schedule.install_id,
        schedule_id=schedule.id,
        name=_name(schedule, values["name"]),
        endpoint=_changed(values["endpoint"], endpoint),
        cron=_changed(values["cron"], schedule.cron),
        timezone=_changed(values["timezone"], schedule.timezone),
        payload=_payload(schedule, values["payload"]) if with_payload else UNSET,
        expected_revision=int(values["revision"]) if values["revision"].isdecimal() else UNSET,
    )


async def preview(visit: Visit) -> web.Response:
    """Show the slots of an expression, or what is wrong with it: a part of the form."""
    return visit.page("preview.html", **await _preview(visit, visit.request.query))


async def _form(
    visit: Visit,
    schedule: AdminScheduleInfo,
    values: Mapping[str, str],
    errors: Mapping[str, str],
) -> web.Response:
    endpoints = await visit.read(
        "listEndpoints", ListEndpointsInput(schedule.install_id), ListEndpointsOutput
    )
    return visit.page(
        "edit.html",
        status=400 if errors else 200,
        schedule=schedule,
        values=values,
        errors=errors,
        endpoints=[endpoint for endpoint in endpoints.endpoints if endpoint.schedulable],
        **await _preview(visit, values),
    )


async def _preview(visit: Visit, values: Mapping[str, str]) -> dict[str, Any]:
    fields = PreviewCronInput(
        cron=values.get("cron", ""), timezone=values.get("timezone") or None, count=PREVIEWED
    )
    try:
        return {"coming": await visit.read("previewCron", fields, PreviewCronOutput), "wrong": {}}
    except ServiceError as error:
        if error.code is not Code.VALIDATION_FAILED:
            raise
        return {"coming": None, "wrong": dict(error.field_errors or {"": error.message})}


def _name(schedule: AdminScheduleInfo, text: str) -> str | UnsetType | None:
    changed = _changed(text, schedule.name or "")
    return changed or None if isinstance(changed, str) else UNSET


def _changed(text: str, before: str) -> str | UnsetType:
    # The form shows invisible characters; sent back unchanged, they are no change.
    return UNSET if text in {before, visible(before)} else text


def _payload(schedule: AdminScheduleInfo, text: str) -> Any:  # noqa: ANN401 - what the JSON holds
    if not text.strip():
        return UNSET if schedule.payload is None else None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"Not JSON: {error}") from None
    return UNSET if value == schedule.payload else value


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _address(schedule: AdminScheduleInfo) -> str:
    return f"/schedules/{schedule.id}"


ROUTES = (
    ConsoleRoute("POST", f"{ONE}/run", run_now, needs=WRITE),
    ConsoleRoute("POST", f"{ONE}/enabled", set_enabled, needs=WRITE),
    ConsoleRoute("POST", f"{ONE}/delete", delete, needs=WRITE),
    ConsoleRoute("GET", f"{ONE}/edit", edit, needs=WRITE),
    ConsoleRoute("POST", f"{ONE}/edit", save, needs=WRITE),
    ConsoleRoute("GET", "/preview", preview),
)
