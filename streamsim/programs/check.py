"""The program that compiles policy code and runs none of it.

load      nothing
request   {piece: source}
result    nothing, or the failure of the first piece that does not compile
"""

from __future__ import annotations

from streamsim.decisions.wire import PIECES
from streamsim.programs.experiment import Pieces
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.main import Channel

_NAMES = {f"<{piece}>": piece for piece in PIECES}


class Program:
    """Nothing of one request is left for the next."""

    loaded = None

    def __init__(self, load: object, channel: Channel) -> None: ...

    def handle(self, code: dict[str, str]) -> None:
        try:
            Pieces("", code, {})
        except BaseException as error:
            raise errors.Described(errors.describe(error, _NAMES)) from None
