"""The NATS client without what it needs for WebSockets alone: half of what a command imports."""

import sys

WEBSOCKET_SCHEMES = ("ws://", "wss://")


def import_nats(urls: str) -> None:
    """Import the client; without ``aiohttp``, unless a URL asks for WebSockets.

    The client tries to import it, and goes on where that fails.
    """
    if any(scheme in urls for scheme in WEBSOCKET_SCHEMES) or "aiohttp" in sys.modules:
        return
    # What Python itself writes there for a module that must not be imported.
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # see above
    try:
        import nats.aio.client  # noqa: F401, PLC0415 - what this is for
    finally:
        del sys.modules["aiohttp"]
