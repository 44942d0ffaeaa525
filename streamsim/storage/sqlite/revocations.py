"""How the processes on one SQLite file tell each other that a login may have ended."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Revocations:
    """A count in memory that all processes on a database share: who remembers logins looks at it.

    It is odd from before a transaction that may end some until after it. Who found a login in the database,
    and the same even count before and after, may take it as found until the count changes. Transactions of
    this kind exclude each other (`Turn`); if a process dies in one, the count stays odd until the next.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(f"{path}-revocations", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, 8)
            self._memory = mmap.mmap(descriptor, 8)
        finally:
            os.close(descriptor)
        self._count = memoryview(self._memory).cast("Q")

    @property
    def count(self) -> int:
        """Odd while one is under way."""
        return self._count[0]

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around a transaction that may end logins."""
        self._count[0] |= 1
        try:
            yield
        finally:
            self._count[0] += 1

    def close(self) -> None:
        """Let go of the memory."""
        self._count.release()
        self._memory.close()
