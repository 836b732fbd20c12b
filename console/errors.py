"""What errors become: a page that says what is wrong, what to do, and the request's id."""

from aiohttp import web
from jinja2 import Environment

from console.visit import Visit
from contracts.errors import NUMBERS, Code, ServiceError

REQUEST_ID = web.RequestKey("request_id", str)
ADVICE = {
    Code.UNAUTHORIZED: "Nothing was changed. Sign in, open the page again and repeat; where you are"
    " signed in, the service does not accept the console's key.",
    Code.DENIED: "Where a permission is missing, ask for it, or sign in with a link that has it.",
    Code.NOT_FOUND: "It may have been deleted, or belong to a tenant that is not yours.",
    Code.CONFLICT: "Somebody else was faster: look at it again, then repeat.",
    Code.RATE_LIMITED: "Wait a moment, then repeat.",
    Code.QUOTA_EXCEEDED: "Delete what is not needed, or ask for a higher quota.",
    Code.UNAVAILABLE: "The bus or the service is away; this page works again when it is back.",
    Code.INTERNAL: "Give the request id to the people who run the service: it is in the log.",
}


def service_error(
    templates: Environment, request: web.Request, visit: Visit | None, error: ServiceError
) -> web.Response:
    """Return the page of an error of the service, or of what the console refuses by itself."""
    return _page(
        templates,
        visit,
        status=NUMBERS[error.code],
        code=error.code.value,
        message=error.message,
        advice=ADVICE.get(error.code, ""),
        fields=error.field_errors or {},
        request_id=error.request_id or request[REQUEST_ID],
    )


def http_error(
    templates: Environment, request: web.Request, visit: Visit | None, error: web.HTTPException
) -> web.Response:
    """Return the page of an address that does not exist, or of a form that is too large."""
    return _page(
        templates,
        visit,
        status=error.status,
        code=str(error.status),
        message=error.reason,
        advice="",
        fields={},
        request_id=request[REQUEST_ID],
    )


def failure(templates: Environment, request: web.Request) -> web.Response:
    """Return the page of a fault of the console, bare: the fault may be in what pages share."""
    return _page(
        templates,
        None,
        status=500,
        code=Code.INTERNAL.value,
        message="The console failed",
        advice=ADVICE[Code.INTERNAL],
        fields={},
        request_id=request[REQUEST_ID],
    )


def _page(
    templates: Environment, visit: Visit | None, *, status: int, **context: object
) -> web.Response:
    if visit is not None:
        return visit.page("error.html", status=status, **context)
    text = templates.get_template("error.html").render(status=status, **context)
    return web.Response(text=text, content_type="text/html", status=status)
