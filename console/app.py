"""The console's HTTP application: who may enter, what every answer carries, what errors become."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from logging import getLogger
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Struct

from console import errors, sign_in
from console.app_headers import HTTPS_HEADERS, SECURITY_HEADERS
from console.bus import AskAdmin, BusReads
from console.forms import read_form
from console.links import SIGN_IN_PATH, LinkReader
from console.live import LiveFeed
from console.people import Person
from console.proxy import TrustedProxies
from console.rendering import environment
from console.responders import Responders
from console.routes import NAVIGATION, ROUTES
from console.sessions import Sessions, csrf_token, is_csrf_token
from console.static_files import static_routes
from console.visit import ConsoleParts, ConsoleRoute, Visit
from contracts.context import KeySet
from contracts.errors import Code, ServiceError

log = getLogger(__name__)

MAX_FORM_BYTES = 262_144


class ConsoleSettings(Struct, frozen=True, kw_only=True):
    """How to serve: ``url`` is how browsers reach it, if not by ``host`` and ``port``.

    ``secret`` signs what forms carry; all processes that share a key have the same. ``trace_url``
    is the address of a trace, with ``{trace}`` for its id.
    """

    host: str
    port: int
    url: str
    secret: bytes
    trace_url: str = ""

    @property
    def is_behind_tls(self) -> bool:
        """Return whether browsers reach it by https."""
        return self.url.startswith("https://")


class Console(Struct, frozen=True, kw_only=True):
    """The parts of a running console that the connection to the bus feeds."""

    feed: LiveFeed
    responders: Responders
    reads: BusReads


def new_console(ask: AskAdmin) -> Console:
    """Return the parts that the connection to the bus feeds."""
    return Console(feed=LiveFeed(), responders=Responders(), reads=BusReads(ask))


@asynccontextmanager
async def serving(
    console: Console,
    settings: ConsoleSettings,
    keys: Callable[[], KeySet],
    proxies: TrustedProxies | None,
) -> AsyncIterator[str]:
    """Serve within the context, on any free port where it is 0; yield the address to open.

    Raises:
        OSError: the address cannot be used.
    """
    sessions = Sessions()
    parts = ConsoleParts(
        reads=console.reads,
        feed=console.feed,
        responders=console.responders,
        sessions=sessions,
        templates=environment(),
        navigation=NAVIGATION,
        trace_url=settings.trace_url,
    )
    door = _Door(settings, parts, proxies)
    application = web.Application(
        client_max_size=MAX_FORM_BYTES, middlewares=[_headers(settings), _errors(parts, door)]
    )
    application.router.add_routes(
        [
            *static_routes(),
            *sign_in.routes(parts, LinkReader(keys), secure=settings.is_behind_tls),
            *(web.route(route.method, route.path, door.handler(route)) for route in ROUTES),
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        yield settings.url or f"http://{shown}:{port}"
    finally:
        await runner.cleanup()


class _Door:
    """Lets people in: by the proxy's word, or by the session of their cookie."""

    def __init__(
        self, settings: ConsoleSettings, parts: ConsoleParts, proxies: TrustedProxies | None
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._proxies = proxies

    def handler(self, route: ConsoleRoute) -> Handler:
        """Return the handler of a route: it checks the person, then the form."""

        async def handle(request: web.Request) -> web.StreamResponse:
            visit = self.visit(request)
            if visit is None:
                if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
                    return web.Response(status=303, headers={"Location": SIGN_IN_PATH})
                raise ServiceError(Code.UNAUTHORIZED, "You are not signed in, or no longer")
            if route.needs not in visit.person.permissions:
                raise ServiceError(Code.DENIED, f"You lack the permission {route.needs}")
            if route.method == "POST":
                await _check_form(visit)
            return await route.show(visit)

        return handle

    def visit(self, request: web.Request) -> Visit | None:
        """Return the visit of whoever makes the request, None where nobody is signed in."""
        found = self._identify(request)
        if found is None:
            return None
        person, session_id = found
        return Visit(
            request,
            self._parts,
            person,
            session_id=session_id,
            csrf=csrf_token(self._settings.secret, person, session_id),
            request_id=request[errors.REQUEST_ID],
        )

    def _identify(self, request: web.Request) -> tuple[Person, str] | None:
        if self._proxies is not None:
            person = self._proxies.person(request.remote, request.headers)
            return None if person is None else (person, "")
        session = self._parts.sessions.find(
            request.cookies.get(sign_in.cookie_name(secure=self._settings.is_behind_tls))
        )
        return None if session is None else (session.person, session.id)


async def _check_form(visit: Visit) -> None:
    form = await read_form(visit.request)
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    if not is_csrf_token(fields.pop("csrf", ""), visit.csrf):
        raise ServiceError(
            Code.DENIED, "The form is not of this session: open the page again and repeat"
        )
    visit.form = fields
    visit.chosen = [value for value in form.getall("chosen", []) if isinstance(value, str)]


def _headers(settings: ConsoleSettings) -> Middleware:
    @web.middleware
    async def add_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[errors.REQUEST_ID] = str(uuid4())
        response = await handler(request)
        if not response.prepared:
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            if settings.is_behind_tls:
                response.headers.update(HTTPS_HEADERS)
        return response

    return add_headers


def _errors(parts: ConsoleParts, door: _Door) -> Middleware:
    @web.middleware
    async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ServiceError as error:
            return errors.service_error(parts.templates, request, door.visit(request), error)
        except web.HTTPException as error:
            return errors.http_error(parts.templates, request, door.visit(request), error)
        except ConnectionResetError:
            raise
        except Exception:  # the edge: whatever it is, the person gets an answer
            log.exception("a page failed", extra={"request_id": request[errors.REQUEST_ID]})
            return errors.failure(parts.templates, request)

    return show_errors
