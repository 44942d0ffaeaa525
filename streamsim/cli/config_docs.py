"""`config.yml` and `docs/configuration.md`, generated from the table of settings.

`python -m streamsim.cli.config_docs` writes both; a test fails while they differ from the table.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from streamsim.config import OPTIONS, SECTIONS, Option, accepted

_DOCUMENT = """\
# Configuration

<!-- Made from streamsim/config.py by `python -m streamsim.cli.config_docs`; a test keeps them in step. -->

Every setting has a default; none has to be set. A value comes from the first of these that gives one:

1. the command line of `streamsim serve`: `--port`, `--address`, `--data`, `--processes`;
2. the environment: `STREAMSIM_<SECTION>_<NAME>`, e.g. `STREAMSIM_SERVER_PORT=9000`; texts of a list are
   separated by commas;
3. the file that `--config` names, else `config.yml` in the working folder, if there is one;
4. the default.

An unknown name or a value of a wrong type or range ends the start with a message that names it. Units are
part of the names: `_ms` milliseconds, `_s` seconds, `_hours`, `_days`, `_bytes`.

`STREAMSIM_ADMIN_PASSWORD` is read on a first start, when there are no users: it becomes the password of the
user `admin`. Without it a random one is printed once.
"""
_FILE = """\
# Settings of streamsim. Every option is shown with its default; remove the # to change it.
# What each one means, and the environment variables that override this file: docs/configuration.md
"""


def document() -> str:
    """The text of `docs/configuration.md`."""
    parts = [_DOCUMENT]
    for section, meaning in SECTIONS.items():
        parts.append(f"\n## {section}\n\n{meaning}\n\n| option | type and range | default | meaning |\n")
        parts.append("| --- | --- | --- | --- |\n")
        parts += [
            f"| `{option.name}` | {accepted(option)} | {_shown(option)} | {option.help} |\n"
            for option in _of(section)
        ]
    return "".join(parts)


def file() -> str:
    """The text of `config.yml`."""
    parts = [_FILE]
    for section, meaning in SECTIONS.items():
        parts.append(f"\n# {meaning}\n{section}:\n")
        for option in _of(section):
            name = option.name.partition(".")[2]
            parts.append(f"  # {option.help}\n  # {name}: {_yaml(option)}\n")
    return "".join(parts)


def _of(section: str) -> list[Option]:
    return [option for option in OPTIONS.values() if option.name.startswith(section + ".")]


def _shown(option: Option) -> str:
    return f"`{_yaml(option)}`" if option.default not in ("", ()) else "empty"


def _yaml(option: Option) -> str:
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return yaml.safe_dump(default, default_flow_style=True).removesuffix("...\n").strip()


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    (root / "config.yml").write_text(file(), encoding="utf-8")
    (root / "docs" / "configuration.md").write_text(document(), encoding="utf-8")
