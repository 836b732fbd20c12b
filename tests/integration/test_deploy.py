"""Units of systemd and manifests of Kubernetes, held against their own schemas and our settings."""

import re
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no py.typed
import msgspec
import pytest
from ruamel.yaml import YAML

from service.runtime.settings import PREFIX, SECRET_SETTINGS, Settings
from tests.support.composed import prepare
from tests.support.sources import ROOT

MIGRATE = "migrate --grants ext_scheduler_runtime"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBERNETES_RELEASE = "1.34"
MANIFESTS = sorted(KUBERNETES.glob("*.yaml"))
KNOWN = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__}
KNOWN |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRET_SETTINGS}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deploy") / "secrets"
    prepare(directory)
    return directory


def objects() -> list[dict[str, Any]]:
    loaded = []
    for manifest in MANIFESTS:
        documents = YAML(typ="safe").load_all(manifest.read_text())
        loaded += [document for document in documents if document["kind"] != "Kustomization"]
    return loaded


def pods() -> dict[str, dict[str, Any]]:
    return {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]
        for document in objects()
        if document["kind"] in {"Deployment", "Job"}
    }


@pytest.mark.parametrize(
    "document", objects(), ids=lambda it: f"{it['kind']} {it['metadata']['name']}"
)
def test_a_manifest_keeps_to_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES_RELEASE, strict=True)


def test_a_misspelt_member_is_noticed() -> None:
    [account] = [document for document in objects() if document["kind"] == "ServiceAccount"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**account, "secret": []}, KUBERNETES_RELEASE, strict=True)


def test_the_kustomization_lists_every_manifest() -> None:
    listed = YAML(typ="safe").load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == [manifest.name for manifest in MANIFESTS]


def test_every_variable_of_a_pod_is_a_setting() -> None:
    named = set()
    for spec in pods().values():
        [container] = spec["containers"]
        named |= {variable["name"] for variable in container["env"]}
    [settings] = [document for document in objects() if document["kind"] == "ConfigMap"]
    named |= settings["data"].keys()
    assert len(named) > 10
    assert named - KNOWN == set()


def test_every_file_of_a_pod_is_in_a_mounted_secret() -> None:
    for name, spec in pods().items():
        [container] = spec["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in spec["volumes"]
        }
        files = [Path(var["value"]) for var in container["env"] if var["name"].endswith("_FILE")]
        assert files, name
        assert {str(file.parent) for file in files} <= mounted, name
        assert not any("subPath" in mount for mount in container["volumeMounts"]), name


def test_the_documented_commands_make_the_secrets_that_pods_mount(secrets: Path) -> None:
    readme = (KUBERNETES / "README.md").read_text()
    [commands] = re.findall(r"^secret [^`]+", readme, re.MULTILINE)
    made: dict[str, set[str]] = {}
    for command in commands.splitlines():
        _, name, *options = command.split()
        made[name] = set()
        for option in options:
            key, _, file = option.removeprefix("--from-file=").partition("=")
            assert (secrets / (file or key)).is_file(), option
            made[name].add(key)
    used: dict[str, set[str]] = {}
    for spec in pods().values():
        directories = {
            mount["mountPath"]: volume["secret"]["secretName"]
            for mount in spec["containers"][0]["volumeMounts"]
            for volume in spec["volumes"]
            if volume["name"] == mount["name"]
        }
        [settings] = [document for document in objects() if document["kind"] == "ConfigMap"]
        variables = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
        for variable, text in (settings["data"] | variables).items():
            if variable.endswith("_FILE") and str(Path(text).parent) in directories:
                used.setdefault(directories[str(Path(text).parent)], set()).add(Path(text).name)
    assert made == used


@pytest.mark.parametrize("directory", ["kubernetes", "systemd"])
def test_every_variable_of_a_guide_is_a_setting(directory: str) -> None:
    readme = (ROOT / "deploy" / directory / "README.md").read_text()
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", readme))
    assert named
    assert named - KNOWN == set()


def test_the_installation_for_systemd_brings_what_each_unit_starts() -> None:
    readme = (ROOT / "deploy" / "systemd" / "README.md").read_text()
    [extras] = re.findall(r"pip install 'ext-scheduler\[(.+)\]'", readme)
    started = {re.findall(r"ext-scheduler (\S+)", unit.read_text())[-1] for unit in UNITS}
    assert started & {"bridge", "console"} == set(extras.split(","))


def test_every_pod_is_locked_down_and_outlives_its_drain() -> None:
    for name, spec in pods().items():
        [container] = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert not spec["enableServiceLinks"], name
        if name != "migrate":
            assert spec["terminationGracePeriodSeconds"] > Settings().drain_timeout_s + 10, name


def test_every_deployment_has_a_disruption_budget() -> None:
    kinds = {kind: set[str]() for kind in ("Deployment", "PodDisruptionBudget")}
    for document in objects():
        if document["kind"] in kinds:
            kinds[document["kind"]].add(document["metadata"]["name"])
    named = {"responder", "worker", "bridge", "console"}
    assert kinds["Deployment"] == kinds["PodDisruptionBudget"] == named


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_names_existing_commands_and_settings(unit: Path) -> None:
    text = unit.read_text()
    [command] = re.findall(r"^ExecStart=/opt/\S+/ext-scheduler (.+)$", text, re.MULTILINE)
    assert command in {
        "serve --role responder",
        "serve --role worker",
        "bridge",
        "console",
        MIGRATE,
    }
    assert set(re.findall(rf"{PREFIX}\w+", text)) <= KNOWN
    readable = RawConfigParser(strict=False)
    readable.read_string(text)
    service = readable["Service"]
    assert service["NoNewPrivileges"] == "yes"
    if command != MIGRATE:
        assert service["Type"] == "notify"
        assert int(service["TimeoutStopSec"]) > Settings().drain_timeout_s + 10


def test_the_settings_of_kubernetes_are_texts() -> None:
    [settings] = [document for document in objects() if document["kind"] == "ConfigMap"]
    msgspec.convert(settings["data"], dict[str, str])
