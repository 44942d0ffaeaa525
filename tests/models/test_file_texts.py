"""Bytes of files as text, in the encodings that modelling programs write."""

from __future__ import annotations

import codecs

import pytest

from streamsim.models.file_texts import decoded, is_xmile, plain

TEXT = "Größe = 1 ~ °C ~ |"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("latin-1"),
        TEXT.encode("cp1252"),
    ],
)
def test_the_encoding_is_found(data: bytes) -> None:
    assert decoded(data) == TEXT


def test_the_encoding_that_the_first_line_names_is_believed() -> None:
    cyrillic = "{windows-1251}\nрост = 1"
    assert decoded(cyrillic.encode("cp1251")) == cyrillic
    xml = '<?xml version="1.0" encoding="ISO-8859-5"?>\n<xmile>рост</xmile>'
    assert decoded(xml.encode("iso-8859-5")) == xml
    unknown = '<?xml version="1.0" encoding="no-such"?>\n<a>é</a>'
    assert decoded(unknown.encode("latin-1")) == unknown


def test_every_byte_is_some_letter() -> None:
    assert len(decoded(bytes(range(128, 256)))) == 128


def test_lines_end_in_one_way() -> None:
    assert decoded(b"a\r\nb\rc\nd") == "a\nb\nc\nd"


def test_text_is_what_is_utf_8_without_zeros() -> None:
    assert plain(TEXT.encode()) == TEXT
    assert plain(TEXT.encode("latin-1")) is None
    assert plain(b"PK\0\0") is None


def test_xmile_is_told_by_its_content() -> None:
    assert is_xmile('<?xml version="1.0"?>\n<!-- made by hand -->\n<xmile version="1.0">')
    assert is_xmile(b"\xef\xbb\xbf<xmile>")
    assert is_xmile("\ufeff<isee:xmile >")
    assert not is_xmile("<html><p>an &lt;xmile> file</p></html>")
