"""Archives of model folders, unpacked in memory and within bounds.

Nothing an archive says of itself is believed: what it holds is counted as it is unpacked. Links, encrypted
entries and paths that lead out of the folder are refused by name.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from typing import Final

from streamsim.errors import BadRequest, TooLarge

ENDING: Final = ".zip"
_ENTRY: Final = b"PK\1\2"
_UTF8: Final = 0x800
_ENCRYPTED: Final = 0x1
_UNICODE_PATH: Final = 0x7075
_CHUNK: Final = 64 << 10
_SYSTEMS_OWN: Final = re.compile(
    r"(?:^|/)(?:__MACOSX|__pycache__|\.git|\.svn|\.ipynb_checkpoints|\.DS_Store|Thumbs\.db|desktop\.ini)(?:/|$)"
    r"|(?:^|/)\._[^/]*$"
)


def unpacked(archive: str, data: bytes, max_files: int, max_bytes: int) -> dict[str, bytes]:
    """The files of an archive by their path in it; those that systems add by themselves are left out.

    A folder that holds everything else is left out of the paths: it is the model's folder itself.

    :param archive: its name, for errors. :raises BadRequest: naming the entry. :raises TooLarge:
    """
    # The table of contents is read whole before it can be counted: one that cannot be right is not read.
    if data.count(_ENTRY) > 20 * max_files + 100:
        raise TooLarge(
            f"{archive} has too many entries: a model has at most {max_files} files", field="files"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            named = {_name(archive, entry): entry for entry in entries}
            if len(named) != len(entries):
                raise BadRequest(f"{archive} has two files of one name", field="files")
            named = {name: entry for name, entry in named.items() if not _SYSTEMS_OWN.search(name)}
            if len(named) > max_files:
                raise TooLarge(
                    f"{archive} has {len(named)} files: a model has at most {max_files}", field="files"
                )
            files: dict[str, bytes] = {}
            left = max_bytes
            for name, entry in named.items():
                files[name] = _content(archive, opened, name, entry, left, max_bytes)
                left -= len(files[name])
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
    ) as broken:
        raise BadRequest(f"{archive} is no zip archive that can be read: {broken}", field="files") from None
    if not files:
        raise BadRequest(f"{archive} has no files in it", field="files")
    folders = {name.partition("/")[0] for name in files}
    if len(folders) == 1 and all("/" in name for name in files):
        return {name.partition("/")[2]: content for name, content in files.items()}
    return files


def _name(archive: str, entry: zipfile.ZipInfo) -> str:
    """The path of an entry in the archive. :raises BadRequest: it leads out of it."""
    name = _decoded(entry).replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise BadRequest(f"{archive}: the path {name[:200]} leads out of the archive", field="files")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise BadRequest(f"{archive}: {name[:200]} is {what}", field="files")
    if entry.flag_bits & _ENCRYPTED:
        raise BadRequest(f"{archive}: {name[:200]} is encrypted", field="files")
    return "/".join(part for part in parts if part not in ("", "."))


def _decoded(entry: zipfile.ZipInfo) -> str:
    """The name of an entry: as it says itself in Unicode, else UTF-8 if it is, else the code page of DOS."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = entry.orig_filename.encode("cp437", "replace")
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == _UNICODE_PATH and size > 5 and len(extra) >= 4 + size:
            (checksum,) = struct.unpack_from("<I", extra, 5)
            if checksum == zlib.crc32(raw):
                return extra[9 : 4 + size].decode("utf-8", "replace")
        extra = extra[4 + size :]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return entry.orig_filename


def _content(
    archive: str, opened: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo, left: int, max_bytes: int
) -> bytes:
    parts: list[bytes] = []
    size = 0
    with opened.open(entry) as file:
        while part := file.read(min(_CHUNK, left - size + 1)):
            size += len(part)
            if size > left:
                raise TooLarge(
                    f"{archive}: unpacked, its files up to {name[:200]} have more than {max_bytes} bytes",
                    field="files",
                )
            parts.append(part)
    return b"".join(parts)
