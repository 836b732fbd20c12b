"""Base64url without padding (RFC 7515, section 2), read strictly: one text for each byte string."""

from binascii import a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def encode(data: bytes) -> bytes:
    """Encode to base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def encode_text(text: str) -> str:
    """Encode the UTF-8 bytes of a text."""
    return encode(text.encode()).decode()


def decode(segment: bytes) -> bytes:
    """Decode, refusing everything that ``encode`` would not have written.

    Encoding back is the whole check: padding, white space, foreign characters and stray bits in
    the last character all come back different.

    Raises:
        ValueError: not canonical base64url.
    """
    data = a2b_base64(segment.translate(_FROM_URL) + b"=" * (-len(segment) % 4))
    if encode(data) != segment:
        raise ValueError("not canonical base64url")
    return data
