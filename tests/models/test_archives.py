"""Archives of model folders: what is in them, and what is refused before or while it is unpacked."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from typing import Any

import pytest

from streamsim.errors import BadRequest, StreamsimError, TooLarge
from streamsim.models.archives import unpacked

LIMITS = {"max_files": 200, "max_bytes": 1 << 20}


def archive(files: dict[str, bytes], **options: Any) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for field, value in options.items():
                setattr(entry, field, value)
            made.writestr(entry, data)
    return written.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    return unpacked("model.zip", data, **LIMITS)


def test_what_is_packed_comes_out() -> None:
    files = {"main.py": b"x = 1\n", "data/rates.csv": b"1,2\r\n", "data/deep/er.bin": bytes(range(256))}
    assert unpack(archive(files)) == files


def test_the_folder_that_holds_everything_is_the_models_own() -> None:
    files = {"tea/main.py": b"", "tea/data/rates.csv": b"1"}
    assert unpack(archive(files)) == {"main.py": b"", "data/rates.csv": b"1"}
    assert unpack(archive({**files, "other": b""})).keys() == {*files, "other"}


def test_what_systems_add_by_themselves_is_left_out() -> None:
    files = {
        "tea/main.py": b"x",
        "__MACOSX/tea/._main.py": b"",
        "tea/.DS_Store": b"",
        "tea/._main.py": b"",
        "tea/__pycache__/main.cpython-311.pyc": b"",
        "tea/.git/config": b"",
        "tea/Thumbs.db": b"",
    }
    assert unpack(archive(files)) == {"main.py": b"x"}


@pytest.mark.parametrize(
    "name", ["../main.py", "a/../../main.py", "/etc/main.py", "C:/main.py", "a\\..\\..\\main.py", "\\main.py"]
)
def test_a_path_that_leads_out_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadRequest, match="leads out"):
        unpack(archive({"ok.py": b"", name: b""}))


def test_backslashes_of_windows_are_folders() -> None:
    assert unpack(archive({"a\\b.py": b"1", "c.py": b"2"})) == {"a/b.py": b"1", "c.py": b"2"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind: int) -> None:
    data = archive({"main.py": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16)
    with pytest.raises(BadRequest, match=r"main\.py is"):
        unpack(data)


def test_encrypted_entries_are_refused() -> None:
    data = bytearray(archive({"main.py": b"x"}))
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    with pytest.raises(BadRequest, match=r"main\.py is encrypted"):
        unpack(bytes(data))


def test_a_bomb_is_stopped_at_the_bound() -> None:
    data = archive({"zeros": bytes(200 << 20)})
    assert len(data) < 1 << 20
    with pytest.raises(TooLarge, match="1048576 bytes"):
        unpack(data)


def test_sizes_that_an_archive_claims_are_not_believed() -> None:
    """The content is what it is, whatever the directory says of its size."""
    data = bytearray(archive({"zeros": bytes(2 << 20)}))
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 10)
    struct.pack_into("<I", data, 22, 10)
    try:
        files = unpack(bytes(data))
    except StreamsimError:
        return
    assert sum(map(len, files.values())) <= 1 << 20


def test_too_many_files_are_refused() -> None:
    with pytest.raises(TooLarge, match="at most 200"):
        unpack(archive({f"f{number}": b"" for number in range(201)}))
    with pytest.raises(TooLarge, match="too many entries"):
        unpack(archive({f"f{number}": b"" for number in range(5_000)}))


def test_what_is_broken_is_refused() -> None:
    whole = archive({"main.py": b"x = 1\n" * 1000})
    broken = [b"", b"PK", b"no archive", whole[: len(whole) // 2], whole[:40] + b"!" * 40 + whole[80:]]
    method = bytearray(whole)
    struct.pack_into("<H", method, method.index(b"PK\1\2") + 10, 99)
    struct.pack_into("<H", method, 8, 99)
    for data in [*broken, bytes(method), archive({})]:
        with pytest.raises(BadRequest, match=r"model\.zip"):
            unpack(data)


def test_two_files_of_one_name_are_refused() -> None:
    data = archive({"a.py": b"1", "b.py": b"2"}).replace(b"b.py", b"a.py")
    with pytest.raises(BadRequest, match="two files"):
        unpack(data)


def renamed(shown: bytes, flags: int = 0, extra: bytes = b"") -> bytes:
    """An archive of one file whose name is these bytes."""
    plain = b"n" * len(shown)
    data = archive({plain.decode(): b"x", "other": b""}, extra=extra)
    assert data.count(plain) == 2
    return data.replace(plain, shown)


def test_names_are_read_in_the_encoding_that_they_are_in() -> None:
    name = "Kälte.csv"
    assert set(unpack(archive({name: b"x", "other": b""}))) == {name, "other"}, "as it says, UTF-8"
    assert set(unpack(renamed(name.encode()))) == {name, "other"}, "UTF-8, but it does not say so"
    assert set(unpack(renamed(name.encode("cp437")))) == {name, "other"}, "the code page of DOS"
    raw = name.encode("latin-1")
    field = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    extra = struct.pack("<HH", 0x7075, len(field)) + field
    assert set(unpack(renamed(raw, extra=extra))) == {name, "other"}, "its own Unicode name"
