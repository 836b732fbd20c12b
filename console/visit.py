"""A request to a page: who makes it, what they read and change, and what they get back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web
from jinja2 import Environment
from markupsafe import Markup
from msgspec import Struct

from console import tables, times
from console.bus import BusReads, OutcomeT, as_error
from console.live import LiveFeed
from console.people import READ, Person
from console.responders import Responders
from console.sessions import Sessions
from contracts.admin_reads import AuditEntry
from contracts.errors import Code, ServiceError
from contracts.times import read_time, wire_time

T = TypeVar("T", bound=Struct)
PARAMETERS = {"tenantId": "tenant", "installId": "install", "scheduleId": "schedule"}
"""What addresses call a field of the wire, where it is something else."""


class ConsoleParts(Struct, frozen=True, kw_only=True):
    """What all requests share."""

    reads: BusReads
    feed: LiveFeed
    responders: Responders
    sessions: Sessions
    templates: Environment
    navigation: Sequence["NavigationEntry"]
    trace_url: str = ""


class NavigationEntry(Struct, frozen=True):
    """A page in the navigation; ``key`` after ``g`` goes there."""

    title: str
    path: str
    key: str


class Visit:
    """A request of a person who may make it; the form's fields are there once it is checked."""

    def __init__(
        self,
        request: web.Request,
        parts: ConsoleParts,
        person: Person,
        *,
        session_id: str,
        csrf: str,
        request_id: str,
    ) -> None:
        self.request = request
        self.parts = parts
        self.person = person
        self.session_id = session_id
        self.csrf = csrf
        self.request_id = request_id
        self.now: datetime = times.utc_now()
        self.zone: ZoneInfo = times.zone_of(unquote(request.cookies.get("timezone", "")))
        self.form: Mapping[str, str] = {}
        self.chosen: Sequence[str] = ()
        self._known_since: float | None = None

    async def read(self, op: str, fields: Struct, output: type[T]) -> T:
        """Return a read's output, the last known while the bus is away. Raises ServiceError."""
        value, since = await self.parts.reads.read(self.person, op, fields, output)
        if since is not None:
            self._known_since = min(since, self._known_since or since)
        return value

    async def search(self, found: Awaitable[T], empty: T) -> tuple[T, dict[str, str]]:
        """Return a read's output, or ``empty`` and what is wrong with the address's parameters.

        Raises ServiceError for anything else, and where a file is asked for.
        """
        try:
            return await found, {}
        except ServiceError as error:
            wrong = error.field_errors
            if error.code is not Code.VALIDATION_FAILED or not wrong or self.query("as"):
                raise
            return empty, {PARAMETERS.get(name, name): text for name, text in wrong.items()}

    async def change(self, op: str, fields: Struct, output: type[OutcomeT]) -> OutcomeT:
        """Make a change; raise ServiceError where it was not made."""
        outcome = await self.try_change(op, fields, output)
        if not outcome.success:
            raise as_error(outcome)
        return outcome

    async def try_change(self, op: str, fields: Struct, output: type[OutcomeT]) -> OutcomeT:
        """Try a change; return its outcome, also a negative one. Raises ServiceError."""
        return await self.parts.reads.change(self.person, op, fields, output)

    def is_still_in(self) -> bool:
        """Return whether the session, if there is one, still lasts."""
        return not self.session_id or self.parts.sessions.is_open(self.session_id)

    def query(self, name: str) -> str | None:
        """Return a parameter of the address, None where it is missing or empty."""
        return self.request.query.get(name, "").strip() or None

    def choice(self, name: str) -> bool | None:
        """Return a parameter that is yes or no, None for any other text."""
        return {"yes": True, "no": False}.get(self.query(name) or "")

    def link(self, **changed: str | None) -> str:
        """Return this page's address with some parameters changed, None removing one."""
        query = {**self.request.query, **changed}
        text = urlencode({name: value for name, value in query.items() if value})
        return f"{self.request.path}?{text}" if text else self.request.path

    def page(self, template: str, *, status: int = 200, **context: Any) -> web.Response:  # noqa: ANN401 - what the template takes
        """Return a page."""
        since = self._known_since
        text = self.parts.templates.get_template(template).render(
            visit=self,
            person=self.person,
            csrf=self.csrf,
            navigation=self.parts.navigation,
            path=self.request.path,
            zone=self.zone.key,
            now=self.now,
            instant=self.instant,
            moment=self.moment,
            known_since=None if since is None else datetime.fromtimestamp(since, tz=UTC),
            connected=self.parts.feed.connected,
            **context,
        )
        return web.Response(text=text, content_type="text/html", status=status)

    def table(
        self, name: str, columns: tables.TableColumns, rows: Sequence[Any], next_cursor: str | None
    ) -> web.Response | None:
        """Return the rows as the file that ``?as=`` asks for, None where it asks for none."""
        wanted = self.query("as")
        if wanted not in tables.FORMATS:
            return None
        next_url = self.link(cursor=next_cursor) if next_cursor else None
        headers = {"Content-Disposition": f'attachment; filename="{name}.{wanted}"'}
        if next_url:
            headers["Link"] = f'<{next_url}>; rel="next"'
        if wanted == "json":
            body = tables.write_json(columns, rows, next_url)
            return web.Response(body=body, content_type="application/json", headers=headers)
        text = tables.write_csv(columns, rows)
        return web.Response(text=text, content_type="text/csv", charset="utf-8", headers=headers)

    def instant(self, text: str | None) -> Markup:
        """Return an instant of the wire on the viewer's clock."""
        return times.instant(text, self.zone, self.now)

    def wire_time(self, seconds: float) -> str:
        """Return Unix seconds as an instant of the wire."""
        return wire_time(datetime.fromtimestamp(seconds, tz=UTC))

    def relative(self, text: str) -> str:
        """Return how far an instant is from now."""
        return times.relative(read_time(text), self.now)

    def audit_text(self, entry: AuditEntry) -> str:
        """Return what an audit entry changed; payloads only for people who may see them."""
        hidden = set() if self.person.may_see_payloads else {"payload"}
        shown = {name: value for name, value in entry.changes.items() if name not in hidden}
        return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()

    def moment(self, text: str | None) -> Markup:
        """Return an instant on the viewer's clock, and how far it is from now."""
        return times.moment(text, self.zone, self.now)


def see_other(path: str) -> web.Response:
    """Return the answer to a form that was accepted: where to look."""
    return web.Response(status=303, headers={"Location": path})


def not_found(what: str) -> ServiceError:
    """Return the error of an address that names nothing."""
    return ServiceError(Code.NOT_FOUND, f"{what} not found")


Show = Callable[[Visit], Awaitable[web.StreamResponse]]


class ConsoleRoute(Struct, frozen=True):
    """An address, what answers it, and the permission that it needs."""

    method: str
    path: str
    show: Show
    needs: str = READ
