"""The commands of docs/runs.md, pasted into a shell against a fresh server, give what it shows."""

from __future__ import annotations

from pathlib import Path

from tests.guides import pasted
from tests.support import ROOT


def test_the_guides_commands_give_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    answers = pasted("docs/runs.md", tmp_path)
    assert len(answers) == 12
    for commands, shown, given in answers:
        assert given == shown, commands
