"""How the console's files are served: strictly, cached by name, packed; and what `/` is without them."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from handlers.console import POLICY, bundle
from streamsim.server.http.application import CONSOLE, Application
from tests.application import Caller
from tests.support import ROOT

built = pytest.mark.skipif(not (CONSOLE / "index.html").is_file(), reason="the console is not built")


async def fetch(caller: Caller, path: str, **headers: str) -> HTTPResponse:
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    return await AsyncHTTPClient().fetch(
        caller.url + path, headers=asked, decompress_response=False, raise_error=False
    )


@built
@pytest.mark.gen_test
async def test_the_page_and_its_files_come_packed_with_a_strict_policy(nobody: Caller) -> None:
    page = await fetch(nobody, "/")
    assert (page.code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["Cache-Control"] == "no-store"
    assert "Content-Encoding" not in page.headers
    # Nothing that such a policy would have to make an exception for.
    assert not re.search(r"<style|style=|<script(?![^>]* src=)|\son\w+=", page.body.decode())
    files = re.findall(r'(?:src|href)="(/console/[^"]+)"', page.body.decode())
    assert len(files) == 3
    for path in files:
        plain = await fetch(nobody, path, Accept_Encoding="identity, gzip;q=0")
        packed = await fetch(nobody, path, Accept_Encoding="br, GZIP;q=0.5")
        assert (plain.code, packed.code) == (200, 200)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        for one in (plain, packed):
            assert "immutable" in one.headers["Cache-Control"]
            assert "Accept-Encoding" in one.headers["Vary"]
            assert one.headers["X-Content-Type-Options"] == "nosniff"


@built
@pytest.mark.gen_test
async def test_no_other_file_is_served(nobody: Caller) -> None:
    for name in ("index.html", "nothing.js", "..%2f..%2fserve.py", "main.js.gz", ".."):
        answer = await fetch(nobody, f"/console/{name}")
        assert answer.code == 404, name
        assert b'"not_found"' in answer.body


@built
def test_no_source_makes_markup_of_text_or_code_of_text() -> None:
    for path in (ROOT / "console" / "src").rglob("*.ts*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )


@pytest.mark.gen_test
async def test_without_the_console_the_page_has_links(nobody: Caller, app: Application) -> None:
    app.settings["console"] = {}
    page = await nobody.get("/")
    assert 'href="/openapi.json"' in page.body
    assert (await nobody.get("/console/main.js")).status == 404


def test_half_a_bundle_is_none(tmp_path: Path) -> None:
    (tmp_path / "main-ABC.js").write_text("1")
    assert bundle(tmp_path) == {}


def test_the_types_are_those_of_the_openapi_document() -> None:
    """If not: `python console/typed.py`."""
    code = "import typed; raise SystemExit(typed.current() != typed.FILE.read_text())"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "console", timeout=120)
    assert ended.returncode == 0, "run python console/typed.py"


def test_where_the_console_cannot_be_built_one_line_says_so(tmp_path: Path) -> None:
    """A copy of the project whose lock file names what there is not."""
    for name in ("package.json", "build.mjs", "requirements.txt"):
        (tmp_path / "console").mkdir(exist_ok=True)
        (tmp_path / "console" / name).write_bytes((ROOT / "console" / name).read_bytes())
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "console").write_bytes((ROOT / ".ci" / "console").read_bytes())
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, says in (("node", "echo v22.0.0"), ("npm", "echo there is no network >&2; exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{says}\n")
        (programs / name).chmod(0o755)
    command = [sys.executable, str(tmp_path / ".ci" / "console")]
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0
    [line] = ended.stderr.splitlines()
    assert line.startswith("the web console could not be built, all else works: ")
    assert "there is no network" in line
    assert subprocess.run([*command, "--strict"], env=environment, capture_output=True).returncode == 1
