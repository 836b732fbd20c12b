"""Which request targets are the callback's, however they are spelled.

A server behind may read percent-encodings, dot segments, double slashes or upper case as the same
path. What any of them could take for the callback is never forwarded, only answered.
"""

from enum import Enum
from urllib.parse import unquote

from msgspec import Struct

PREFIX = "/api/internal/ext-scheduler"
_INSTALL = f"{PREFIX}/install/"
_DECODINGS = 4


class TargetKind(Enum):
    """Where a request goes: ``UNUSABLE`` has a target that no path can be read from."""

    CALLBACK = "callback"
    NEAR_MISS = "near miss"
    OTHER = "other"
    UNUSABLE = "unusable"


class RequestTarget(Struct, frozen=True):
    """A request target; ``path`` is its path and query as spelled, ``install`` the callback's."""

    kind: TargetKind
    path: str = ""
    install: str = ""


def read_target(target: str) -> RequestTarget:
    """Read a request target in origin form (``/path?query``) or absolute form (``http://…``).

    The callback's is spelled exactly ``/api/internal/ext-scheduler/install/{install}``.
    """
    path = _origin_form(target)
    if path is None or not path.isascii() or "#" in path:
        return RequestTarget(TargetKind.UNUSABLE)
    plain = path.partition("?")[0]
    install = plain.removeprefix(_INSTALL)
    if plain.startswith(_INSTALL) and install and not set(install) & set("/%;\\."):
        return RequestTarget(TargetKind.CALLBACK, path, install)
    ours = _normalised(plain)
    if ours == PREFIX or ours.startswith(PREFIX + "/"):
        return RequestTarget(TargetKind.NEAR_MISS, path)
    return RequestTarget(TargetKind.OTHER, path)


def _origin_form(target: str) -> str | None:
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return None
    authority_end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    path = rest[authority_end:]
    return path if path.startswith("/") else f"/{path}"


def _normalised(path: str) -> str:
    for _ in range(_DECODINGS):
        path = unquote(path)
    segments: list[str] = []
    for raw in path.replace("\\", "/").casefold().split("/"):
        segment = raw.partition(";")[0].strip("\0\t\n\r ")
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return "/" + "/".join(segments)
