"""The commands of docs/runs.md, pasted into a shell against a fresh server, give what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support import PASSWORD, Server

GUIDE = Path(__file__).parents[2] / "docs" / "runs.md"
MARK = "--- an answer is due ---"


def test_the_guides_commands_give_what_it_shows(tmp_path: Path) -> None:
    found = re.findall(r"```(sh|json)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    script, shown = "", []
    for kind, text in found:
        if kind == "sh":
            script += f"echo '{MARK}'\n{text}"
        else:
            shown.append((script.count(MARK), json.loads(text)))
    with Server(tmp_path / "server") as server:
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        script = script.replace("correct-horse", PASSWORD)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        ended = subprocess.run(
            ["bash", "-e"],
            input=script,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    answers = ended.stdout.split(MARK)
    assert len(shown) == 10
    for number, expected in shown:
        assert json.loads(answers[number]) == expected, answers[number]
