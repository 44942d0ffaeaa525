"""A program that is given as source: for the sandbox's own trial at the start, and for its tests.

load      {"code": source that defines `handle(request, channel)`}
"""

from __future__ import annotations

from typing import Any

from streamsim.sandbox.worker.main import Channel


class Program:
    """Runs what it was given; the sandbox is what confines it."""

    loaded = True

    def __init__(self, load: dict[str, Any], channel: Channel) -> None:
        self._channel = channel
        names: dict[str, Any] = {"__name__": "probe"}
        exec(compile(load["code"], "<probe>", "exec", dont_inherit=True), names)
        self._handle = names["handle"]

    def handle(self, request: Any) -> Any:
        return self._handle(request, self._channel)
