"""What one worker may use."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """Limits of one worker.

    `cpu_ms` and `wall_ms` are the soft limits of one call: CPU time is the main clock, wall time a larger
    one. `grace_ms` after the wall limit the worker is killed: the hard limit. `memory_bytes` counts above
    what a worker uses before it loads a program. `frame_bytes` bounds a frame either way, `asks` the
    questions of one call.
    """

    cpu_ms: int = 1000
    wall_ms: int = 1500
    grace_ms: int = 500
    memory_bytes: int = 256 * MIB
    frame_bytes: int = 4 * MIB
    asks: int = 1000

    @property
    def hard_s(self) -> float:
        """Seconds that one call may take before its worker is killed."""
        return (self.wall_ms + self.grace_ms) / 1000
