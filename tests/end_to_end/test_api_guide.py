"""The commands and programs of docs/api.md, against a fresh server, give what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from streamsim_client import Client
from streamsim_client.groups import Group, call, each
from tests.guides import pasted
from tests.support import ROOT


def test_the_guides_commands_and_programs_give_what_it_shows(tmp_path: Path) -> None:
    answers = pasted("docs/api.md", tmp_path)
    assert len(answers) == 14
    for commands, shown, given in answers:
        assert given == shown, commands


def test_the_guide_lists_every_call_of_the_client() -> None:
    guide = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = guide[guide.index("## The client's calls") :]
    with Client("http://127.0.0.1:1") as client:
        groups = {name: group for name, group in vars(client).items() if isinstance(group, Group)}
        groups["project(account, project)"] = client.project("account", "project")
    for name, group in groups.items():
        calls = {
            one
            for kind in type(group).__mro__
            for one, value in vars(kind).items()
            if isinstance(value, call | each)
        }
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        listed = re.findall(r"`(\w+)`", row.split("|")[2])
        assert calls <= set(listed), (name, calls - set(listed))
