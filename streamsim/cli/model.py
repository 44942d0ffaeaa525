"""`streamsim model push FILE`: upload a model to a running server from a terminal."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from streamsim.errors import BadRequest

TOKEN = "STREAMSIM_TOKEN"
URL = "http://127.0.0.1:8080"


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    model = commands.add_parser("model", help="manage simulation models on a server")
    actions = model.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="upload a model, or a new version of it")
    push.add_argument("file", type=Path, metavar="FILE", help="the file to load")
    push.add_argument("others", type=Path, nargs="*", metavar="OTHER", help="files that it needs")
    push.add_argument("--name", help="default: the file's name without its ending")
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
    files: list[Path] = [options.file, *options.others]
    folder = options.file.parent
    name = options.name or re.sub(r"\W", "_", options.file.stem, flags=re.ASCII)
    body: dict[str, Any] = {"main": options.file.name, "files": {}}
    try:
        for file in files:
            inside = file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)
            body["files"][inside.as_posix()] = file.read_text(encoding="utf-8")
        if options.scenarios is not None:
            body["scenarios"] = json.loads(options.scenarios.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"cannot be read: {error}") from None
    engine = options.engine or guessed(options.file.name, body["files"][options.file.name])
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


def guessed(name: str, text: str) -> str | None:
    """The engine that a Python module looks like it is for; None leaves it to the server."""
    if not name.endswith(".py"):
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
