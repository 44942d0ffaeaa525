"""Commands and programs of a document, pasted into a shell against a fresh server."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import PASSWORD, ROOT, Server

_MARK = "--- an answer is due ---"
_PARSERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "text": ast.literal_eval}


def pasted(document: str, folder: Path, *, skip: int = 0) -> list[tuple[str, Any, Any]]:
    """(commands, what the document shows after them, what they gave), in order.

    :param document: its path in the project. ` ```sh ` blocks are commands, ` ```json ` blocks their answers;
        ` ```python ` blocks are programs, ` ```text ` blocks the values that they print.
    :param skip: so many blocks at its start are not pasted.
    """
    with Server(folder / "server") as server:
        return pasted_against(server, document, folder, skip=skip)


def pasted_against(
    server: Server, document: str, folder: Path, *, skip: int = 0
) -> list[tuple[str, Any, Any]]:
    """As `pasted`, against a server that is there.

    The folder is to the commands what a checkout after `make serve` is to a reader: it has `.venv`, and no
    command of that is on the path.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    script, commands, shown = "", [""], []
    for kind, block in re.findall(r"```(sh|python|json|text)\n(.*?)```", text, re.DOTALL)[skip:]:
        if kind in _PARSERS:
            parse = _PARSERS[kind]
            shown.append((len(commands) - 1, parse(block), parse))
            continue
        program = block if kind == "sh" else f".venv/bin/python - <<'END_OF_PROGRAM'\n{block}END_OF_PROGRAM\n"
        script += f"echo; echo '{_MARK}'\n{program}"
        commands.append(block)
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    inside = str(Path(sys.executable).parent)
    path = ":".join(part for part in os.environ["PATH"].split(":") if part != inside)
    ended = subprocess.run(
        ["bash", "-e"],
        input=script.replace("correct-horse", PASSWORD),
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, (document, ended.stdout[-2000:], ended.stderr)
    given = ended.stdout.split(_MARK)
    return [(commands[number], expected, parse(given[number].strip())) for number, expected, parse in shown]
