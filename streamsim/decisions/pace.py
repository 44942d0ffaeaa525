"""What a call costs a worker, and so how large a batch is before two of half its size are better."""

from __future__ import annotations

from typing import Final, Protocol

LEAST: Final = 24
"""The smallest half: fewer calls are not worth what a commit costs the server, whatever the worker costs."""
MOST: Final = 128
_WORK_S: Final = 0.0006
"""Half a batch that costs the worker so much of a processor is worth a commit of its own: the worker then
runs one half while the other is committed, where else the server would wait for it."""
_CALLS: Final = 1000
"""Over so many calls the cost is measured: it differs between batches of different sizes."""


class Working(Protocol):
    """A worker, of which is known how much it works."""

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used; 0.0 if that cannot be told."""


class Pace:
    """Measures one worker after the other. `half`: so many calls are half a batch at least."""

    def __init__(self) -> None:
        self.half = LEAST
        self._worker: Working | None = None
        self._since_s = 0.0
        self._calls = 0

    def ran(self, worker: Working, calls: int) -> None:
        """A worker ran so many calls."""
        self._calls += calls
        if worker is self._worker and self._calls < _CALLS:
            return
        used_s = worker.cpu_s
        if worker is self._worker:
            call_s = max(used_s - self._since_s, 0.0) / self._calls
            self.half = max(LEAST, round(min(MOST, _WORK_S / call_s))) if call_s else LEAST
        self._worker, self._since_s, self._calls = worker, used_s, 0
