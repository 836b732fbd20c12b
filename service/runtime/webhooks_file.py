"""The webhooks that an operator has configured: a TOML file, its secrets in files of their own."""

import re
import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.strict_json import strip_bom
from service.rules.webhooks import Webhook
from service.runtime.errors import CannotServeError

MIN_SECRET_BYTES = 16
URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?")
NO_URL = "url must begin with http:// or https:// and a host, without user or fragment"


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    secret_file: str
    tenant: str | None = None


class _WebhooksFile(Struct, frozen=True, forbid_unknown_fields=True):
    webhook: list[_Entry]


def read_webhooks(file: str) -> list[Webhook]:
    """Return the webhooks of a file, none without one; secrets are relative to it.

    Raises CannotServeError, which names the file and the entry.
    """
    if not file:
        return []
    try:
        document = tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))
        entries = msgspec.convert(document, _WebhooksFile).webhook
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CannotServeError(f"{file}: {error}") from None
    webhooks: list[Webhook] = []
    for number, entry in enumerate(entries, 1):
        try:
            if not URL.fullmatch(entry.url):
                raise CannotServeError(f"{file}: webhook {number}: {NO_URL}")
            secret = strip_bom((Path(file).parent / entry.secret_file).read_bytes()).strip()
        except OSError as error:
            raise CannotServeError(f"{file}: webhook {number}: {error}") from None
        if len(secret) < MIN_SECRET_BYTES:
            least = f"the secret has fewer than {MIN_SECRET_BYTES} bytes"
            raise CannotServeError(f"{file}: webhook {number}: {least}")
        if entry.tenant in [webhook.tenant for webhook in webhooks]:
            whose = "all tenants" if entry.tenant is None else f"tenant {entry.tenant!r}"
            raise CannotServeError(f"{file}: webhook {number}: {whose} has one already")
        webhooks.append(Webhook(entry.url, secret, entry.tenant))
    return webhooks
