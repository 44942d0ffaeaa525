"""The program that compiles policy code and runs none of it.

load      nothing
request   {piece: source}
result    nothing, or the failure of the first piece that does not compile
"""

from __future__ import annotations

from streamsim.programs.experiment import compiled
from streamsim.sandbox.worker.main import Channel


class Program:
    """Nothing of one request is left for the next."""

    loaded = None

    def __init__(self, load: object, channel: Channel) -> None: ...

    def handle(self, code: dict[str, str]) -> None:
        compiled("", code, {})
