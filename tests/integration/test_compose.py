"""compose.yaml without an engine: its schema, and that everything it names is there."""

import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from service.cli.main import program
from service.runtime.settings import Settings, load
from tests.support.composed import COMPOSE, PROGRAM, SECRETS, SERVICES, environment, mounts, prepare
from tests.support.sources import ROOT

ROLE_SCRIPT = ROOT / "deploy" / "postgres" / "create-runtime-role.sh"
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("compose") / "secrets"
    prepare(directory)
    return directory


def test_services_and_replicas_are_the_documented_ones() -> None:
    assert SERVICES["responder"]["deploy"]["replicas"] == 2
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert {"nats-1", "nats-2", "nats-3", "postgres", "bridge", "dev-runner"} <= set(SERVICES)
    assert set(PROGRAM) == {"migrate", "responder", "worker", "bridge", "dev-runner", "console"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_mounted_file_exists(name: str, secrets: Path) -> None:
    for target, source in mounts(SERVICES[name]).items():
        if source.startswith(SECRETS):
            assert (secrets / source.removeprefix(SECRETS)).exists(), source
        elif source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], target


@pytest.mark.parametrize("name", SERVICES)
def test_every_used_secret_is_granted_defined_and_generated(name: str, secrets: Path) -> None:
    granted = SERVICES[name].get("secrets", [])
    for secret in granted:
        file = COMPOSE["secrets"][secret]["file"]
        assert (secrets / file.removeprefix(SECRETS)).stat().st_size > 20
    named = set(re.findall(r"/run/secrets/(\w+)", str(SERVICES[name])))
    assert named <= set(granted)


def test_every_defined_secret_is_used_by_a_service() -> None:
    given = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert given == set(COMPOSE["secrets"])


ENDING_COMMANDS = (["migrate", "--grants", "ext_scheduler_runtime"],)
"""Of all that the program can do, what ends by itself, so that others can wait for its end."""


@pytest.mark.parametrize("name", SERVICES)
def test_services_depend_only_on_conditions_that_can_become_true(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            check = SERVICES[needed]["healthcheck"]
            assert not check.get("disable", False), needed
            assert check["test"][0] == "CMD", needed
            assert len(check["test"]) > 1, needed
        else:
            assert how["condition"] == "service_completed_successfully"
            assert needed in PROGRAM
            assert SERVICES[needed]["command"] in ENDING_COMMANDS
            assert SERVICES[needed]["restart"] == "on-failure"


def test_dependencies_of_services_have_no_cycle() -> None:
    needed = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    order = list(TopologicalSorter(needed).static_order())
    assert set(order) == set(SERVICES)
    assert order.index("postgres") < order.index("migrate") < order.index("worker")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_every_long_running_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert int(check["timeout"].removesuffix("s")) <= int(check["interval"].removesuffix("s"))


@pytest.mark.parametrize("name", PROGRAM)
def test_settings_in_the_compose_file_exist_and_so_do_their_files(name: str, secrets: Path) -> None:
    settings = load(environment(name, secrets))
    for each in ("key_set_file", "runner_key_file", "callback_token_file", "host_key_file"):
        if getattr(settings, each) != getattr(Settings(), each):
            assert Path(getattr(settings, each)).is_file(), each
    if settings.nats_user:
        assert settings.nats_inbox_prefix == f"_INBOX_{settings.nats_user}"
        assert settings.nats_password
        assert f"user: {settings.nats_user}," in (ROOT / "nats.conf").read_text()


@pytest.mark.parametrize("name", PROGRAM)
def test_every_service_runs_a_command_of_the_program(name: str) -> None:
    words = [str(word) for word in SERVICES[name]["command"]]
    group: Any = typer.main.get_command(program)
    with group.make_context("ext-scheduler", words) as context:
        _, command, rest = group.resolve_command(context, words)
        command.make_context(command.name, list(rest), parent=context)


def test_cluster_servers_have_routes_to_each_other() -> None:
    nats = {name for name in SERVICES if name.startswith("nats-")}
    assert 'listen: "0.0.0.0:6222"' in (ROOT / "deploy" / "nats" / "cluster.conf").read_text()
    for name in nats:
        routes = SERVICES[name]["environment"]["NATS_CLUSTER"].split()
        assert set(routes) == {f"{other}:6222" for other in nats}
        assert SERVICES[name]["command"][-2:] == ["--name", name]
    urls = load(
        {"EXT_SCHEDULER_NATS_URL": SERVICES["worker"]["environment"]["EXT_SCHEDULER_NATS_URL"]}
    )
    assert urls.nats_url.split(",") == [f"nats://{name}:4222" for name in sorted(nats)]


def test_prometheus_scrapes_services_that_listen() -> None:
    config = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    for scrape in config["scrape_configs"]:
        ((target,),) = [found["names"] for found in scrape["dns_sd_configs"]]
        assert scrape["dns_sd_configs"][0]["port"] == Settings().http_port
        assert SERVICES[target]["environment"]["EXT_SCHEDULER_HTTP_HOST"] == "0.0.0.0"
        assert scrape["job_name"] == f"ext-scheduler-{target}"
    assert config["rule_files"] == ["alerts.yml"]


def test_image_build_stages_exist_and_copy_existing_files() -> None:
    stages = re.findall(r"^FROM .* AS (\S+)$", CONTAINERFILE, re.MULTILINE)
    for name in PROGRAM:
        assert SERVICES[name]["build"]["target"] in stages
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()), line
    for stage in re.findall(r"^COPY --from=(\S+)", CONTAINERFILE, re.MULTILINE):
        assert stage in stages
    ignored = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        assert all(f"!{source}" in ignored for source in line.split()), line


@pytest.mark.parametrize("stage", ["service", "dev-runner"])
def test_an_image_runs_as_an_ordinary_user(stage: str) -> None:
    whole = re.compile(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM|\Z)", re.MULTILINE | re.DOTALL)
    (text,) = whole.findall(CONTAINERFILE)
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert int(user) > 0


def test_the_image_gets_every_package_that_is_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.removesuffix("*") for name in declared["packages"]["find"]["include"]}
    copied = set(re.findall(r"^COPY (\w+) \1$", CONTAINERFILE, re.MULTILINE))
    assert copied == packages


LOCKS = sorted((ROOT / "deploy" / "lock").glob("*.txt"))
PINS = {
    line.partition("==")[0]: line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line
}


def locked(text: str) -> dict[str, tuple[str, int]]:
    """Return the version, and number of hashes, of each distribution in a lock file."""
    found = {}
    for entry in re.split(r"\n(?=\w)", text):
        pin = re.match(r"([\w.-]+)==([^\s;]+)", entry)
        assert pin is not None, entry
        found[pin[1]] = (pin[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_the_pinned_versions_each_with_hashes(lock: Path) -> None:
    pins = {canonical(name): version for name, version in PINS.items()}
    text = lock.read_text()
    for name, (version, hashes) in locked(text).items():
        # What another system alone needs is not in the environment that the pins describe.
        if canonical(name) in pins or f"{name}=={version} ;" not in text:
            assert pins[canonical(name)] == version, name
        assert hashes > 0, name


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("service", {"service", "bridge", "console", "otel"}),
        ("dev-runner", {"service", "bridge", "otel", "dev-runner"}),
    ],
)
def test_a_lock_has_everything_that_its_image_requires(lock: str, extras: set[str]) -> None:
    names = {canonical(name) for name in locked((ROOT / f"deploy/lock/{lock}.txt").read_text())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"]]
    for extra in extras:
        required += project["optional-dependencies"][extra]
    asked = {canonical(re.split(r"[\[<>=!~; ]", text)[0]) for text in required}
    assert asked - {project["name"]} <= names


def test_an_image_installs_nothing_without_a_hash() -> None:
    commands = re.sub(r"\\\n\s*", "", CONTAINERFILE)
    installs = re.findall(r"pip (?:--python \S+ )?install [^&\n]+", commands)
    assert len(installs) == 4
    for command in installs:
        own = "--no-deps --no-index /wheels/" in command
        assert own or "--require-hashes -r deploy/lock/" in command, command


def test_a_second_preparation_changes_nothing(secrets: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in secrets.rglob("*") if file.is_file()}

    before = contents()
    prepare(secrets)
    assert contents() == before
    assert len(before) == 18
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_the_tables_belong_to_another_role_than_the_one_that_serves(secrets: Path) -> None:
    role = SERVICES["migrate"]["command"][-1]
    owner = load(environment("migrate", secrets)).database_url
    assert f"//{SERVICES['postgres']['environment']['POSTGRES_USER']}:" in owner
    for name in ("responder", "worker"):
        assert f"//{role}:" in load(environment(name, secrets)).database_url
    password = (secrets / "postgres_runtime_password").read_text()
    assert password in (secrets / "database_url").read_text()
    assert password not in owner
    assert f"CREATE ROLE {role} LOGIN" in ROLE_SCRIPT.read_text()


REACHES = {
    "nats-1": {"nats-2", "nats-3", "responder", "worker", "bridge", "dev-runner", "console"},
    "postgres": {"migrate", "responder", "worker"},
    "dev-runner": {"nats-1", "nats-2", "nats-3", "bridge"},
    "prometheus": {"grafana", "responder", "worker", "bridge", "console"},
}
"""Who shares a network with whom, of those whose neighbours matter; ``published`` aside."""


def neighbours(name: str) -> set[str]:
    own = set(SERVICES[name]["networks"]) - {"published"}
    return {other for other in SERVICES if other != name and own & set(SERVICES[other]["networks"])}


@pytest.mark.parametrize("name", REACHES)
def test_a_container_reaches_only_those_it_has_to_do_with(name: str) -> None:
    assert neighbours(name) == REACHES[name]


def test_the_development_runner_has_no_way_to_the_database() -> None:
    assert neighbours("postgres").isdisjoint(
        {"dev-runner", "bridge", "console", "prometheus", "grafana"}
    )


@pytest.mark.parametrize("name", SERVICES)
def test_only_what_publishes_a_port_is_on_a_network_that_leaves_the_machine(name: str) -> None:
    networks = SERVICES[name]["networks"]
    assert set(networks) <= set(COMPOSE["networks"])
    outward = {each for each in networks if not COMPOSE["networks"][each].get("internal")}
    assert outward == ({"published"} if "ports" in SERVICES[name] else set())


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_reaches_what_its_settings_and_conditions_name(name: str) -> None:
    text = str(SERVICES[name].get("environment", {}))
    named = {other for other in SERVICES if re.search(rf"//{other}:|, ?nats://{other}:", text)}
    if "DATABASE_URL_FILE" in text:
        named.add("postgres")
    assert named - {name} <= neighbours(name)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits_of_memory_processors_and_processes(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] <= 2
    assert service["pids_limit"] <= 256
