"""Values as MongoDB gives them."""

from __future__ import annotations

from typing import Any

from bson import Int64


def plain(value: Any) -> Any:
    """An exact int for an integer of 64 bits, which bson gives as a type of its own that encoders refuse."""
    return int(value) if isinstance(value, Int64) else value
