"""Settings: sources, precedence, refusals, and secrets that are never shown."""

import re
from pathlib import Path

import pytest

from service.runtime.settings import SECRET_SETTINGS, Settings, SettingsError, load
from tests.support.sources import ROOT


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_schedules = 7\nlog_format = "text"\nreply_prefixes = ["_A", "_B"]\n')
    environment = {"EXT_SCHEDULER_CONFIG": str(file), "EXT_SCHEDULER_MAX_SCHEDULES": "9"}
    settings = load(environment)
    assert (settings.max_schedules, settings.log_format) == (9, "text")
    assert settings.reply_prefixes == ("_A", "_B")
    assert settings.min_interval_minutes == Settings().min_interval_minutes


def test_texts_of_the_environment_become_what_the_setting_is() -> None:
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
        ("EXT_SCHEDULER_MAX_SCHEDULES", "many", "max_schedules"),
        ("EXT_SCHEDULER_MAX_SCHEDULES", "0", "max_schedules"),
        ("EXT_SCHEDULER_LOG_FORMAT", "xml", "log_format"),
        ("EXT_SCHEDULER_HTTP_PORT", "65536", "http_port"),
        ("EXT_SCHEDULER_RUNNER_URL", "runner:8085", "runner_url"),
        ("EXT_SCHEDULER_PLATFORM_URL", "http://", "platform_url"),
        ("EXT_SCHEDULER_CONFIG", "/nonexistent/settings.toml", "No such file"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load({variable: text})


@pytest.mark.parametrize("name", sorted(SECRET_SETTINGS))
def test_a_secret_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("sesame\n")
    assert getattr(load({f"EXT_SCHEDULER_{name.upper()}_FILE": str(file)}), name) == "sesame"


def test_a_secret_that_cannot_be_had_is_named(tmp_path: Path) -> None:
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
