"""Bounds that both HTTP servers keep."""

from __future__ import annotations

from typing import Final

DISCARD_BYTES: Final = 64 << 20
"""A body over the limit is read and thrown away up to here, so that its sender sees the answer."""
IDLE_GRACE_S: Final = 0.3
"""How long a connection without a request stays open after the server was told to stop."""
ACCEPT_S: Final = 0.05
"""How long a server that stops still takes what the kernel accepted for it."""
