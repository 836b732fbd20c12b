"""Forms as browsers send them, and as nothing honest does."""

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiDictProxy

from contracts.errors import Code, ServiceError

FormFields = MultiDictProxy[str | bytes | bytearray | web.FileField]


async def read_form(request: web.Request) -> FormFields:
    """Return the fields of a form. Raises ServiceError for a body that is none."""
    try:
        return await request.post()
    except (LookupError, ValueError, AssertionError, RuntimeError, HttpProcessingError):
        # A character set or transfer encoding that nobody knows, bytes not of it, broken parts.
        raise ServiceError(Code.VALIDATION_FAILED, "This is not a form") from None
