"""compose.tls.yaml: certificates as its script makes them, on a server with its configuration."""

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from devstack.embedded import embedded_nats
from tests.support.bus_service import a_client
from tests.support.composed import SERVICES, prepare
from tests.support.shipped_nats import ENVIRONMENT, PASSWORDS
from tests.support.sources import ROOT

OVERRIDE: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.tls.yaml")
ROUTES = {
    "EXT_SCHEDULER_NATS_ROUTE_PASSWORD": "route-password",
    "EXT_SCHEDULER_NATS_ROUTES": "[]",
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls") / "secrets"
    prepare(directory)
    script = [ROOT / "deploy" / "prepare-tls.sh", directory]
    subprocess.run(script, check=True, capture_output=True, env=os.environ)
    return directory


def test_every_mounted_file_exists_and_every_service_is_known(secrets: Path) -> None:
    for name, service in OVERRIDE["services"].items():
        assert name in SERVICES
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./deploy/secrets/"):
                assert (secrets / source.removeprefix("./deploy/secrets/")).is_dir()
            else:
                assert (ROOT / source).is_file()
    for name in ("database_url", "database_url_owner"):
        assert OVERRIDE["secrets"][name]["file"] == f"./deploy/secrets/{name}_tls"
        url = (secrets / f"{name}_tls").read_text()
        assert url.startswith((secrets / name).read_text())
        assert url.endswith("?sslmode=verify-full&sslrootcert=/etc/ext-scheduler/tls/ca.crt")


def test_every_service_that_speaks_plainly_otherwise_has_its_variant() -> None:
    plain = {
        name
        for name, service in SERVICES.items()
        if "nats://" in str(service.get("environment")) or "DATABASE_URL" in str(service)
    }
    plain |= {name for name, service in SERVICES.items() if "routes" in service["networks"]}
    assert plain | {"postgres"} == set(OVERRIDE["services"])
    for name, service in OVERRIDE["services"].items():
        if "nats://" in str(SERVICES[name].get("environment")):
            assert service["environment"]["EXT_SCHEDULER_NATS_URL"].count("tls://") == 3


@pytest.mark.parametrize("file", ["compose.yaml", "compose.tls.yaml"])
def test_both_files_follow_the_compose_specification(file: str) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    judged = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", ROOT / file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout


async def test_clients_reach_the_server_by_tls_alone(secrets: Path, tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "nats" / "cluster.tls.conf").read_text()
    text = text.replace("/etc/nats/tls/", f"{secrets}/tls/nats/").replace(
        "0.0.0.0:6222", "127.0.0.1:-1"
    )
    (tmp_path / "cluster.tls.conf").write_text(text)
    (tmp_path / "nats.conf").write_text((ROOT / "nats.conf").read_text())
    context = ssl.create_default_context(cafile=secrets / "tls" / "public" / "ca.crt")
    user = {"user": "service", "password": PASSWORDS["service"]}
    with embedded_nats(
        tmp_path / "server",
        config=tmp_path / "cluster.tls.conf",
        environment={**ENVIRONMENT, **ROUTES},
    ) as server:
        url = server.url.replace("nats://", "tls://")
        async with a_client(url, tls=context, **user) as client:
            assert client.is_connected
        with pytest.raises(ssl.SSLCertVerificationError):
            async with a_client(
                url, tls=ssl.create_default_context(), allow_reconnect=False, **user
            ):
                pass
