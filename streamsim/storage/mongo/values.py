"""Values as MongoDB gives them."""

from __future__ import annotations

from typing import Any

from bson import Binary, Int64


def plain(value: Any) -> Any:
    """An exact int for an integer of 64 bits, which bson gives as a type of its own that encoders refuse."""
    return int(value) if isinstance(value, Int64) else value


def readable(data: bytes) -> str | Binary:
    """A payload as text, which people can read and queries can search, where it is text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Binary(data)


def to_bytes(stored: str | bytes) -> bytes:
    """The payload that `readable` stored."""
    return stored.encode() if isinstance(stored, str) else bytes(stored)
