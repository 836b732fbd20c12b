"""How to connect to NATS, by the settings."""

from pathlib import Path

from contracts.shared.credentials import (
    CredentialsUnusableError,
    read_creds,
    read_nkey_seed,
    tls_context,
)
from service.bus.connection import BusSettings
from service.runtime.addresses import NatsLogin, parse_nats_urls
from service.runtime.errors import CannotServeError
from service.runtime.settings import Settings


def bus_settings(settings: Settings, name: str) -> BusSettings:
    """Return the servers and the identity to connect with; ``name`` is what the servers list.

    Raises CannotServeError when a file of credentials or certificates cannot be used.
    """
    servers = parse_nats_urls(settings.nats_url)
    login = servers.login or NatsLogin()
    creds, nkey = settings.nats_creds_file, settings.nats_nkey_file
    ca_file = settings.nats_tls_ca_file
    try:
        return BusSettings(
            servers=servers.urls,
            name=name,
            user=settings.nats_user or login.user or None,
            password=settings.nats_password or login.password or None,
            token=settings.nats_token or login.token or None,
            creds=read_creds(Path(creds)) if creds else None,
            nkey_seed=read_nkey_seed(Path(nkey)) if nkey else None,
            inbox_prefix=settings.nats_inbox_prefix,
            tls=tls_context(ca_file, settings.nats_tls_cert_file, settings.nats_tls_key_file),
        )
    except CredentialsUnusableError as error:
        raise CannotServeError(f"NATS: {error}") from None
