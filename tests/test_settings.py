import os
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from dinox_mcp.errors import SettingsError
from dinox_mcp.settings import Settings, environment_name, unknown_variables


def test_every_option_has_a_default() -> None:
    assert Settings.load().backend == "auto"


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("DINOX_MCP_PORT", "9000", "port", 9000),
        ("DINOX_MCP_BACKEND", "embedded", "backend", "embedded"),
        ("IMAGE_STORAGE_DIRECTORY", "/tmp/out", "output_folder", Path("/tmp/out")),  # noqa: S108 - only a value
        ("DINOX_MCP_PRIVATE_HOSTS", "a.example, b.example:8080", "private_hosts", ("a.example", "b.example:8080")),
        ("DINOX_MCP_PRIVATE_HOSTS", "", "private_hosts", ()),
        ("DINOX_MCP_NO_AUTH", "true", "no_auth", True),
    ],
)
def test_options_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(Settings.load(), field) == expected
    assert environment_name(field) == variable


def test_folders_are_split_as_the_system_writes_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DINOX_MCP_ALLOWED_FOLDERS", f"{tmp_path}{os.pathsep}~/pictures")
    assert Settings.load().allowed_folders == (tmp_path, Path("~/pictures").expanduser())


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("DINOX_MCP_PROMPTS_FOLDER", "prompts_folder"),
        ("DINOX_MCP_VOCABULARY", "vocabulary"),
        ("IMAGE_STORAGE_DIRECTORY", "output_folder"),
    ],
)
def test_every_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, variable: str, field: str) -> None:
    monkeypatch.setenv(variable, "~/x")
    assert getattr(Settings.load(), field) == Path.home() / "x"


def test_no_option_that_is_a_path_is_left_unexpanded(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)]
    for name in paths:
        monkeypatch.setenv(environment_name(name), "~/x")
    values = [getattr(Settings.load(), name) for name in paths]
    assert len(values) >= 4
    assert all(value in (Path.home() / "x", (Path.home() / "x",)) for value in values)


def test_a_home_that_is_unknown_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="DINOX_MCP_PROMPTS_FOLDER: no home is known for ~nobody-here"):
        Settings.load(prompts_folder="~nobody-here/x")


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("DINOX_MCP_BACKEND", "Embedded", "backend", "embedded"),
        ("DINOX_MCP_BACKEND", " AUTO ", "backend", "auto"),
        ("DINOX_MCP_BACKEND", "MyPlugin", "backend", "MyPlugin"),
        ("DINOX_MCP_TRANSPORT", "HTTP", "transport", "http"),
        ("DINOX_MCP_LOG_LEVEL", "Info", "log_level", "info"),
        ("DINOX_MCP_PRECISION", "Float32", "precision", "float32"),
        ("DINOX_MCP_DEVICE", "CUDA:1", "device", "cuda:1"),
        ("DINOX_MCP_MODEL_PROCESS", "SAME", "model_process", "same"),
        ("DINOX_MCP_ALLOW_HTTP", " TRUE", "allow_http", True),
        ("DINOX_MCP_NO_AUTH", "Yes", "no_auth", True),
    ],
)
def test_values_may_be_written_in_any_case(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(Settings.load(), field) == expected


def test_the_token_of_the_vendors_server_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_TOKEN", "sesame")
    assert Settings.load(transport="http").token == SecretStr("sesame")
    monkeypatch.setenv("DINOX_MCP_TOKEN", "own")
    assert Settings.load(transport="http").token == SecretStr("own")


def test_a_wrong_token_of_the_vendors_server_matters_only_where_there_are_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTH_TOKEN", "of another program")
    assert Settings.load().token is None
    with pytest.raises(SettingsError, match=r"^AUTH_TOKEN: must be printable ASCII") as caught:
        Settings.load(transport="http")
    assert "another program" not in str(caught.value)


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOX_MCP_PORT", "9000")
    assert Settings.load(port="7000", host=None).port == 7000


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": "many"}, ["DINOX_MCP_PORT", "integer", "'many'"]),
        ({"port": 70000}, ["DINOX_MCP_PORT", "65535", "70000"]),
        ({"transport": "pigeon"}, ["DINOX_MCP_TRANSPORT", "'stdio', 'http' or 'sse'", "'pigeon'"]),
        ({"api_base_url": "nowhere"}, ["DINOX_API_BASE_URL", "'nowhere'"]),
        ({"colour": "red"}, ["colour", "is not an option"]),
    ],
)
def test_a_wrong_option_is_one_clear_line(flags: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**flags)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("key", ["two words", "naïve", "line\nbreak"])
def test_a_key_that_fits_no_header_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(api_key=key)
    assert "DINOX_API_KEY" in str(caught.value)
    assert key not in str(caught.value)


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOX_API_KEY", " secret-key ")
    settings = Settings.load()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "secret-key"
    assert "secret-key" not in repr(settings)


def test_settings_pickle() -> None:
    settings = Settings.load(api_key="k", port=1)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


def test_a_misspelt_variable_is_named_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOX_MCP_BAKEND", "embedded")
    monkeypatch.setenv("DINOX_MCP_PORT", "1")
    assert unknown_variables() == ["DINOX_MCP_BAKEND is not an option; did you mean DINOX_MCP_BACKEND?"]


def test_a_key_that_a_host_left_as_a_reference_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINOX_API_KEY", "${user_config.api_key}")
    assert Settings.load().api_key is None


def test_a_token_is_never_left_out() -> None:
    token = Settings.load(token="${TOKEN}").token
    assert token is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Memory", "memory"),
        ("/srv/results", "/srv/results"),
        ("~/results", str(Path.home() / "results")),
        ("redis://store.example:6379/1", "redis://store.example:6379/1"),
    ],
)
def test_a_store_is_memory_a_folder_or_a_redis(value: str, expected: str) -> None:
    assert Settings.load(store=value).store == str(Path(expected) if expected.startswith("/") else expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("results", "'results' is not memory, a folder"),
        ("http://store.example", "a store with :// is a Redis"),
        ("redis://", "a store with :// is a Redis"),
        ("redis://:secret@store.example", "set DINOX_MCP_STORE_PASSWORD"),
        ("redis://store.example?password=secret", "set DINOX_MCP_STORE_PASSWORD"),
        ("redis://[::1:6379", "it is not a valid URL"),
    ],
)
def test_another_store_is_refused_without_repeating_a_password(value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"DINOX_MCP_STORE: .*{message}") as error:
        Settings.load(store=value)
    assert "secret" not in str(error.value)
