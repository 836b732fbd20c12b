"""A guest of a larger world; the path says which of its imports it calls."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import wit_world  # type: ignore[import-not-found]  # made by the build
from componentize_py_types import Err  # type: ignore[import-not-found]  # likewise
from wit_world.imports import (  # type: ignore[import-not-found]  # likewise
    context,
    http,
    logging,
    queues,
    scheduler,
    secrets,
    types,
    user,
)


class WitWorld:
    """What the host calls."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        """Call one import; an error code is an answer, a trap is not."""
        try:
            value = PATHS[request.http.url](request)
        except Err as error:
            value = {"error": error.value.name}
        return types.ExecuteResponse(200, [], json.dumps(value).encode())


def offered(_: types.ExecuteRequest) -> Any:
    """Use what the host does offer."""
    logging.log_info("from a larger world")
    return asdict(context.get_context())


def fetch(request: types.ExecuteRequest) -> Any:
    """Call an interface that the host does not offer."""
    http.fetch(request.http)


PATHS: dict[str, Callable[[types.ExecuteRequest], Any]] = {
    "/offered": offered,
    "/schedules": lambda _: [asdict(schedule) for schedule in scheduler.list_schedules()],
    "/schedule": lambda _: scheduler.get_schedule("x"),
    "/pause": lambda _: scheduler.pause_schedule("x"),
    "/secret": lambda _: secrets.get("key"),
    "/fetch": fetch,
    "/user": lambda _: user.get_user(),
    "/queue": lambda _: queues.Queue("q").push(b"x"),
    "/default-queue": lambda _: queues.default_queue().push(b"x"),
    "/ping": lambda _: wit_world.ping(),
}
