"""What an author probably meant by a refused change: for the log, the answer stays the same."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches

from contracts.errors import ServiceError
from contracts.schedules import EndpointInfo, GetEndpointsOutput
from runner_bridge.dev_runner.frames import Value

Suggest = Callable[[str, str], str | None]
"""Returns what would be accepted in place of a refused cron expression or time zone, if known.

It is given the field, ``cron`` or ``timezone``, and its text."""
ReadEndpoints = Callable[[], Awaitable[GetEndpointsOutput]]


def no_suggestion(_field: str, _text: str) -> None:
    """Suggest nothing."""


async def hints_for(
    given: Mapping[str, Value],
    field_errors: Mapping[str, str],
    suggest: Suggest,
    read_endpoints: ReadEndpoints,
) -> dict[str, str]:
    """Return hints by field, for those refused fields where something close is accepted."""
    hints = {}
    for field in ("cron", "timezone"):
        accepted = suggest(field, given[field]) if field in field_errors and given[field] else None
        if accepted is not None:
            hints[field] = f"accepted would be: {accepted}"
    if "endpoint" in field_errors and given["endpoint"]:
        try:
            endpoints = (await read_endpoints()).endpoints
        except ServiceError:
            return hints
        if (hint := endpoint_hint(given["endpoint"], endpoints)) is not None:
            hints["endpoint"] = hint
    return hints


def endpoint_hint(selector: str, endpoints: Sequence[EndpointInfo]) -> str | None:
    """Return why an endpoint is refused, as far as the declared ones show it."""
    method, _, path = selector.strip().rpartition(" ")
    path = path if path.startswith("/") else f"/{path}"
    of_path = [endpoint for endpoint in endpoints if endpoint.path == path]
    if not of_path:
        close = get_close_matches(path, [endpoint.path for endpoint in endpoints], n=1)
        return f"declared is {close[0]}" if close else None
    declared = " and ".join(sorted(endpoint.method for endpoint in of_path))
    if method and all(endpoint.method != method.strip().upper() for endpoint in of_path):
        return f"declared as {declared}"
    return f"declared as {declared}, but not schedulable"
