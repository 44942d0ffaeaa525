"""What `streamsim model push` sends of files, folders and archives."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from streamsim.cli import model
from streamsim.cli.main import main


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Bodies that are sent, to a server that has no model yet."""
    bodies: list[Any] = []

    def call(_url: str, _token: str, method: str, _path: str, body: Any = None) -> tuple[int, Any]:
        if method == "GET":
            return 404, {}
        bodies.append(body)
        return 201, {}

    monkeypatch.setattr(model, "_call", call)
    monkeypatch.setenv(model.TOKEN, "token")
    return bodies


def test_a_folder_is_sent_without_what_is_hidden(tmp_path: Path, sent: list[Any]) -> None:
    data = bytes(range(256))
    for name in ("main.py", "data/rates.csv", ".git/config", "__pycache__/main.pyc", "data/.cache"):
        (tmp_path / "tea" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tea" / name).write_text("x = 1\n")
    (tmp_path / "tea" / "book.xlsx").write_bytes(data)
    assert main(["model", "push", str(tmp_path / "tea"), "--engine", "python", "--main", "main.py"]) == 0
    book = {"base64": base64.b64encode(data).decode()}
    files = {"main.py": "x = 1\n", "data/rates.csv": "x = 1\n", "book.xlsx": book}
    assert sent == [{"name": "tea", "engine": "python", "main": "main.py", "files": files}]


def test_an_archive_is_sent_as_it_is_and_the_server_tells_its_main_file(
    tmp_path: Path, sent: list[Any]
) -> None:
    (tmp_path / "tea.zip").write_bytes(b"PK\3\4\xff\0")
    assert main(["model", "push", str(tmp_path / "tea.zip")]) == 0
    packed = {"base64": base64.b64encode(b"PK\3\4\xff\0").decode()}
    assert sent == [{"name": "tea", "files": {"tea.zip": packed}}]


def test_a_file_in_another_encoding_is_sent_as_bytes(tmp_path: Path, sent: list[Any]) -> None:
    (tmp_path / "tee.mdl").write_bytes("Wärme".encode("latin-1"))
    (tmp_path / "more.csv").write_text("1")
    assert main(["model", "push", str(tmp_path / "tee.mdl"), str(tmp_path / "more.csv")]) == 0
    [body] = sent
    assert body["main"] == "tee.mdl"
    assert body["files"]["more.csv"] == "1"
    assert base64.b64decode(body["files"]["tee.mdl"]["base64"]) == "Wärme".encode("latin-1")
