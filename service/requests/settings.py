"""What bounds a responder."""

from msgspec import Struct


class ResponderSettings(Struct, frozen=True):
    """How much at once, and which subjects replies may go to.

    ``reply_prefixes`` are literal beginnings of a reply subject. What waited longer than
    ``max_wait_s`` seconds is refused when its turn comes: in a flood its caller is about to give
    up, and an answer in time is better given to those behind it.
    """

    concurrency: int = 64
    waiting: int = 1024
    waiting_bytes: int = 64 * 1024 * 1024
    reply_prefixes: tuple[str, ...] = ("_INBOX", "_R_.")
    drain_timeout_s: float = 30.0
    max_wait_s: float = 2.0
