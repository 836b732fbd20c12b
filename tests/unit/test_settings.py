"""Settings: sources, precedence, refusals, and secrets that are never shown."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from service.runtime.settings import REDACTIONS, SECRET_SETTINGS, Settings, SettingsError, load
from tests.support.sources import ROOT

ADDRESSES = {"database_url": "postgresql://u:sesame@db/x", "nats_url": "nats://u:sesame@bus:4222"}


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_schedules = 7\nlog_format = "text"\nreply_prefixes = ["_A", "_B"]\n')
    environment = {"EXT_SCHEDULER_CONFIG": str(file), "EXT_SCHEDULER_MAX_SCHEDULES": "9"}
    settings = load(environment)
    assert (settings.max_schedules, settings.log_format) == (9, "text")
    assert settings.reply_prefixes == ("_A", "_B")
    assert settings.min_interval_minutes == Settings().min_interval_minutes


def test_texts_of_the_environment_are_converted_to_the_type_of_the_setting() -> None:
    settings = load(
        {
            "EXT_SCHEDULER_DECLARED_IS_GRANTED": "true",
            "EXT_SCHEDULER_HTTP_PORT": "0",
            "EXT_SCHEDULER_REPLY_PREFIXES": "_INBOX_a, _R_.",
            "PATH": "/bin",
        }
    )
    assert settings.declared_is_granted is True
    assert settings.http_port == 0
    assert settings.reply_prefixes == ("_INBOX_a", "_R_.")


@pytest.mark.parametrize(
    ("variable", "text", "named"),
    [
        ("EXT_SCHEDULER_MAX_SCHEDULE", "1", "EXT_SCHEDULER_MAX_SCHEDULE is not a setting"),
        ("EXT_SCHEDULER_MAX_SCHEDULES", "many", "EXT_SCHEDULER_MAX_SCHEDULES"),
        ("EXT_SCHEDULER_MAX_SCHEDULES", "0", "EXT_SCHEDULER_MAX_SCHEDULES: must be at least 1"),
        ("EXT_SCHEDULER_LOG_FORMAT", "xml", "EXT_SCHEDULER_LOG_FORMAT"),
        ("EXT_SCHEDULER_HTTP_PORT", "65536", "EXT_SCHEDULER_HTTP_PORT"),
        ("EXT_SCHEDULER_RUNNER_URL", "runner:8085", "EXT_SCHEDULER_RUNNER_URL"),
        ("EXT_SCHEDULER_PLATFORM_URL", "http://", "EXT_SCHEDULER_PLATFORM_URL"),
        ("EXT_SCHEDULER_CONFIG", "/nonexistent/settings.toml", "No such file"),
    ],
)
def test_an_invalid_setting_is_named(variable: str, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load({variable: text})


@pytest.mark.parametrize("name", sorted(SECRET_SETTINGS))
def test_a_secret_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(ADDRESSES.get(name, "sesame") + "\n")
    assert getattr(load({f"EXT_SCHEDULER_{name.upper()}_FILE": str(file)}), name) == ADDRESSES.get(
        name, "sesame"
    )


def test_an_unreadable_secret_is_named(tmp_path: Path) -> None:
    empty, variable = tmp_path / "empty", "EXT_SCHEDULER_NATS_PASSWORD_FILE"
    empty.touch()
    with pytest.raises(SettingsError, match=f"{variable}: .*No such file"):
        load({variable: str(tmp_path / "absent")})
    with pytest.raises(SettingsError, match=f"{variable}: .*is empty"):
        load({variable: str(empty)})
    with pytest.raises(SettingsError, match="are both set"):
        load({variable: str(empty), "EXT_SCHEDULER_NATS_PASSWORD": "sesame"})
    with pytest.raises(SettingsError, match="EXT_SCHEDULER_MAX_SCHEDULES_FILE is not a setting"):
        load({"EXT_SCHEDULER_MAX_SCHEDULES_FILE": str(empty)})


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_is_used(name: str) -> None:
    used = re.compile(rf"\b(settings|chosen|loaded)\.{name}\b")
    assert any(used.search(module.read_text()) for module in (ROOT / "service").rglob("*.py"))


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("max_schedules = = 1")
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load({}, file)


KUBERNETES = {
    "EXT_SCHEDULER_SERVICE_HOST": "10.96.0.7",
    "EXT_SCHEDULER_SERVICE_PORT": "9464",
    "EXT_SCHEDULER_SERVICE_PORT_METRICS": "9464",
    "EXT_SCHEDULER_PORT": "tcp://10.96.0.7:9464",
    "EXT_SCHEDULER_PORT_9464_TCP": "tcp://10.96.0.7:9464",
    "EXT_SCHEDULER_PORT_9464_TCP_PROTO": "tcp",
    "EXT_SCHEDULER_PORT_9464_TCP_PORT": "9464",
    "EXT_SCHEDULER_PORT_9464_TCP_ADDR": "10.96.0.7",
    # of a Service that is named ext-scheduler-http
    "EXT_SCHEDULER_HTTP_SERVICE_HOST": "10.96.0.8",
    "EXT_SCHEDULER_HTTP_PORT": "tcp://10.96.0.8:80",
    "EXT_SCHEDULER_HTTP_PORT_80_TCP": "tcp://10.96.0.8:80",
}


SERVER_PASSWORD = re.compile(r"EXT_SCHEDULER_NATS_[A-Z]+_PASSWORD")


def test_variables_that_kubernetes_gives_for_a_service_are_ignored() -> None:
    assert load(KUBERNETES) == Settings()


def test_the_passwords_of_the_servers_configuration_are_ignored() -> None:
    files = (ROOT / "nats.conf", *(ROOT / "deploy" / "nats").iterdir())
    named = {name for file in files for name in SERVER_PASSWORD.findall(file.read_text())}
    assert len(named) == 7
    assert load(dict.fromkeys(named, "sesame")) == Settings()


@pytest.mark.parametrize(
    "variable",
    ["EXT_SCHEDULER_PORT", "EXT_SCHEDULER_SERVICE_HOSTS", "EXT_SCHEDULER_NATS_PASWORD"],
)
def test_a_misspelt_variable_is_still_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is not a setting"):
        load({variable: "9464"})


def test_a_line_break_after_a_value_and_an_empty_number_are_no_errors() -> None:
    settings = load(
        {
            "EXT_SCHEDULER_HTTP_PORT": "9470\n",
            "EXT_SCHEDULER_POOL_SIZE": "",
            "EXT_SCHEDULER_TRACING": " ",
            "EXT_SCHEDULER_NATS_PASSWORD": " sesame \n",
            "EXT_SCHEDULER_NATS_URL": "nats://bus:4222\n",
        }
    )
    assert (settings.http_port, settings.pool_size) == (9470, Settings().pool_size)
    assert (settings.nats_password, settings.nats_url) == (" sesame ", "nats://bus:4222")


def test_a_wrong_setting_of_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("pool_size = 0")
    with pytest.raises(SettingsError, match=r"settings\.toml: pool_size: must be at least 1"):
        load({}, file)
    file.write_text("poolsize = 3")
    with pytest.raises(SettingsError, match=r"settings\.toml: poolsize is not a setting"):
        load({}, file)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    file, secret = tmp_path / "settings.toml", tmp_path / "secret"
    file.write_text("\ufeffpool_size = 3\n")
    secret.write_text("\ufeffsesame\n")
    settings = load({"EXT_SCHEDULER_NATS_PASSWORD_FILE": str(secret)}, file)
    assert (settings.pool_size, settings.nats_password) == (3, "sesame")


def test_passwords_are_never_shown() -> None:
    settings = Settings(
        database_url="postgresql://user:sesame@db:5432/x",
        nats_url="nats://user:sesame@bus:4222",
        nats_password="sesame",
    )
    assert "sesame" not in repr(settings)
    assert settings.redacted()["database_url"] == "postgresql://user:***@db:5432/x"
    queried = Settings(database_url="postgresql:///x?user=u&password=sesame&sslmode=require")
    assert queried.redacted()["database_url"].endswith("user=u&password=***&sslmode=require")
    several = Settings(nats_url="nats://user:sesame@a:4222,nats://:sesame@b:4222,nats://c")
    assert several.redacted()["nats_url"] == "nats://user:***@a:4222,nats://:***@b:4222,nats://c"
    token = Settings(nats_url="nats://sesame@a:4222", runner_url="http://u:sesame@r:8085/base")
    assert token.redacted()["nats_url"] == "nats://***@a:4222"
    assert token.redacted()["runner_url"] == "http://***@r:8085/base"


MALFORMED = {
    "database_url": [
        "postgresql://user:ses/ame@db/x",
        "postgresql://user:ses@ame@db/x",
        "postgresql://user:12/sesame@db/x",
        "postgresql://user:12?sesame@db/x",
        "postgresql://user:12?a=sesame@db/x",
        "postgresql://user:12#sesame@db/x",
        "postgresql://user:sesame%zz@db/x",
        "postgresql://user:[sesame@db/x",
        "postgresql:user:sesame@db/x",
        "postgresql://db:sesame/x",
        "postgresql://db:99999/sesame",
        "host=db user=user password=sesame",
        "mysql://user:sesame@db/x",
    ],
    "nats_url": [
        "nats://user:ses/ame@bus:4222",
        "nats://user:ses@ame@bus:4222",
        "nats://user:ses,ame@bus:4222",
        "nats:user:sesame@bus:4222",
        "user:sesame@bus:4222",
        "sesame@bus",
        "nats://bus:sesame",
        "nats://bus:4222/sesame",
        "nats://bus:4222,,sesame:1",
        "nats://a:sesame@bus:4222,nats://b:sesame@bus:4222",
        "http://user:sesame@bus:4222",
    ],
    "runner_url": ["http://user:ses/ame@runner", "http://user:ses@ame@runner", "http://r:sesame"],
    "platform_url": ["https://user:12/se@same@platform", "https://p/?sesame=1#sesame"],
}


@pytest.mark.parametrize(
    ("name", "address"),
    [(name, address) for name, addresses in MALFORMED.items() for address in addresses],
)
def test_of_a_malformed_address_nothing_is_shown(name: str, address: str) -> None:
    variable = f"EXT_SCHEDULER_{name.upper()}"
    with pytest.raises(SettingsError, match=f"^{variable}: ") as refused:
        load({variable: address})
    for part in ("sesame", "ses/", "ses@", "ame@", "se@"):
        assert part not in str(refused.value)
    assert "\n" not in str(refused.value)
    redact: Callable[[str], str] = REDACTIONS[name]
    assert "sesame" not in redact(address)
    assert "percent-encode" in str(refused.value) or "same user" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("database_url", "postgresql://localhost/ext_scheduler"),
        ("database_url", "postgres://u@a:5432,[::1]:5433,c/x?target_session_attrs=primary"),
        ("database_url", "postgresql:///x?host=/run/postgresql&user=u&sslmode=disable"),
        ("database_url", "postgresql://%2Frun%2Fpostgresql/x"),
        ("nats_url", "bus"),
        ("nats_url", "bus:4222,nats://other:4222"),
        ("nats_url", "tls://[::1]:4222"),
        ("nats_url", "wss://bus.example.org:443"),
        ("runner_url", "http://runner:8085/base/"),
        ("platform_url", "https://[::1]"),
    ],
)
def test_a_well_formed_address_without_secrets_is_shown_unchanged(name: str, address: str) -> None:
    assert load({f"EXT_SCHEDULER_{name.upper()}": address}).redacted()[name] == address


def test_other_parameters_of_a_database_url_are_masked() -> None:
    url = "postgresql://u:%40sesame@db/x?sslpassword=sesame&options=sesame&sslmode=require"
    shown = load({"EXT_SCHEDULER_DATABASE_URL": url}).redacted()["database_url"]
    assert shown == "postgresql://u:***@db/x?sslpassword=***&options=***&sslmode=require"
