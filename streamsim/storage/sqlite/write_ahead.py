"""SQLite's write-ahead log as a file: it grows in large steps, so that most commits find space there."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

STEP: Final = 4 * 1024 * 1024
"""The log's file grows to a multiple of so many bytes."""
SMALL: Final = 1024 * 1024
"""A log of fewer bytes grows as SQLite writes it: few commits follow where few have been."""

_log = logging.getLogger(__name__)


class WriteAheadLog:
    """The file beside an open database in which its commits are first.

    To sync a file that has grown, or space that was only reserved, the file system writes its own journal
    too: on ext4 a commit takes half as long again then, and nearly twice the CPU time. SQLite never shortens
    the log while the database is open, and begins at its front again after a checkpoint; so space that was
    written once serves for good. Zeros behind its last frame are none: their checksums are not those of its
    header (https://sqlite.org/fileformat2.html#walformat).

    :param path: of the database.
    :raises OSError: nobody has it open.
    """

    def __init__(self, path: Path) -> None:
        # SQLite has no locks in this file, which closing a descriptor would drop.
        self._file = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        self._trouble = False

    def make_room(self) -> None:
        """If commits have filled the file, let it grow by a step.

        To be called inside a transaction that writes: nobody else adds to the file then, and its sync is this
        one's as well.
        """
        # Not `fstat`: the file system then notes the exact time of what is written next, in its journal.
        size = os.lseek(self._file, 0, os.SEEK_END)
        over = size % STEP
        if size < SMALL or not over:
            return
        try:
            os.pwrite(self._file, bytes(STEP - over), size)
            self._trouble = False
        except OSError as error:
            # A commit may still find space that is there already; if not, it tells.
            if not self._trouble:
                _log.warning("the database's log grows with each commit: %s", error.strerror)
            self._trouble = True

    def close(self) -> None:
        """Nothing is written any more."""
        os.close(self._file)
