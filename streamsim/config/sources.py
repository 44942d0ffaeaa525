"""Where values of settings come from, and the table of all options.

In rising order of precedence: the defaults, a YAML file, environment variables `STREAMSIM_<SECTION>_<NAME>`,
and the command line. A setting that was renamed is read by its old name too, with a warning.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, NamedTuple, get_type_hints

import yaml

from streamsim.config.settings import TEXTS, Settings

log = logging.getLogger(__name__)

ENVIRONMENT_PREFIX: Final = "STREAMSIM_"
RENAMED: Final = {
    "jobs.interval_ms": "upkeep.interval_ms",
    "jobs.snapshot_interval_s": "upkeep.snapshot_interval_s",
    "jobs.cleanup_interval_s": "upkeep.cleanup_interval_s",
    "jobs.advice_kept_hours": "upkeep.advice_kept_hours",
    "evaluation.jobs": "jobs.per_user",
    "evaluation.job_s": "jobs.longest_s",
    "evaluation.lease_s": "jobs.lease_s",
    "evaluation.scheduler": "jobs.scheduler",
}
"""Old names of settings, which are still read, and their present ones."""
REMOVED: Final = {"models.load_ms": "loading a model is one request to it, which models.wall_ms bounds"}
"""Settings that are no more, which change nothing, and why."""


Given = tuple[str, object, str]
"""A name as it was given, its value, and where it was given, for messages."""


class ConfigError(Exception):
    """A setting that cannot be used; the message names its source, the option and what is accepted."""


class Option(NamedTuple):
    """One row of the table; `name` is dotted, e.g. `server.port`."""

    name: str
    kind: Any
    default: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def environment(self) -> str:
        """The environment variable that overrides it."""
        return _variable(self.name)


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.replace(".", "_").upper()


def _table() -> Iterator[Option]:
    for section in dataclasses.fields(Settings):
        kind: Any = type(section.default)
        kinds = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            meta = field.metadata
            yield Option(
                name=f"{section.name}.{field.name}",
                kind=kinds[field.name],
                default=field.default,
                help=meta["help"],
                low=meta["low"],
                high=meta["high"],
                choices=meta["choices"],
            )


OPTIONS: dict[str, Option] = {option.name: option for option in _table()}
_READ: Final = frozenset((*OPTIONS, *RENAMED, *REMOVED))
SECTIONS: dict[str, str] = {
    section.name: type(section.default).__doc__ or "" for section in dataclasses.fields(Settings)
}


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings.

    :param file: a YAML file of sections with options.
    :param environment: e.g. `os.environ`; variables of other names are ignored.
    :param overrides: dotted names to values, as the command line gives them.
    :raises ConfigError: naming the first option that is unknown, of a wrong type or out of range.
    """
    found: dict[str, object] = {}
    if file is not None:
        found.update(_present(_from_file(file)))
    found.update(_present(_from_environment(environment or {})))
    for name, value in (overrides or {}).items():
        found[name] = _checked(OPTIONS[name], value, "command line")
    sections: dict[str, Any] = {}
    for section in dataclasses.fields(Settings):
        prefix = section.name + "."
        given = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
        kind: Any = type(section.default)
        sections[section.name] = kind(**given)
    settings = Settings(**sections)
    if bool(settings.storage.redis) != bool(settings.storage.mongo):
        raise ConfigError("storage.redis and storage.mongo: give both or neither")
    if not re.fullmatch(r"[\w.:-]+", settings.storage.redis_prefix, re.ASCII):
        raise ConfigError("storage.redis_prefix: must be of letters, digits and . : _ -")
    if settings.storage.url and not settings.storage.url.startswith("sqlite:///"):
        raise ConfigError("storage.url: must start with sqlite:///")
    for proxy in settings.server.trusted_proxies:
        try:
            ip_network(proxy, strict=False)
        except ValueError as error:
            raise ConfigError(f"server.trusted_proxies: {error}") from None
    for origin in settings.server.cors_origins:
        if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise ConfigError(
                f"server.cors_origins: {origin!r} is no origin: that is scheme, host and port, e.g. "
                "https://app.example.com, without a path or a slash at its end. There is none for all pages: "
                "experiments with public_origins take getaction and setreward from any"
            )
    return settings


def _present(given: Iterator[Given]) -> dict[str, object]:
    """Checked values by the present names of settings; a present name goes before an old one."""
    values: dict[str, object] = {}
    renamed: dict[str, object] = {}
    for name, value, source in given:
        if name in REMOVED:
            log.warning("%s: %s is no longer a setting: %s", source, name, REMOVED[name])
        elif name in RENAMED:
            log.warning("%s: %s is called %s now", source, name, RENAMED[name])
            renamed[RENAMED[name]] = _checked(OPTIONS[RENAMED[name]], value, source)
        else:
            values[name] = _checked(OPTIONS[name], value, source)
    return renamed | values


def _from_file(file: Path) -> Iterator[Given]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from None
    for section, options in _mapping(content, str(file)).items():
        if section not in SECTIONS:
            raise ConfigError(f"{file}: {section}: no such section{_closest(section, SECTIONS)}")
        for name, value in _mapping(options, f"{file}: {section}").items():
            full = f"{section}.{name}"
            if full not in _READ:
                raise ConfigError(f"{file}: {full}: no such option{_closest(full, OPTIONS)}")
            yield full, value, str(file)


def _mapping(value: object, where: str) -> dict[str, object]:
    # A section whose options are all commented out reads as None.
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: must hold names and values")
    return value


def _from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    names = {_variable(name): name for name in _READ}
    prefixes = tuple(f"{ENVIRONMENT_PREFIX}{section.upper()}_" for section in SECTIONS)
    for variable, text in environment.items():
        if not variable.startswith(prefixes):
            continue
        name = names.get(variable)
        if name is None:
            known = dict.fromkeys(map(_variable, OPTIONS))
            raise ConfigError(f"environment: {variable}: no such option{_closest(variable, known)}")
        option = OPTIONS.get(RENAMED.get(name, name))
        yield name, text if option is None else _read(option, text), f"environment: {variable}"


def _read(option: Option, text: str) -> object:
    """The text of an environment variable as the option's type where it reads as one, else as it is."""
    if option.kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if option.kind == TEXTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if option.kind in (int, float):
        try:
            return option.kind(text)
        except ValueError:
            return text
    return text


def _checked(option: Option, value: object, source: str) -> object:
    def refused(accepted: str) -> ConfigError:
        return ConfigError(f"{source}: {option.name}: must be {accepted}, not {value!r}")

    if option.kind == TEXTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise refused("a list of texts")
        return tuple(value)
    if option.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not option.kind:
        raise refused(KINDS[option.kind])
    if isinstance(value, int | float) and option.kind is not bool:
        low, high = option.low, option.high
        # The comparison is written so that a NaN fails it.
        if not ((low is None or value >= low) and (high is None or value <= high)):
            raise refused(accepted(option))
    if option.choices and value not in option.choices:
        raise refused(accepted(option))
    return value


KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "text", TEXTS: "list of texts"}


def accepted(option: Option) -> str:
    """What the option takes, in words."""
    if option.choices:
        return "one of " + ", ".join(option.choices)
    low = "" if option.low is None else f" from {int(option.low)}"
    high = "" if option.high is None else f" to {int(option.high)}"
    return KINDS[option.kind] + low + high


def _closest(name: str, names: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
