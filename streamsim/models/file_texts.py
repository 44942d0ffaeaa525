"""Files of models as text: which bytes are text, and in which encoding."""

from __future__ import annotations

import codecs
import re
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How XML and Vensim name a file's encoding in its first line.
_NAMED: Final = re.compile(rb"""\A\s*(?:<\?xml[^>]*\bencoding=["']([\w.:-]+)["']|\{([\w-]+)\})""")
_XMILE: Final = re.compile(r"<(?:\w+:)?xmile[\s>]")


def decoded(data: bytes) -> str:
    """The text of a file, without a byte-order mark, its lines ended by `\\n` alone.

    The encoding is that of the byte-order mark, else UTF-8 if the bytes are, else the one that the first line
    names as XML and Vensim do, else that of Windows for western Europe, which has all of Latin-1's letters.
    """
    return lines(_decoded(data))


def lines(text: str) -> str:
    """Text without a byte-order mark, its lines ended by `\\n` alone."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def plain(data: bytes) -> str | None:
    """The text that is these bytes in UTF-8; None if there is none, or if it has characters of no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def is_xmile(content: str | bytes) -> bool:
    """Whether a file is XMILE, whatever its ending."""
    text = content if isinstance(content, str) else _decoded(content[: 64 << 10])
    return _XMILE.search(text[: 16 << 10]) is not None


def _decoded(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    named = _NAMED.match(data)
    if named is not None:
        try:
            return data.decode((named[1] or named[2]).decode("ascii"))
        except (LookupError, UnicodeError, ValueError):
            pass
    # Five bytes have no character there; Latin-1 has one for each.
    return "".join(_WINDOWS[byte] for byte in data)


_WINDOWS: Final = [
    bytes([byte]).decode("cp1252", "ignore") or bytes([byte]).decode("latin-1") for byte in range(256)
]
