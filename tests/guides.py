"""Commands of a document, pasted into a shell against a fresh server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import PASSWORD, Server

ROOT = Path(__file__).parents[1]
_MARK = "--- an answer is due ---"


def pasted(document: str, folder: Path, *, skip: int = 0) -> list[tuple[str, Any, Any]]:
    """(commands, the JSON that the document shows after them, the JSON that they gave), in order.

    :param document: its path in the project; ` ```sh ` blocks are commands, ` ```json ` blocks answers.
    :param skip: so many blocks at its start are not pasted.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    script, commands, shown = "", [""], []
    for kind, block in re.findall(r"```(sh|json)\n(.*?)```", text, re.DOTALL)[skip:]:
        if kind == "sh":
            script += f"echo; echo '{_MARK}'\n{block}"
            commands.append(block)
        else:
            shown.append((len(commands) - 1, json.loads(block)))
    with Server(folder / "server") as server:
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        ended = subprocess.run(
            ["bash", "-e"],
            input=script.replace("correct-horse", PASSWORD),
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    given = ended.stdout.split(_MARK)
    return [(commands[number], expected, json.loads(given[number])) for number, expected in shown]
