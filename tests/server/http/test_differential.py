"""Drawn requests go to both servers, which answer alike, or ours is the one that refuses."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from tests.effort import effort
from tests.server.http.fuzzed import agreed, requests
from tests.server.http.raw import exchanged, statuses, steady

SETTINGS = {
    "server.max_header_bytes": 2048,
    "server.max_body_bytes": 1024,
    "server.idle_connection_s": 1,
}
