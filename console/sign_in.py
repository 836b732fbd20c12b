"""Signing in with a one-time link, and out."""

from collections.abc import Sequence

from aiohttp import web

from console.forms import read_form
from console.links import SIGN_IN_PATH, LinkReader, LinkRefused
from console.sessions import SESSION_LIFETIME_S
from console.visit import ConsoleParts


def cookie_name(*, secure: bool) -> str:
    """Return the cookie's name; browsers take one of ``__Host-`` from this very host alone."""
    return "__Host-ext-scheduler" if secure else "ext-scheduler"


def routes(
    parts: ConsoleParts, links: LinkReader, *, secure: bool
) -> Sequence[web.AbstractRouteDef]:
    """Return the routes that need no session."""

    async def show(request: web.Request) -> web.Response:
        token = request.query.get("link", "")
        if not token:
            return _page(parts, status=200, person=None, token="", refusal="")
        try:
            person = links.peek(token)
        except LinkRefused as refused:
            return _page(parts, status=403, person=None, token="", refusal=str(refused))
        return _page(parts, status=200, person=person, token=token, refusal="")

    async def enter(request: web.Request) -> web.Response:
        form = await read_form(request)
        try:
            person = links.redeem(str(form.get("link", "")))
        except LinkRefused as refused:
            return _page(parts, status=403, person=None, token="", refusal=str(refused))
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            cookie_name(secure=secure),
            parts.sessions.open(person),
            max_age=SESSION_LIFETIME_S,
            httponly=True,
            samesite="Strict",
            secure=secure,
            path="/",
        )
        return response

    return [web.get(SIGN_IN_PATH, show), web.post(SIGN_IN_PATH, enter)]


def _page(parts: ConsoleParts, *, status: int, **context: object) -> web.Response:
    text = parts.templates.get_template("sign_in.html").render(**context)
    return web.Response(text=text, content_type="text/html", status=status)
