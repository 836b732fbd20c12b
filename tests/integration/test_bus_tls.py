"""The bus over TLS, with a certificate authority of one's own."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs

from devstack.embedded import embedded_nats
from service.bus.connection import BusUnavailableError, connect, probe
from service.runtime.bus_settings import bus_settings
from service.runtime.errors import CannotServeError
from service.runtime.settings import Settings


def write_certificate(directory: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nats")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextmanager
def certified(directory: Path, *lines: str) -> Iterator[str]:
    """Yield a server with such a certificate, and further lines of configuration; gives its URL."""
    write_certificate(directory)
    config = directory / "tls.conf"
    files = f'cert_file: "{directory}/server.crt", key_file: "{directory}/server.key"'
    config.write_text("\n".join((*lines, "tls { " + files + " }\n")))
    with embedded_nats(directory / "nats", config=config) as server:
        yield server.url.replace("nats://", "tls://")


async def test_a_server_with_a_certificate_of_the_given_authority_is_trusted(
    tmp_path: Path,
) -> None:
    with certified(tmp_path) as url:
        trusting = Settings(nats_url=url, nats_tls_ca_file=str(tmp_path / "server.crt"))
        bus = await connect(bus_settings(trusting, "test"))
        try:
            assert await probe(bus, wait=60) > 0
        finally:
            await bus.close()
        doubting = bus_settings(Settings(nats_url=url), "test")
        with pytest.raises(BusUnavailableError):
            await connect(structs.replace(doubting, connect_timeout=0.5))


async def test_a_server_without_tls_receives_nothing_if_tls_is_required(nats_url: str) -> None:
    url = nats_url.replace("nats://", "tls://")
    asked = bus_settings(Settings(nats_url=url, nats_user="u", nats_password="p"), "test")
    with pytest.raises(BusUnavailableError, match="the server offers no TLS"):
        await connect(structs.replace(asked, connect_timeout=3.0))


async def test_required_tls_is_used_with_a_server_that_leaves_it_optional(
    tmp_path: Path,
) -> None:
    with certified(tmp_path, "allow_non_tls: true") as url:
        doubting = bus_settings(Settings(nats_url=url), "test")
        with pytest.raises(BusUnavailableError, match="certificate"):
            await connect(structs.replace(doubting, connect_timeout=4.0))


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "ca.crt")
    with pytest.raises(CannotServeError, match=absent):
        bus_settings(Settings(nats_tls_ca_file=absent), "test")
