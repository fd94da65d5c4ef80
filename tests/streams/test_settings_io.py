"""Settings from files, variables and flags; what is wrong with them is told, and no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings import Settings, SettingsError
from streams.settings_io import as_environment, as_toml, load_settings

SECRET = "hunter2-and-a-half"


def test_flags_win_over_environment_over_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "m.toml"
    file.write_text("[engine]\nk = 1\nseed = 1\nhistory = 10\n")
    monkeypatch.setenv("MILLRACE_ENGINE__K", "2")
    monkeypatch.setenv("MILLRACE_ENGINE__SEED", "2")
    engine = load_settings(file, ["engine.k=3"]).engine
    assert (engine.k, engine.seed, engine.history, engine.neighbours) == (3, 2, 10, 64)


def test_settings_go_to_a_child_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(None, ["engine.k=7", "broker.embedded=true"])
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[engine\n")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load_settings(file)
    with pytest.raises(SettingsError, match="no settings file"):
        load_settings(tmp_path / "missing.toml")


SASL = {"protocol": "sasl_ssl", "user": "ann"}


def test_the_password_is_in_no_text_that_settings_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_SECURITY__PASSWORD", SECRET)
    monkeypatch.setenv("MILLRACE_WEB__TOKEN", SECRET)
    settings = load_settings(None, ["security.protocol=sasl_ssl", "security.user=ann"])
    assert settings.security.password.get_secret_value() == SECRET
    for text in (as_toml(settings), repr(settings), str(settings), repr(settings.model_dump())):
        assert SECRET not in text
    assert "# password comes from MILLRACE_SECURITY__PASSWORD" in as_toml(settings)
    assert SECRET not in repr(settings.security)


def test_a_child_gets_the_password_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(security=SASL | {"password": SECRET})
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (f'[security]\npassword = {{ is = "{SECRET}" }}', "security.password: "),
        (f'[security]\npasword = "{SECRET}"', "security.pasword: "),
        (f'[securty]\npassword = "{SECRET}"', "securty: "),
        (f'[web]\ntokn = "{SECRET}"', "web.tokn: "),
        (f'[security]\nprotocol = "ssl"\nuser = "ann"\npassword = "{SECRET}"', "user 'ann'"),
        ('[security]\nprotocol = "tls"', "security.protocol = 'tls'"),
        ('[security]\nprotocol = "sasl_ssl"\nuser = "ann"', "MILLRACE_SECURITY__PASSWORD"),
        ('[security]\nprotocol = "sasl_ssl"', "needs a user"),
        ('[security]\nprotocol = "ssl"\nkey = "k.pem"', "certificate and key"),
        ('[security]\nca = "ca.pem"', "protocol plaintext"),
    ],
)
def test_a_wrong_setting_is_told_without_a_secret(tmp_path: Path, toml: str, told: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(toml)
    with pytest.raises(SettingsError) as error:
        load_settings(file)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)


def test_a_secret_is_not_taken_from_the_command_line() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_SECURITY__PASSWORD") as error:
        load_settings(None, [f"security.password={SECRET}"])
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("kafka://one:9092", "one:9092"),
        ("PLAINTEXT://one:9092, two:9093", "one:9092,two:9093"),
        ("[::1]:9092", "[::1]:9092"),
    ],
)
def test_addresses_in_url_form_are_taken(given: str, taken: str) -> None:
    assert load_settings(None, [f'broker.bootstrap="{given}"']).broker.bootstrap == taken


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("SASL_SSL://one:9092", "security.protocol = sasl_ssl"),
        ("http://one:9092", "not http://"),
        ("one", "'one' is not host:port"),
        ("one:9092/", "is not host:port"),
    ],
)
def test_addresses_that_are_none_are_refused_at_once(given: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"broker\.bootstrap") as error:
        load_settings(None, [f'broker.bootstrap="{given}"'])
    assert told in str(error.value)


def test_two_topics_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two topics are called 'events'"):
        Settings(topics={"interactions": "events", "items": "events"})
