"""The files of an upload: text or any bytes by path, archives unpacked, and which of them is to be loaded."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

import msgspec

from streamsim.errors import BadRequest, TooLarge
from streamsim.models import archives, file_texts
from streamsim.values import JsonObject

MAX_FILES: Final = 200
ENDINGS: Final = {
    ".py": "bptk",
    ".json": "bptk",
    ".stmx": "bptk",
    ".itmx": "bptk",
    ".xmile": "bptk",
    ".mdl": "pysd",
}
"""The engine of a main file when none is named; `.xml` is that of `.xmile` if it is XMILE."""
BYTES: Final = '{"base64": text}'
FORM: Final = f"text, or {BYTES} for any bytes"
_MODELS: Final = (".mdl", ".stmx", ".itmx", ".xmile")
_SCENARIOS: Final = re.compile(r"scenarios/[^/]+\.json", re.IGNORECASE)
_FILE = re.compile(r"(?!/)(?!.*(?:^|/)\.\.?(?:/|$))[^\0-\x1f\\]{1,200}")


class ModelFiles(msgspec.Struct, frozen=True):
    """Text by path; that of the paths in `binary` is base64 of bytes which are no text in UTF-8."""

    texts: dict[str, str]
    binary: list[str] = []

    def content(self, name: str) -> str | bytes:
        """The text of a file, or its bytes if they are no text in UTF-8."""
        text = self.texts[name]
        return base64.b64decode(text) if name in self.binary else text


def given(files: object) -> dict[str, str | bytes]:
    """Files as JSON has them, or as bytes. :raises BadRequest: naming one of another form."""
    if not isinstance(files, dict) or not files:
        raise BadRequest(f"files must be an object of file name -> {FORM}", field="files")
    result: dict[str, str | bytes] = {}
    for name, content in files.items():
        if isinstance(content, dict) and content.keys() == {"base64"} and isinstance(content["base64"], str):
            try:
                content = base64.b64decode(content["base64"], validate=True)
            except (binascii.Error, ValueError) as broken:
                raise BadRequest(f"files: the base64 of {name[:200]}: {broken}", field="files") from None
        if not isinstance(content, (str, bytes)):
            raise BadRequest(f"files: {name[:200]} must be {FORM}", field="files")
        result[name] = content
    return result


def shown(files: ModelFiles) -> JsonObject:
    """Files as `given` takes them."""
    return {name: {"base64": text} if name in files.binary else text for name, text in files.texts.items()}


def collected(files: Mapping[str, str | bytes], max_bytes: int) -> ModelFiles:
    """An upload's files; archives among them are unpacked where they stand.

    :raises BadRequest: naming the file. :raises TooLarge: too many, or too large.
    """
    plain: dict[str, str | bytes] = {}
    for name, content in files.items():
        unpacked: dict[str, str | bytes]
        if name.lower().endswith(archives.ENDING):
            if isinstance(content, str):
                raise BadRequest(f"files: {name[:200]} must be {BYTES}", field="files")
            inside = archives.unpacked(name[:200], content, MAX_FILES, max_bytes)
            folder = name.rpartition("/")[0]
            unpacked = {f"{folder}/{one}" if folder else one: data for one, data in inside.items()}
        else:
            unpacked = {name: content}
        for one, data in unpacked.items():
            if one in plain:
                raise BadRequest(f"files: there are two of the name {one[:200]}", field="files")
            plain[one] = data
    if not plain:
        raise BadRequest("files: there are none", field="files")
    if len(plain) > MAX_FILES:
        raise TooLarge(f"a model has at most {MAX_FILES} files", field="files")
    for name in plain:
        if not _FILE.fullmatch(name):
            raise BadRequest(
                f"files: {name[:200]}: a name is a relative path without '..', of up to 200 characters",
                field="files",
            )
    size = sum(len(data.encode() if isinstance(data, str) else data) for data in plain.values())
    if size > max_bytes:
        raise TooLarge(f"files have at most {max_bytes} bytes in all", field="files")
    texts: dict[str, str] = {}
    binary: list[str] = []
    for name, data in plain.items():
        text = data if isinstance(data, str) else file_texts.plain(data)
        if text is None and isinstance(data, bytes):
            text = base64.b64encode(data).decode()
            binary.append(name)
        texts[name] = text or ""
    return ModelFiles(texts, binary)


def main_file(files: ModelFiles) -> str:
    """The file to load, if no other can be meant. :raises BadRequest: several can."""
    names = list(files.texts)
    if len(names) == 1:
        return names[0]
    scenarios = sorted(name for name in names if _SCENARIOS.fullmatch(name))
    top = [name for name in names if "/" not in name and name.lower().endswith(".py")]
    models = [name for name in names if _is_model(files, name)]
    if scenarios and len(top) <= 1:
        return (top or scenarios)[0]
    for found in (models, top):
        if len(found) == 1:
            return found[0]
    some = ", ".join((models or top or names)[:10])
    raise BadRequest(f"main is missing: name the file to load, e.g. one of {some}"[:1000], field="main")


def engine_of(files: ModelFiles, main: str) -> str | None:
    """The engine of a main file by its ending, and by its content if that is `.xml`."""
    ending = PurePosixPath(main).suffix.lower()
    if ending == ".xml":
        return ENDINGS[".xmile"] if file_texts.is_xmile(files.content(main)) else None
    return ENDINGS.get(ending)


def _is_model(files: ModelFiles, name: str) -> bool:
    ending = PurePosixPath(name).suffix.lower()
    return ending in _MODELS or (ending == ".xml" and file_texts.is_xmile(files.content(name)))
