from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.settings import api_keys
from pipeline.settings.api_keys import (
    ApiKeysError,
    digest,
    exposure,
    hide_environment,
    parse_api_keys,
    read_api_keys,
)
from pipeline.settings.config import load_settings
from pipeline.settings.errors import ConfigError

SECRET, OTHER = "0123456789abcdef0123", "fedcba9876543210fedc"


def test_keys_with_and_without_a_rate() -> None:
    plain, rated, burst = parse_api_keys(
        f"app: {SECRET}\n"
        f"batch: {{key: {OTHER}, rate: 2}}\n"
        "night: {key: 12345678901234567890, rate: 0.5, burst: 30}\n",
        "keys.yml",
    )
    assert (plain.name, plain.digest, plain.rate) == ("app", digest(SECRET), None)
    assert (rated.rate, rated.burst) == (2, 20)
    assert (burst.digest, burst.rate, burst.burst) == (digest("1234567890" * 2), 0.5, 30)


def test_a_key_is_never_shown() -> None:
    keys = parse_api_keys(f"app: {SECRET}", "keys.yml")
    assert SECRET not in repr(keys)
    assert digest(SECRET).hex() not in repr(keys)
    assert "digest" not in repr(keys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no keys"),
        (f"- {SECRET}", "holds no keys"),
        (SECRET, "holds no keys"),
        ("app:", "fewer than 16 characters"),
        ("app: short", "fewer than 16 characters"),
        (f'app: "{SECRET} x"', "ASCII without spaces"),
        (f"app: {SECRET}é", "ASCII without spaces"),
        (f"app: {SECRET}\nb: {SECRET}", "two names have the same key"),
        (f"app: {{key: {SECRET}, rate: fast}}", "the rate of app must be a number above 0"),
        (f"app: {{key: {SECRET}, rate: -1}}", "the rate of app must be a number above 0"),
        (f"app: {{key: {SECRET}, rate: nan}}", "the rate of app must be a number above 0"),
        (f"app: {{key: {SECRET}, rate: 1, burst: 0}}", "the burst of app must be"),
        (f"app: {{key: {SECRET}, burst: 3}}", "a burst and no rate"),
        (f"app: {{key: {SECRET}, speed: 3}}", "app has an unknown field"),
        (f"app: [{SECRET}", "is not YAML, or has a name twice, line"),
        (f"app: {SECRET}: x", "is not YAML, or has a name twice, line 1"),
        (f"app: {SECRET}\napp: {SECRET}2", "has a name twice, line 2"),
        ("[" * 1000 + SECRET, "is not YAML"),
    ],
)
def test_an_error_in_the_keys_is_reported_without_the_key(text: str, message: str) -> None:
    with pytest.raises(ApiKeysError, match=r"keys\.yml") as caught:
        parse_api_keys(text, "keys.yml")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.yml"
    path.write_text(f"\ufeffapp: {SECRET}\n", encoding="utf-8")
    assert read_api_keys(path)[0].name == "app"
    with pytest.raises(ApiKeysError, match="cannot read"):
        read_api_keys(tmp_path / "none.yml")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0o600, None),
        (0o400, None),
        (0o440, None),  # a secret in a container, for the group of the service
        (0o640, None),
        (0o644, "can be read by everyone on this machine; chmod 600 "),
        (0o666, "can be read by everyone on this machine; chmod 600 "),
        (0o660, "can be changed by others than its owner; chmod go-w "),
        (0o602, "can be changed by others than its owner; chmod go-w "),
    ],
)
def test_a_file_that_others_may_read_or_change_is_warned_of(
    tmp_path: Path, mode: int, message: str | None
) -> None:
    path = tmp_path / "keys.yml"
    path.touch()
    path.chmod(mode)
    assert exposure(path) == (message and f"{path} {message}{path}")


CONFIG = "http_port: 0\nop: {waste: {local_service_conf: {model_config: .}}}\n"


def test_the_configuration_names_the_file(tmp_path: Path) -> None:
    config, keys = tmp_path / "config.yml", tmp_path / "keys.yml"
    config.write_text(CONFIG + "api_keys: keys.yml\n", encoding="utf-8")
    keys.write_text(f"app: {SECRET}\n", encoding="utf-8")
    keys.chmod(0o644)
    settings = load_settings(config)
    assert [key.name for key in settings.api_keys] == ["app"]
    assert f"chmod 600 {keys}" in (settings.warning or "")
    assert SECRET not in repr(settings)
    keys.write_text("app: short", encoding="utf-8")
    with pytest.raises(ConfigError, match="fewer than 16"):
        load_settings(config)


def test_keys_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yml"
    config.write_text(CONFIG, encoding="utf-8")
    assert load_settings(config).api_keys == ()
    monkeypatch.setenv("PADDLE_SERVING_KIT_API_KEYS", f"app: {SECRET}")
    assert [key.digest for key in load_settings(config).api_keys] == [digest(SECRET)]


def test_keys_that_were_taken_out_of_the_environment_stay_for_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "_hidden", [])
    config = tmp_path / "config.yml"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("PADDLE_SERVING_KIT_API_KEYS", f"app: {SECRET}")
    hide_environment()
    hide_environment()  # finds nothing any more, and forgets nothing
    assert not any(SECRET in value for value in os.environ.values())
    assert SECRET not in repr(api_keys._hidden)
    for _ in range(2):
        assert [key.digest for key in load_settings(config).api_keys] == [digest(SECRET)]


def test_wrong_keys_in_the_environment_are_an_error_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "_hidden", [])
    config, keys = tmp_path / "config.yml", tmp_path / "keys.yml"
    config.write_text(CONFIG, encoding="utf-8")
    keys.write_text(f"app: {SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("PADDLE_SERVING_KIT_API_KEYS", "app: short")
    hide_environment()
    with pytest.raises(ConfigError, match=r"PADDLE_SERVING_KIT_API_KEYS: the key of app has fewer"):
        load_settings(config)
    assert len(load_settings(config, [f"api_keys={keys}"]).api_keys) == 1


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ("{certificate: here.pem}", "tls.key is missing"),
        ("{key: here.pem}", "tls.certificate is missing"),
        ("{client_ca: here.pem}", "tls.certificate is missing"),
        ("{certificate: none.pem, key: here.pem}", "none.pem"),
    ],
)
def test_half_of_a_pair_of_files(tmp_path: Path, tls: str, message: str) -> None:
    (tmp_path / "here.pem").touch()
    config = tmp_path / "config.yml"
    config.write_text(f"{CONFIG}tls: {tls}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_settings(config)
