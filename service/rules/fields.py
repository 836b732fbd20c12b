"""Validation of the fields of host operations: all errors at once, in the order of the input.

Errors that need the database (missing endpoint, taken name) are added by the operation, and sorted
by ``order_errors``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from service.rules import payload, zones
from service.rules.columns import Container
from service.rules.cron import Cron, InvalidCronError, parse
from service.rules.endpoints import NOT_SCHEDULABLE, Selector, parse_selector
from service.rules.limits import Limits
from service.rules.text import is_storable

REQUIRED = "Required"
TIMEZONE_TOO_LONG = "Timezone too long"
INVALID_TIMEZONE = "Invalid timezone"
NAME_TOO_LONG = "Name too long"
INVALID_NAME = "Invalid name"
INVALID_ID = "Invalid scheduleId"
NAME_TAKEN = "Schedule name already in use for this extension"
NOT_FOUND = "Schedule not found"

CREATE_FIELDS = ("endpoint", "cron", "timezone", "enabled", "name", "payload")
UPDATE_FIELDS = ("scheduleId", *CREATE_FIELDS, "expectedRevision")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class CheckedCreate(Struct, frozen=True, kw_only=True):
    """The values of a create. ``endpoint`` and ``cron`` are None only where ``errors`` says why.

    Texts are trimmed; ``errors`` maps a field to its message and is in the order of the input.
    """

    errors: Mapping[str, str]
    endpoint: Selector | None = None
    cron: Cron | None = None
    timezone: str = "UTC"
    enabled: bool = True
    name: str | None = None
    payload: Container | None = None


class CheckedUpdate(Struct, frozen=True, kw_only=True):
    """The values of an update, UNSET where absent (or in ``errors``); None clears.

    ``given`` are the wire names of the schedule's fields that the input has, in its order.
    """

    errors: Mapping[str, str]
    given: Sequence[str]
    schedule_id: UUID | None = None
    endpoint: Selector | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    payload: Container | UnsetType | None = UNSET
    expected_revision: int | UnsetType = UNSET


class CheckedId(Struct, frozen=True, kw_only=True):
    """The ``scheduleId`` of a get or delete, None only where ``errors`` says why."""

    errors: Mapping[str, str]
    schedule_id: UUID | None = None


def check_create(raw: Mapping[str, Any], limits: Limits) -> CheckedCreate:
    """Validate the input of ``create``: null means absent, endpoint and cron are required."""
    present = {name: raw[name] for name in CREATE_FIELDS if raw.get(name) is not None}
    values, errors = _validate(CREATE_FIELDS, present, limits, required={"endpoint", "cron"})
    return CheckedCreate(errors=errors, **values)


def check_update(raw: Mapping[str, Any], limits: Limits) -> CheckedUpdate:
    """Validate the input of ``update``: null clears name or payload, and is an error elsewhere."""
    present = {name: raw[name] for name in UPDATE_FIELDS if name in raw}
    if present.get("scheduleId") is None:
        present.pop("scheduleId", None)
    values, errors = _validate(UPDATE_FIELDS, present, limits, required={"scheduleId"})
    return CheckedUpdate(
        errors=errors,
        given=[name for name in CREATE_FIELDS if name in present],
        schedule_id=values.pop("scheduleId", None),
        expected_revision=values.pop("expectedRevision", UNSET),
        **values,
    )


def check_schedule_id(raw: Mapping[str, Any]) -> CheckedId:
    """Validate an input that consists of a ``scheduleId``."""
    value = raw.get("scheduleId")
    present = {} if value is None else {"scheduleId": value}
    values, errors = _validate(["scheduleId"], present, Limits(), required={"scheduleId"})
    return CheckedId(errors=errors, schedule_id=values.get("scheduleId"))


def order_errors(order: Iterable[str], errors: Mapping[str, str]) -> dict[str, str]:
    """Return the same errors in the order of the input, those of other fields last."""
    return {name: errors[name] for name in (*order, *errors) if name in errors}


class _InvalidValueError(Exception):
    """A value that is not accepted; ``str()`` of it is the field error."""


def _validate(
    order: Sequence[str], present: Mapping[str, Any], limits: Limits, *, required: set[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the checked values by wire name, and the errors in the given order."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in order:
        if name in present:
            try:
                values[name] = _RULES[name](present[name], limits)
            except _InvalidValueError as refusal:
                errors[name] = str(refusal)
        elif name in required:
            errors[name] = REQUIRED
    return values, errors


def _endpoint(value: object, limits: Limits) -> Selector:
    selector = parse_selector(_text(value), max_length=limits.max_endpoint_length)
    if selector is None:
        raise _InvalidValueError(NOT_SCHEDULABLE)
    return selector


def _cron(value: object, limits: Limits) -> Cron:
    try:
        return parse(
            _text(value),
            min_interval_minutes=limits.min_interval_minutes,
            max_length=limits.max_cron_length,
        )
    except InvalidCronError as error:
        raise _InvalidValueError(str(error)) from None


def _timezone(value: object, limits: Limits) -> str:
    name = _text(value).strip() or "UTC"
    if len(name) > limits.max_timezone_length:
        raise _InvalidValueError(TIMEZONE_TOO_LONG)
    if zones.load(name) is None:
        raise _InvalidValueError(INVALID_TIMEZONE)
    return name


def _enabled(value: object, _: Limits) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type("boolean")
    return value


def _name(value: object, limits: Limits) -> str | None:
    if value is None:
        return None
    name = _text(value).strip()
    if len(name) > limits.max_name_length:
        raise _InvalidValueError(NAME_TOO_LONG)
    if not is_storable(name):
        raise _InvalidValueError(INVALID_NAME)
    return name or None


def _payload(value: object, limits: Limits) -> object:
    refusal = payload.check(
        value, max_length=limits.max_payload_length, max_depth=limits.max_payload_depth
    )
    if refusal is not None:
        raise _InvalidValueError(refusal)
    return value


def _schedule_id(value: object, _: Limits) -> UUID:
    text = _text(value)
    if not _UUID.fullmatch(text):
        raise _InvalidValueError(INVALID_ID)
    return UUID(text)


def _expected_revision(value: object, _: Limits) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type("integer")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type("string")
    return value


def _wrong_type(expected: str) -> _InvalidValueError:
    return _InvalidValueError(f"Wrong type (expected {expected})")


_RULES: Mapping[str, Callable[[object, Limits], object]] = {
    "scheduleId": _schedule_id,
    "endpoint": _endpoint,
    "cron": _cron,
    "timezone": _timezone,
    "enabled": _enabled,
    "name": _name,
    "payload": _payload,
    "expectedRevision": _expected_revision,
}
