"""Sessions: who is signed in, and ending that."""

from aiohttp import web

from console.visit import ConsoleRoute, Visit, not_found, see_other


async def show(visit: Visit) -> web.Response:
    """Show the sessions that the person may end."""
    return visit.page("sessions.html", sessions=visit.parts.sessions.of(visit.person))


async def sign_out(visit: Visit) -> web.Response:
    """End the person's own session."""
    visit.parts.sessions.revoke(visit.session_id)
    return see_other("/sign-in")


async def revoke(visit: Visit) -> web.Response:
    """End one of the sessions that the person may end."""
    session_id = visit.form.get("session", "")
    if session_id not in {session.id for session in visit.parts.sessions.of(visit.person)}:
        raise not_found("Session")
    visit.parts.sessions.revoke(session_id)
    return see_other("/sessions")


ROUTES = (
    ConsoleRoute("GET", "/sessions", show),
    ConsoleRoute("POST", "/sessions", revoke),
    ConsoleRoute("POST", "/sign-out", sign_out),
)
