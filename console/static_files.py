"""Scripts and the style sheet: files of the package, read once, kept by browsers for an hour."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
CACHE = {"Cache-Control": "public, max-age=3600"}


@cache
def asset(name: str) -> str:
    """Return the address of a file, which differs where its content does."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def static_routes() -> Sequence[web.AbstractRouteDef]:
    """Return a route per file."""
    return [
        web.get(f"/static/{file.name}", _answer(file.read_bytes(), CONTENT_TYPES[file.suffix]))
        for file in sorted(STATIC.iterdir())
        if file.suffix in CONTENT_TYPES
    ]


def _answer(body: bytes, content_type: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=CACHE)

    return answer
