"""The commands of docs/models.md, pasted into a shell against a fresh server, give what it shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.guides import pasted
from tests.support import Server


def test_the_guides_commands_give_what_it_shows(tmp_path: Path) -> None:
    answers = pasted("docs/models.md", tmp_path)
    assert len(answers) == 10
    for commands, shown, given in answers:
        assert given == shown, commands
    assert json.loads((tmp_path / "found.json").read_text())["version"] == 1


def test_push_says_which_line_is_at_fault(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\nimport nothing_like_this\n")
    with Server(tmp_path / "server") as server:
        token = server.admin().post("/user/token", {}).body["token"]
        command = [str(Path(sys.executable).with_name("streamsim")), "model", "push", "bad.py"]
        ended = subprocess.run(
            [*command, "--url", server.url],
            cwd=tmp_path,
            env={**os.environ, "STREAMSIM_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 1
    assert "bad.py, line 2" in ended.stderr
