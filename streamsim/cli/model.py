"""`streamsim model push FILE`: upload a model, a folder or an archive to a running server from a terminal."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from streamsim.errors import BadRequest
from streamsim.models.file_texts import plain

TOKEN = "STREAMSIM_TOKEN"
_HIDDEN = re.compile(r"(?:^|/)(?:\.|__pycache__/)")
URL = "http://127.0.0.1:8080"


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    model = commands.add_parser("model", help="manage simulation models on a server")
    actions = model.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="upload a model, or a new version of it")
    push.add_argument(
        "file", type=Path, metavar="FILE", help="the file to load; or a folder, or a .zip archive of one"
    )
    push.add_argument("others", type=Path, nargs="*", metavar="OTHER", help="files that it needs")
    push.add_argument("--name", help="default: the file's name without its ending")
    push.add_argument("--main", help="of a folder or an archive the file to load, if it cannot be told")
    push.add_argument("--engine", help="bptk, pysd or python; default: what the file looks like")
    push.add_argument(
        "--scenarios", type=Path, metavar="JSON", help="file with scenarios, for Vensim and XMILE"
    )
    push.add_argument("--url", default=URL, help=f"the server; default {URL}")
    push.add_argument("--token", help=f"a bearer token; default the environment's {TOKEN}")


def run(options: argparse.Namespace) -> int:
    """Push, and print what was found. :raises BadRequest: what the server says, or an unreadable file."""
    token = options.token or os.environ.get(TOKEN)
    if not token:
        raise BadRequest(f"a token is needed: POST /user/token gives one; --token or {TOKEN}")
    name = options.name or re.sub(r"\W", "_", options.file.stem, flags=re.ASCII)
    body: dict[str, Any] = {}
    try:
        body["files"] = _files(options.file, options.others)
        if options.scenarios is not None:
            body["scenarios"] = json.loads(options.scenarios.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"cannot be read: {error}") from None
    engine = options.engine
    if options.main:
        body["main"] = options.main
    elif not options.file.is_dir() and options.file.suffix.lower() != ".zip":
        body["main"] = options.file.name
        engine = engine or guessed(options.file.name, body["files"][options.file.name])
    if engine:
        body["engine"] = engine
    if engine and not options.engine:
        print(f"engine: {engine}, as the file looks like; --engine chooses another", file=sys.stderr)
    exists, _ = _call(options.url, token, "GET", f"/models/{name}")
    if exists == 200:
        status, answer = _call(options.url, token, "PUT", f"/models/{name}", body)
    else:
        status, answer = _call(options.url, token, "POST", "/models", {**body, "name": name})
    if status not in (200, 201):
        raise BadRequest(str(answer.get("error", f"the server answered {status}")))
    json.dump(answer, sys.stdout, indent=2)
    print()
    return 0


def _files(file: Path, others: list[Path]) -> dict[str, str | dict[str, str]]:
    """Files as an upload has them: by path from the first one's folder, or in the folder that it is."""
    if file.is_dir():
        inside = (one for one in sorted(file.rglob("*")) if one.is_file())
        found = {one.relative_to(file).as_posix(): one for one in inside}
        kept = {name: one for name, one in found.items() if not _HIDDEN.search(name)}
    else:
        folder = file.parent
        kept = {
            (one.relative_to(folder) if one.is_relative_to(folder) else Path(one.name)).as_posix(): one
            for one in (file, *others)
        }
    return {name: _content(one.read_bytes()) for name, one in kept.items()}


def _content(data: bytes) -> str | dict[str, str]:
    """Text, or base64 of what is no text in UTF-8."""
    text = plain(data)
    return {"base64": base64.b64encode(data).decode()} if text is None else text


def guessed(name: str, text: str | dict[str, str]) -> str | None:
    """The engine that a Python module looks like it is for; None leaves it to the server."""
    if not name.endswith(".py") or not isinstance(text, str):
        return None
    return "bptk" if re.search(r"\bbptk\b|\bbptk_factory\b|\bBPTK_Py\b", text) else "python"


def _call(url: str, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(url.rstrip("/") + path, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except urllib.error.URLError as error:
        raise BadRequest(f"{url} cannot be reached: {error.reason}") from None
