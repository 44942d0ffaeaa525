"""Settings: where values come from, what is refused, and the documents generated from the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamsim import config
from streamsim.cli import config_docs
from streamsim.config import OPTIONS, ConfigError, Option
from tests.support import ROOT


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yml"
    file.write_text(text)
    return file


def value(settings: config.Settings, option: Option) -> Any:
    section, name = option.name.split(".")
    return getattr(getattr(settings, section), name)


def another(option: Option) -> Any:
    """An accepted value that is not the default."""
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    if option.kind is bool:
        return not option.default
    if option.kind == config.TEXTS:
        return ["https://b.example"] if option.name == "server.cors_origins" else ["10.0.0.1"]
    if option.kind is str:
        return "sqlite:///elsewhere.db" if option.name == "storage.url" else "other"
    return option.kind(
        option.default + 1 if option.high is None or option.default < option.high else option.low
    )


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_every_option_is_set_by_file_environment_and_command_line(option: Option, tmp_path: Path) -> None:
    section = option.name.partition(".")[0]
    other = another(option)
    # storage.redis and storage.mongo go together.
    pair = {"storage.redis", "storage.mongo"}
    names = pair if option.name in pair else {option.name}
    texts = dict.fromkeys(names, other)
    file = written(
        tmp_path, yaml.safe_dump({section: {each.split(".")[1]: text for each, text in texts.items()}})
    )
    variable = ",".join(other) if isinstance(other, list) else str(other)
    environment = {OPTIONS[each].environment: variable for each in names}
    expected = tuple(other) if isinstance(other, list) else other
    for settings in (
        config.load(file),
        config.load(environment=environment),
        config.load(overrides=texts),
    ):
        assert value(settings, option) == expected
        assert type(value(settings, option)) is type(option.default)
    assert value(config.load(), option) == option.default


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = written(tmp_path, "server: {port: 1, drain_s: 2, address: '::1'}")
    environment = {"STREAMSIM_SERVER_PORT": "3", "STREAMSIM_SERVER_DRAIN_S": "4"}
    server = config.load(file, environment, {"server.port": 5}).server
    assert (server.port, server.drain_s, server.address, server.processes) == (5, 4.0, "::1", 1)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("server: {prot: 1}", ["server.prot", "server.port"]),
        ("sever: {port: 1}", ["sever", "server"]),
        ("server: {port: '80'}", ["server.port", "an integer"]),
        ("server: {port: 80.5}", ["server.port", "an integer"]),
        ("server: {port: true}", ["server.port", "an integer"]),
        ("server: {port: 70000}", ["server.port", "0 to 65535"]),
        ("server: {port: null}", ["server.port", "an integer"]),
        ("server: {drain_s: .nan}", ["server.drain_s", "0 to 3600"]),
        ("server: {debug: 1}", ["server.debug", "true or false"]),
        ("server: {debug: 'yes'}", ["server.debug", "true or false"]),
        ("server: {cors_origins: https://a.b}", ["server.cors_origins", "list"]),
        ("server: {cors_origins: ['*']}", ["server.cors_origins", "'*'", "public_origins"]),
        ("server: {cors_origins: [https://a.b/]}", ["server.cors_origins", "without a path or a slash"]),
        ("server: {cors_origins: [https://a.b, a.b]}", ["server.cors_origins", "'a.b'"]),
        ("server: {cors_origins: ['null']}", ["server.cors_origins", "'null'"]),
        ("server: {trusted_proxies: [nginx]}", ["server.trusted_proxies", "nginx"]),
        ("login: {cookie_secure: maybe}", ["login.cookie_secure", "auto, always, never"]),
        ("storage: {redis: redis://x}", ["storage.redis", "storage.mongo"]),
        ("storage: {url: postgres://x}", ["storage.url", "sqlite:///"]),
        ("storage: {redis_prefix: 'a}b'}", ["storage.redis_prefix", "letters"]),
        ("server: [port]", ["server", "names and values"]),
        ("- server", ["names and values"]),
        ("server: {", ["not valid YAML"]),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, names: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        config.load(written(tmp_path, text))
    for name in names:
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "name"),
    [
        ("STREAMSIM_SERVER_PORT", "x", "server.port"),
        ("STREAMSIM_SERVER_DEBUG", "1", "server.debug"),
        ("STREAMSIM_SERVER_PROT", "1", "STREAMSIM_SERVER_PORT"),
    ],
)
def test_bad_environment_variable_is_named(variable: str, text: str, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        config.load(environment={variable: text})


def test_other_environment_variables_are_left_alone() -> None:
    environment = {
        "STREAMSIM_ADMIN_PASSWORD": "x",
        "STREAMSIM_TEST_REDIS": "x",
        "PATH": "x",
        "SERVER_PORT": "x",
    }
    assert config.load(environment=environment) == config.Settings()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml"):
        config.load(tmp_path / "none.yml")


def test_configuration_document_is_in_step_with_the_table() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == config_docs.document(), (
        "run: python -m streamsim.cli.config_docs"
    )
    for option in OPTIONS.values():
        assert f"`{option.name}`" in config_docs.document()


def test_config_file_shows_every_option_with_its_default() -> None:
    text = (ROOT / "config.yml").read_text()
    assert text == config_docs.file(), "run: python -m streamsim.cli.config_docs"
    assert config.load(ROOT / "config.yml") == config.Settings()
    # Each option uncommented gives its default.
    uncommented = [
        line.replace("# ", "", 1) if line.strip("# ").split(":")[0] in _names() else line
        for line in text.splitlines()
    ]
    shown = yaml.safe_load("\n".join(line for line in uncommented if not line.strip().startswith("#")))
    given = {
        f"{section}.{name}": value for section, options in shown.items() for name, value in options.items()
    }
    assert given == {
        name: list(option.default) if isinstance(option.default, tuple) else option.default
        for name, option in OPTIONS.items()
    }


def _names() -> set[str]:
    return {name.partition(".")[2] for name in OPTIONS}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        config.Settings().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("old", config.RENAMED)
def test_an_old_name_of_a_setting_is_read_and_its_new_name_is_told(
    old: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    option = OPTIONS[config.RENAMED[old]]
    section, name = old.split(".")
    other = another(option)
    variable = f"STREAMSIM_{section}_{name}".upper()
    for settings in (
        config.load(written(tmp_path, yaml.safe_dump({section: {name: other}}))),
        config.load(environment={variable: str(other)}),
    ):
        assert value(settings, option) == other
    assert [f"{old} is called {option.name} now" in text for text in caplog.messages] == [True, True]


def test_a_present_name_goes_before_an_old_one(tmp_path: Path) -> None:
    file = written(tmp_path, "evaluation:\n  lease_s: 3.0\njobs:\n  lease_s: 4.0\n")
    assert config.load(file).jobs.lease_s == 4
    environment = {"STREAMSIM_EVALUATION_LEASE_S": "5"}
    assert config.load(file, environment=environment).jobs.lease_s == 5


def test_a_setting_that_is_no_more_changes_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert config.load(written(tmp_path, "models:\n  load_ms: 20000\n")) == config.load()
    assert ["models.load_ms is no longer a setting" in text for text in caplog.messages] == [True]
